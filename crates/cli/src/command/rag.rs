//! `tally rag`: passages of this home's texts, answers from them, and what removing one changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tally_attribution::retrieval::{FILE_BYTES_MAX, Passages};

use super::{Verdict, read_limited};
use crate::{
    args::Rag,
    context::Context,
    home::Home,
    output::{Output, quoted},
};

mod add;
mod ask;
mod explain;
mod presence;

pub(super) use presence::note_context;

/// Ending of a file of passages.
const EXTENSION: &str = "passages";
const NAME_BYTES_MAX: usize = 64;
/// Most files of passages in one home.
const FILES_MAX: usize = 256;
/// Fraction bits of the score of two vectors of length one.
const SCORE_BITS: u32 = 48;
/// What a score is printed in.
const TEN_THOUSANDTHS: i128 = 10_000;

pub(crate) fn run(args: &Rag, context: &Context) -> Result<Verdict> {
    match args {
        Rag::Add(add) => add::run(add, context),
        Rag::Ask(ask) => ask::run(ask, context),
        Rag::Explain(explain) => explain::run(explain, context),
        Rag::List => list(&context.existing_home()?, context.output),
        Rag::Forget { name } => forget(name, &context.existing_home()?, context.output),
    }
}

/// Where passages of this name are kept.
fn path_of(home: &Home, name: &str) -> Result<PathBuf> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ensure!(
        (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(is_legal),
        "`{}` is no name of passages: expected up to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`\n\nhint: choose one with `--name`",
        quoted(name)
    );
    Ok(home.rag().join(format!("{name}.{EXTENSION}")))
}

/// Name and file of all passages of this home, by name.
fn files(home: &Home) -> Result<Vec<(String, PathBuf)>> {
    let mut found = match fs::read_dir(home.rag()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        listed => listed?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?,
    };
    found.retain(|path| path.extension().is_some_and(|it| it == EXTENSION));
    ensure!(found.len() <= FILES_MAX, "{} files of passages, at most {FILES_MAX}", found.len());
    found.sort();
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(found.into_iter().map(|path| (name(&path), path)).collect())
}

fn read(path: &Path) -> Result<Passages> {
    let bytes = read_limited(path, FILE_BYTES_MAX)?;
    Passages::parse(&bytes).with_context(|| format!("{}", path.display()))
}

/// A score to four decimal places.
fn score_text(score: i64) -> String {
    let scaled = i128::from(score) * TEN_THOUSANDTHS;
    let rounded = ((scaled >> (SCORE_BITS - 1)) + 1) >> 1;
    let sign = if rounded < 0 { "-" } else { "" };
    let (whole, part) = (rounded.abs() / TEN_THOUSANDTHS, rounded.abs() % TEN_THOUSANDTHS);
    format!("{sign}{whole}.{part:04}")
}

fn list(home: &Home, output: Output) -> Result<Verdict> {
    let found = files(home)?;
    let mut documents: Vec<Value> = vec![];
    for (name, path) in &found {
        match read(path) {
            Ok(all) => {
                let texts = all.documents().iter().map(|it| it.text.len()).sum::<usize>();
                let (count, passages) = (all.documents().len(), all.passages().len());
                documents.push(json!({
                    "name": name,
                    "encoder": all.encoder().to_string(),
                    "documents": count,
                    "bytes": texts,
                    "passages": passages,
                }));
                output.line(&format!(
                    "{:<24} {passages} passages of {count} documents ({texts} bytes), encoder {}",
                    quoted(name),
                    &all.encoder().to_string()[..16]
                ))?;
            }
            Err(error) => {
                documents.push(json!({ "name": name, "unreadable": format!("{error:#}") }));
                output.line(&format!("{:<24} unreadable: {error:#}", quoted(name)))?;
            }
        }
    }
    output.json(&json!({ "passages": documents }))?;
    if found.is_empty() {
        output.note("no passages are kept here\n\nhint: `tally rag add FOLDER --model ENCODER`");
    }
    Ok(Verdict::Satisfied)
}

fn forget(name: &str, home: &Home, output: Output) -> Result<Verdict> {
    let path = path_of(home, name)?;
    if !path.try_exists()? {
        bail!("no passages `{name}`\n\nhint: `tally rag list` shows those there are");
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    output.json(&json!({ "forgotten": name }))?;
    output.note(&format!("forgot `{name}`; receipts of answers from it keep what they quote"));
    Ok(Verdict::Satisfied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_rounded_to_four_places() {
        let whole = 1_i64 << 48;
        assert_eq!(score_text(whole), "1.0000");
        assert_eq!(score_text(-whole / 2), "-0.5000");
        assert_eq!(score_text(0), "0.0000");
        assert_eq!(score_text(whole / 3), "0.3333");
        assert_eq!(score_text(-whole / 3 * 2), "-0.6667");
        assert_eq!(score_text(-1), "0.0000");
    }

    #[test]
    fn names_of_passages_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::existing(folder.path()).unwrap();
        assert!(path_of(&home, "a-b_c.d").is_ok());
        for name in ["", ".a", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(path_of(&home, name).is_err(), "{name}");
        }
    }
}
