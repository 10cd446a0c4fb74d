//! A traced text as one self-contained page: no script, nothing loaded from anywhere.

use tally_attribution::did::to_did;

use super::Traced;

/// Hues of the marks; each source has the next.
const HUES: [u16; 8] = [140, 45, 200, 290, 20, 230, 330, 90];

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;border:1px solid #8884;border-radius:.5rem;padding:1rem}\
mark{color:inherit;background:hsl(var(--hue) 70% 50%/.28);border-bottom:2px solid hsl(var(--hue) 70% 45%);border-radius:.15rem}\
mark sup{font-size:.65em;margin-left:.1em}\
table{border-collapse:collapse;width:100%;font-size:.9em}\
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-top:1px solid #8884}\
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
code{font-size:.85em;overflow-wrap:anywhere}\
.key{display:inline-block;width:1em;height:1em;border-radius:.2em;background:hsl(var(--hue) 70% 50%/.6);vertical-align:-.1em}\
.bar{display:flex;height:.9rem;border-radius:.3rem;overflow:hidden;background:#8883}\
.bar i{display:block;background:hsl(var(--hue) 70% 50%/.75)}\
small{opacity:.75}";

/// The page.
pub(super) fn of(traced: &Traced) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>Whose words</title>\n",
    );
    page += &format!("<style>{STYLE}</style>\n<h1>Whose words are these?</h1>\n");
    if let Some(receipt) = &traced.receipt {
        page += &format!("<p>The answer of receipt <code>{receipt}</code>.</p>\n");
    }
    page += &bar(traced);
    page += &text(traced);
    page += &sources(traced);
    page += &behind(traced);
    page += &money(traced);
    for note in &traced.notes {
        page += &format!("<p><small>{}</small></p>\n", escaped(note));
    }
    page += "<p><small>Observed means that bytes are equal, and in no earlier registered text. It says nothing of cause: \
             whether the model learned the words there. A licence and a name are what the contributor declares and signed.</small></p>\n";
    page
}

fn hue(place: usize) -> u16 {
    HUES[place % HUES.len()]
}

/// How much is whose, as one bar.
fn bar(traced: &Traced) -> String {
    let whole = traced.text.len().max(1);
    let part = |(place, size): (usize, usize)| {
        let permille = size * 1000 / whole;
        format!("<i style=\"--hue:{};width:{}.{}%\"></i>", hue(place), permille / 10, permille % 10)
    };
    let sizes = traced.sources.iter().map(|source| source.size).enumerate();
    format!(
        "<div class=\"bar\" role=\"img\" aria-label=\"how much is whose\">{}</div>\n",
        sizes.map(part).collect::<String>()
    )
}

fn text(traced: &Traced) -> String {
    let mut html = String::from("<pre>");
    for piece in &traced.spans {
        let words = escaped(&String::from_utf8_lossy(&traced.text[piece.start..piece.end]));
        html += &match piece.source {
            None => words,
            Some(place) => {
                let title = escaped(&traced.sources[place].contribution.name);
                format!(
                    "<mark style=\"--hue:{}\" title=\"{title}\">{words}<sup>{}</sup></mark>",
                    hue(place),
                    place + 1
                )
            }
        };
    }
    html + "</pre>\n"
}

fn sources(traced: &Traced) -> String {
    let whole = traced.text.len();
    let mut html = String::from(
        "<h2>Words <small>(observed)</small></h2>\n<table><tr><th></th><th>bytes</th><th>document</th><th>contribution</th></tr>\n",
    );
    for (place, source) in traced.sources.iter().enumerate() {
        let name = source.document.clone().unwrap_or_else(|| format!("document {}", source.number));
        html += &format!(
            "<tr><td><span class=\"key\" style=\"--hue:{}\"></span> {}</td><td class=\"n\">{} of {whole}</td><td>{}</td><td>{} <small>({})</small><br><code>{}</code></td></tr>\n",
            hue(place),
            place + 1,
            source.size,
            escaped(&name),
            escaped(&source.contribution.name),
            escaped(&source.contribution.licence),
            to_did(&source.contribution.contributor),
        );
    }
    html += &format!(
        "<tr><td>–</td><td class=\"n\">{} of {whole}</td><td colspan=\"2\">nobody’s: the residual</td></tr>\n",
        traced.residual()
    );
    html + "</table>\n"
}

fn behind(traced: &Traced) -> String {
    if traced.behind.is_empty() {
        return String::new();
    }
    let row = |it: &super::Behind| {
        let contribution = &it.contribution;
        format!(
            "<tr><td>{}</td><td>{} <small>({})</small><br><code>{}</code></td></tr>\n",
            escaped(&it.role),
            escaped(&contribution.name),
            escaped(&contribution.licence),
            to_did(&contribution.contributor)
        )
    };
    let rows: String = traced.behind.iter().map(row).collect();
    format!("<h2>Behind it <small>(bound)</small></h2>\n<table>{rows}</table>\n")
}

fn money(traced: &Traced) -> String {
    let Some(money) = traced.money.as_ref().filter(|money| money.amount > 0) else {
        return String::new();
    };
    let row = |(label, account, amount): &(String, String, u64)| {
        format!(
            "<tr><td class=\"n\">{amount}</td><td>{}</td><td><code>{}</code></td></tr>\n",
            escaped(label),
            escaped(account)
        )
    };
    let rows: String = money.lines.iter().map(row).collect();
    format!(
        "<h2>Where the money goes</h2>\n<p>{} billionths of {}, divided by split policy <q>{}</q>.</p>\n<table>{rows}</table>\n",
        money.amount,
        escaped(&money.asset),
        escaped(&money.policy)
    )
}

/// Whether a character turns around what stands beside it: a name could then be read as another.
const fn is_turning(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text as HTML, in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            c if c.is_control() && c != '\n' && c != '\t' => html.push('\u{fffd}'),
            c if is_turning(c) => html.push('\u{fffd}'),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_neither_markup_nor_turns_anything_around() {
        assert_eq!(escaped("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
        assert_eq!(escaped("a\u{1b}b\nc\td"), "a\u{fffd}b\nc\td");
        assert_eq!(escaped("MIT\u{202e})0-1CC("), "MIT\u{fffd})0-1CC(");
        assert_eq!(escaped("a\u{2066}b\u{2069}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(escaped("\u{200f}é"), "\u{200f}é");
    }
}
