//! `tally receipt forget`: erases receipts, or the words in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;
use tally_core::{
    cbor::Cbor as _,
    receipt::{Bundle, Openings},
};

use super::Verdict;
use crate::{args, context::Context, receipt_file::ReceiptFile, receipts};

pub(super) fn run(args: &args::Forget, context: &Context) -> Result<Verdict> {
    // All are found before any is erased.
    let mut doomed = vec![];
    for name in &args.receipts {
        doomed.extend(copies_of(&receipts::find(name, context)?, context)?);
    }
    doomed.sort();
    doomed.dedup();
    let output = context.output;
    if args.yes {
        for path in &doomed {
            if args.words_only {
                erase_words(path)?
            } else {
                erase(path)?
            };
        }
    }
    output.json(&json!({
        "forgotten": args.yes,
        "words_only": args.words_only,
        "paths": doomed,
    }))?;
    let what = if args.words_only { "the words in " } else { "" };
    let verb = if args.yes { "erased" } else { "would erase" };
    for path in &doomed {
        output.line(&format!("{verb} {what}{}", path.display()))?;
    }
    if !args.yes {
        output.note("\nnothing was erased\n\nhint: this cannot be undone; say `--yes` to do it");
        return Ok(Verdict::NotSatisfied);
    }
    Ok(Verdict::Satisfied)
}

/// The file, and all others of this home that hold the same receipt.
fn copies_of(path: &Path, context: &Context) -> Result<Vec<PathBuf>> {
    let digest = Bundle::parse(&receipts::read(path)?)
        .with_context(|| format!("{} is no receipt", path.display()))?
        .statement
        .digest();
    let mut found = vec![path.to_owned()];
    if let Ok(home) = context.existing_home() {
        let kept = receipts::list(&home.receipts())?.kept;
        found.extend(kept.into_iter().filter(|it| it.digest == digest).map(|it| it.path));
    }
    for path in &mut found {
        *path = fs::canonicalize(&*path)?;
    }
    Ok(found)
}

fn erase(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot erase {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot erase {}", path.display()))
}

/// Puts a receipt without openings in the place of one with them.
fn erase_words(path: &Path) -> Result<()> {
    let mut bundle = Bundle::parse(&receipts::read(path)?)?;
    bundle.openings = Openings::new();
    ReceiptFile::prepare(path)?.write(&bundle)?;
    Ok(())
}
