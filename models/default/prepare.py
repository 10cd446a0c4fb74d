#!/usr/bin/env python3
"""Turn freely licensed Debian documentation packages into the training text of the default model.

Reads the unpacked packages, writes
  corpus/train.jsonl, corpus/heldout.jsonl   one record per document: {"id", "plain", "chats"}
  documents.jsonl                            provenance: one line per source file
  heldout.txt                                plain text for the perplexity command

The split and every choice below are functions of the documents' bytes alone, so the same
packages give the same corpus.
"""

import argparse
import hashlib
import json
import re
import subprocess
from pathlib import Path

from lxml import html

# package -> (folder under usr/share/doc, SPDX licence, globs, XPath of the main content)
SOURCES = {
    "jargon-text": ("jargon-text", "LicenseRef-public-domain", ["jargon.html"], "//body"),
    "postgresql-doc-15": ("postgresql-doc-15/html", "PostgreSQL", ["*.html"], "//body"),
    "python3.11-doc": ("python3.11/html", "PSF-2.0", ["**/*.html"], "//div[@role='main']"),
    "rust-doc": (
        "rust-doc/html",
        "MIT OR Apache-2.0",
        [f"{book}/**/*.html" for book in
         ("book", "reference", "nomicon", "rust-by-example", "edition-guide", "embedded-book",
          "rustc", "rustdoc", "std")],
        "//main | //section[@id='main-content']",
    ),
}
SKIPPED_TAGS = {"script", "style", "pre", "nav", "button", "summary", "svg", "table", "form", "img"}
SKIPPED_CLASSES = {
    "navheader", "navfooter", "toc", "footnotes", "footnote", "headerlink", "srclink", "since",
    "item-decl", "sidebar", "indextable", "highlight", "contents", "out-of-band", "anchor",
    "nav-wrapper", "search-form", "item-table", "genindextable", "related",
}
SKIPPED_FILES = re.compile(r"(^|/)(genindex|search|py-modindex|bookindex|print|toc|all|index|bugs|download|contents|"
                           r"release.*|appendix-.*|biblio|whatsnew/changelog|print\.html)[^/]*\.html$")
HELD_OUT_PER_1000 = 15
CHAT_CHARACTERS_MAX = 1200
PARAGRAPH_CHARACTERS_MIN = 30


def text_of(element):
    parts = []

    def walk(node):
        if not isinstance(node.tag, str):
            parts.append(node.tail or "")
            return
        classes = set((node.get("class") or "").split())
        if node.tag not in SKIPPED_TAGS and not classes & SKIPPED_CLASSES:
            parts.append(node.text or "")
            for child in node:
                walk(child)
        parts.append(node.tail or "")

    parts.append(element.text or "")
    for child in element:
        walk(child)
    text = re.sub(r"\s+", " ", "".join(parts)).strip()
    text = text.replace("\u00b6", "").replace("\u00a7", "").strip()
    table = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2026": "...",
                           "\u00a0": " ", "\u2013": "-", "\u2014": "-", "\u2212": "-"})
    return text.translate(table)


def events(element):
    """Yields ("title" | "term" | "text", str) in document order."""
    if not isinstance(element.tag, str):
        return
    classes = set((element.get("class") or "").split())
    if element.tag in SKIPPED_TAGS - {"summary"} or classes & SKIPPED_CLASSES:
        return
    if re.fullmatch(r"h[1-6]", element.tag):
        kind = "term" if "code-header" in classes or element.tag in ("h5", "h6") else "title"
        yield kind, re.sub(r"^(Chapter |Appendix )?[0-9A-Z]*(\.[0-9]+)*\.\s+", "", text_of(element))
    elif element.tag == "dt":
        yield "term", text_of(element)
    elif element.tag == "p" or (element.tag in ("li", "dd") and not element.xpath(".//p|.//ul|.//dl")):
        yield "text", ("- " if element.tag == "li" else "") + text_of(element)
    else:
        for child in element:
            yield from events(child)


def question(title, is_term):
    pick = int.from_bytes(hashlib.sha256(title.encode()).digest()[:4], "big")
    title = title.rstrip(".:?")
    if is_term and "(" in title:
        forms = ["What does {} do?", "How do I use {}?", "Explain {}."]
    else:
        forms = ["What is {}?", "Explain {}.", "Tell me about {}.", "What is {}?", "Describe {}."]
    return forms[pick % len(forms)].format(title)


