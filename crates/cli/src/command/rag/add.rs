//! `tally rag add`: texts in, passages with their vectors out.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use serde_json::json;
use tally_attribution::{
    dataset::Dataset,
    index::Index,
    retrieval::{Passage, Passages, cut},
};
use tally_core::{Digest, contribution::ContributionKind};
use tally_engine::{ARITHMETIC, Engine, session::PASS_TOKENS_MAX, tokenizer::Tokenizer};

use super::{super::ask, Verdict, path_of};
use crate::{
    args,
    command::write_new,
    context::Context,
    contributions::{self, named, shown},
    home::Home,
    models,
    output::quoted,
};

/// Most tokens that are embedded in one pass; it cannot change a vector.
const PASS_TOKENS: usize = 1024;

/// A text to be cut.
struct Text {
    name: String,
    text: String,
    dataset: Option<Digest>,
}

pub(super) fn run(args: &args::RagAdd, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let (own_name, texts) = match &args.of {
        Some(manifest) => registered_texts(manifest, &home)?,
        None => own_texts(&args.paths)?,
    };
    let name = args.name.clone().unwrap_or(own_name);
    let path = path_of(&home, &name)?;
    ensure!(
        !path.try_exists()?,
        "there are passages `{name}` already\n\nhint: choose another name with `--name`, or `tally rag forget {name}`"
    );
    let encoder = Encoder::load(&home, &args.model, context)?;
    let bar = context.output.bar("embedding", texts.iter().map(|it| it.text.len() as u64).sum());
    let passages = encoder.passages(&texts, usize::try_from(args.passage_bytes)?, &bar)?;
    bar.finish_and_clear();
    ensure!(!passages.passages().is_empty(), "the texts hold nothing but whitespace");
    let bytes = passages.encode();
    fs::create_dir_all(home.rag())
        .with_context(|| format!("cannot make {}", home.rag().display()))?;
    write_new(&path, &bytes)?;
    tell(&name, &path, &passages, &bytes, context)?;
    Ok(Verdict::Satisfied)
}

fn tell(
    name: &str,
    path: &Path,
    passages: &Passages,
    bytes: &[u8],
    context: &Context,
) -> Result<()> {
    let (documents, count) = (passages.documents().len(), passages.passages().len());
    let digest = Digest::of_content(bytes);
    let output = context.output;
    output.json(&json!({
        "name": name,
        "file": path,
        "digest": digest.to_string(),
        "encoder": passages.encoder().to_string(),
        "documents": documents,
        "passages": count,
    }))?;
    output.line(&format!(
        "`{}`: {count} passages of {documents} documents, {} bytes",
        quoted(name),
        bytes.len()
    ))?;
    output.line(&format!("  digest     {digest}"))?;
    output.line(&format!("  encoder    {}", passages.encoder()))?;
    if passages.documents().iter().any(|document| document.dataset.is_none()) {
        output.note("\nhint: documents that are not registered stand in prompts and are paid nothing; `tally contribute dataset` registers them");
    }
    Ok(())
}

/// The user's own texts, in the order of the paths and then of their names.
fn own_texts(paths: &[std::path::PathBuf]) -> Result<(String, Vec<Text>)> {
    let mut texts = vec![];
    for path in paths {
        let documents = Dataset::read(path)?.documents.into_iter();
        texts.extend(documents.map(|(name, text)| Text { name, text, dataset: None }));
    }
    let first = paths.first().context("no path is given")?;
    let full =
        fs::canonicalize(first).with_context(|| format!("cannot open {}", first.display()))?;
    let stem = if full.is_file() { full.file_stem() } else { full.file_name() };
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let stem = stem.unwrap_or_default().to_string_lossy();
    Ok((stem.chars().map(|c| if is_legal(c) { c } else { '-' }).collect(), texts))
}

/// The texts of a registered dataset, from the index that holds them.
fn registered_texts(manifest: &str, home: &Home) -> Result<(String, Vec<Text>)> {
    let folder = contributions::registry(home)?;
    let dataset = named(folder.registry().all(), manifest)?;
    ensure!(
        dataset.contribution.kind == ContributionKind::Dataset,
        "contribution {} is of kind {}, expected a dataset",
        dataset.manifest,
        dataset.contribution.kind
    );
    let mut texts = vec![];
    for index in contributions::indices(home)? {
        let contributions = &index.shard().contributions;
        if let Some(place) = contributions.iter().position(|it| *it == dataset.manifest) {
            add_texts(&index, u32::try_from(place)?, dataset.manifest, &mut texts)?;
        }
    }
    ensure!(
        !texts.is_empty(),
        "the texts of dataset {} are not here\n\nhint: give their folder instead of `--of`",
        dataset.manifest
    );
    Ok((shown(&dataset.manifest), texts))
}