def document_of(path, xpath, seen):
    tree = html.fromstring(path.read_bytes())
    mains = tree.xpath(xpath)
    if not mains:
        return None
    sections, page_title = [], ""
    for kind, text in events(mains[0]):
        if kind != "text":
            page_title = page_title or text
            sections.append((text, kind == "term", []))
        elif len(text) >= PARAGRAPH_CHARACTERS_MIN and sections:
            digest = hashlib.sha256(text.encode()).digest()[:12]
            if digest not in seen:
                seen.add(digest)
                sections[-1][2].append(text)
    sections = [s for s in sections if s[2]]
    if not sections:
        return None
    plain = "\n\n".join(
        (f"{title}: " if is_term else f"# {title}\n\n") + "\n\n".join(body)
        for title, is_term, body in sections
    )
    chats = []
    for title, is_term, body in sections:
        if not 2 <= len(title) <= 120:
            continue
        answer = ""
        for paragraph in body:
            if answer and len(answer) + len(paragraph) > CHAT_CHARACTERS_MAX:
                break
            answer = f"{answer}\n\n{paragraph}" if answer else paragraph
        if len(answer) >= 60:
            chats.append([question(title, is_term), answer])
    return {"plain": plain, "chats": chats}


def jargon_documents(path):
    """The jargon file is one page: each headword is a document of its own."""
    raw = subprocess.run(["gzip", "-dc", path], check=True, capture_output=True).stdout
    text = raw.decode("utf-8", "replace")
    quotes = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2026": "...",
                            "\u2014": "-", "\u2013": "-", "\u2022": "-", "\u00a0": " ", "{": "", "}": ""})
    for match in re.finditer(r"^   :(.{1,40}?):(.*(?:\n(?!   :).*)*)", text.translate(quotes), re.M):
        head, body = match.group(1).strip(), match.group(2)
        grammar, _, body = body.partition("\n\n")
        paragraphs = [re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n", body)]
        paragraphs = [p for p in paragraphs if len(p) >= PARAGRAPH_CHARACTERS_MIN]
        if paragraphs:
            answer = paragraphs[0]
            for paragraph in paragraphs[1:]:
                if len(answer) + len(paragraph) > CHAT_CHARACTERS_MAX:
                    break
                answer = f"{answer}\n\n{paragraph}"
            yield head, {"plain": f"# {head}\n\n" + "\n\n".join(paragraphs), "chats": [[question(head, False), answer]]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="folder into which the packages were unpacked")
    parser.add_argument("--versions", type=Path, required=True, help="lines of `package version`")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    versions = dict(line.split() for line in args.versions.read_text().splitlines())
    (args.out / "corpus").mkdir(exist_ok=True)
    train = open(args.out / "corpus/train.jsonl", "w")
    heldout = open(args.out / "corpus/heldout.jsonl", "w")
    seen, provenance, heldout_text, totals = set(), [], [], {}
    for package, (folder, licence, globs, xpath) in SOURCES.items():
        base = args.root / "usr/share/doc" / folder
        files = sorted({p for g in globs for p in base.glob(g) if p.is_file()})
        if package == "jargon-text":
            files = [base / "jargon.txt.gz"]
        for path in files:
            name = str(path.relative_to(args.root))
            if SKIPPED_FILES.search(name) or path.is_symlink():
                continue
            if package == "jargon-text":
                documents = [(f"{name}#{head}", d) for head, d in jargon_documents(path)]
            else:
                document = document_of(path, xpath, seen)
                documents = [(name, document)] if document else []
            size = 0
            for identifier, document in documents:
                bucket = int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:4], "big") % 1000
                held = bucket < HELD_OUT_PER_1000
                (heldout if held else train).write(json.dumps({"id": identifier, **document}) + "\n")
                size += len(document["plain"].encode())
                if held:
                    heldout_text.append(document["plain"])
            if size:
                totals[package] = totals.get(package, 0) + size
                provenance.append({"path": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                                   "package": package, "version": versions[package], "licence": licence,
                                   "text_bytes": size})
    with open(args.out / "documents.jsonl", "w") as out:
        for record in provenance:
            out.write(json.dumps(record) + "\n")
    (args.out / "heldout.txt").write_text("\n\n".join(heldout_text)[:120_000])
    print(json.dumps({"text_bytes": totals, "documents": len(provenance)}))


if __name__ == "__main__":
    main()