fn add_texts(index: &Index, place: u32, dataset: Digest, texts: &mut Vec<Text>) -> Result<()> {
    for (number, document) in (0..).zip(index.documents()) {
        if document.contribution != place {
            continue;
        }
        let damaged = || format!("index {} is damaged at document {number}", index.root());
        let text = std::str::from_utf8(index.text(number).with_context(damaged)?);
        let text = text.with_context(damaged)?.to_owned();
        ensure!(Digest::of_content(text.as_bytes()) == document.digest, damaged());
        let name = index.name(number).unwrap_or_default().to_owned();
        texts.push(Text { name, text, dataset: Some(dataset) });
    }
    Ok(())
}

/// A sentence encoder whose vectors have the length one.
pub(super) struct Encoder {
    engine: Engine,
    tokenizer: Tokenizer,
}

impl Encoder {
    pub(super) fn load(home: &Home, name: &str, context: &Context) -> Result<Self> {
        let model = models::load(home, name)?;
        let pooling = model.configuration().pooling.with_context(|| {
            format!("model `{name}` continues texts and makes no vectors of them\n\nhint: import a sentence encoder, such as all-MiniLM-L6-v2, by `tally model import FOLDER`")
        })?;
        ensure!(
            pooling.is_normalised,
            "the vectors of model `{name}` have many lengths, so that their products do not compare passages\n\nhint: take an encoder with a `Normalize` module"
        );
        let tokenizer = Tokenizer::parse(model.tokenizer())?;
        Ok(Self {
            engine: Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?,
            tokenizer,
        })
    }

    /// The vector of a question; only as much of it counts as the encoder takes.
    pub(super) fn question(&self, text: &str) -> Result<Vec<i32>> {
        let tokens = self.tokenizer.encode_sentence(text, self.len_max())?;
        Ok(self.engine.embed(&[&tokens])?.pop().context("the engine made no vector")?.values)
    }

    /// Cuts texts and embeds what comes of it.
    fn passages(&self, texts: &[Text], bytes_max: usize, bar: &ProgressBar) -> Result<Passages> {
        let model = self.engine.model();
        let width = usize::try_from(model.configuration().width)?;
        let mut found = Passages::new(model.root(), ARITHMETIC, width)?;
        for Text { name, text, dataset } in texts {
            // The same text a second time would be found twice and say nothing more.
            if let Some(document) = found.add_document(name, text, *dataset)? {
                let mut pieces = vec![];
                for range in cut(text, bytes_max) {
                    self.fit(text, range, &mut pieces)?;
                }
                self.embed(document, &pieces, &mut found)
                    .with_context(|| format!("document `{}`", quoted(name)))?;
            }
            bar.inc(text.len() as u64);
        }
        Ok(found)
    }

    /// Halves a passage until the encoder takes all of it.
    fn fit(
        &self,
        text: &str,
        range: Range<usize>,
        pieces: &mut Vec<(Range<usize>, Vec<u32>)>,
    ) -> Result<()> {
        let mut open = vec![range];
        while let Some(range) = open.pop() {
            let tokens = self.tokenizer.encode_sentence(&text[range.clone()], usize::MAX)?;
            if tokens.len() <= self.len_max() {
                pieces.push((range, tokens));
                continue;
            }
            let halves = cut(&text[range.clone()], range.len().div_ceil(2));
            ensure!(halves.len() > 1, "the encoder takes too few tokens for a single character");
            let moved = |half: Range<usize>| half.start + range.start..half.end + range.start;
            open.extend(halves.into_iter().rev().map(moved));
        }
        Ok(())
    }

    fn embed(
        &self,
        document: u32,
        mut pieces: &[(Range<usize>, Vec<u32>)],
        found: &mut Passages,
    ) -> Result<()> {
        while !pieces.is_empty() {
            let mut tokens = 0;
            let count = pieces.iter().take_while(|(_, each)| {
                tokens += each.len();
                tokens <= PASS_TOKENS
            });
            let (now, later) = pieces.split_at(count.count().max(1));
            let texts: Vec<&[u32]> = now.iter().map(|(_, tokens)| tokens.as_slice()).collect();
            for ((range, _), vector) in now.iter().zip(self.engine.embed(&texts)?) {
                let (start, end) = (u32::try_from(range.start)?, u32::try_from(range.end)?);
                found.add_passage(Passage { document, start, end }, &vector.values)?;
            }
            pieces = later;
        }
        Ok(())
    }

    fn len_max(&self) -> usize {
        (self.engine.model().context_len() as usize).min(PASS_TOKENS_MAX)
    }
}
