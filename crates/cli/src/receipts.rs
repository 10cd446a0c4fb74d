//! The receipts that a home keeps: one file each, found by the beginning of their digest or id.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tally_core::{Digest, commitment::Field, receipt::BUNDLE_BYTES_MAX};

use crate::{command::read_limited, context::Context, view::ReceiptView};

/// Ending of a receipt file's name.
const EXTENSION: &str = "receipt";
/// Fewest digits that name a receipt.
const DIGITS_MIN: usize = 4;
/// Most receipts that an ambiguous name lists.
const LISTED_MAX: usize = 5;

/// Characters of a question that are listed.
const WORDS_LEN: usize = 40;

/// A kept receipt, as far as it is needed to choose among many.
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) id: String,
    pub(crate) time_ms: u64,
    /// What the view says of it in a word or two.
    pub(crate) summary: Summary,
}

/// What a list shows of a receipt.
pub(crate) struct Summary {
    pub(crate) kind: String,
    pub(crate) outcome: String,
    pub(crate) model: Option<Digest>,
    pub(crate) opened: Vec<String>,
    /// The beginning of what was asked, if that is open.
    pub(crate) words: String,
    pub(crate) evidence_count: usize,
}

/// A folder's receipts, and the files that are none.
#[derive(Default)]
pub(crate) struct Folder {
    pub(crate) kept: Vec<Kept>,
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// The file of a receipt in a folder: named by what it is.
pub(crate) fn path_of(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{}.{EXTENSION}", &digest.to_string()[..16]))
}

/// The bytes of a receipt file, but never more than a receipt can have.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    read_limited(path, BUNDLE_BYTES_MAX)
}

/// All receipts of a folder, newest first.
pub(crate) fn list(folder: &Path) -> Result<Folder> {
    let mut found = Folder::default();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if !path.is_file() || path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        match read(&path).and_then(|bytes| Ok(ReceiptView::parse(&bytes)?)) {
            Ok(view) => found.kept.push(Kept::new(path, &view)),
            Err(error) => found.unreadable.push((path, format!("{error:#}"))),
        }
    }
    found.kept.sort_by(|a, b| (b.time_ms, &b.path).cmp(&(a.time_ms, &a.path)));
    found.unreadable.sort();
    Ok(found)
}

/// The file of a receipt that is named by its file, or by the beginning of its digest or id.
pub(crate) fn find(name: &Path, context: &Context) -> Result<PathBuf> {
    let digits = name.to_str().filter(|text| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
    });
    let (Some(digits), false) = (digits, name.exists()) else {
        return Ok(name.into());
    };
    anyhow::ensure!(
        digits.len() >= DIGITS_MIN,
        "there is no file `{digits}`, and the beginning of a digest or id has at least {DIGITS_MIN} digits"
    );
    let folder = context.existing_home()?.receipts();
    let digits = digits.to_ascii_lowercase();
    let mut found = list(&folder)?.kept;
    found.retain(|kept| {
        kept.digest.to_string().starts_with(&digits) || kept.id.starts_with(&digits)
    });
    // One receipt may lie there under two names.
    found.dedup_by(|a, b| a.digest == b.digest);
    match found.as_slice() {
        [only] => Ok(only.path.clone()),
        [] => bail!(
            "there is no file `{digits}`, and no receipt in {} whose digest or id begins so\n\nhint: `tally receipt list` shows those there are",
            folder.display()
        ),
        several => {
            let shown = several.iter().take(LISTED_MAX).map(|kept| format!("\n  {}", kept.digest));
            bail!("`{digits}` begins {} receipts:{}", several.len(), shown.collect::<String>())
        }
    }
}

/// The beginning of what a request asks: of its last text.
fn words_of(request: &[u8]) -> String {
    let body: Value = serde_json::from_slice(request).unwrap_or_default();
    let last = |name: &str| body.get(name)?.as_array()?.last();
    let text = last("messages")
        .and_then(|message| message.get("content"))
        .or_else(|| last("input"))
        .or_else(|| last("prompt"))
        .or_else(|| body.get("prompt"))
        .or_else(|| body.get("input"));
    // Of a content in parts the last one asks.
    let last = text.and_then(Value::as_array).and_then(|parts| parts.last()?.get("text"));
    let text = last.or(text).and_then(Value::as_str).unwrap_or_default();
    text.chars().take(WORDS_LEN).collect()
}

impl Kept {
    fn new(path: PathBuf, view: &ReceiptView) -> Self {
        let statement = &view.statement;
        let outcome = &statement.outcome;
        let (words, model) = match (outcome.answer(), outcome.embedding(), outcome.refusal()) {
            (Some(answer), _, _) => {
                let claims = &answer.computation;
                let counts = format!("{} → {} tokens", claims.input_count, claims.output_count);
                (counts, Some(claims.model_root))
            }
            (_, Some(embedding), _) => {
                let claims = &embedding.computation;
                let counts = format!("{} → {} vectors", claims.input_count, claims.vector_count);
                (counts, Some(claims.model_root))
            }
            (_, _, refusal) => {
                (format!("refused: {}", refusal.map_or("", |refusal| &refusal.code)), None)
            }
        };
        Self {
            path,
            digest: view.bundle.statement.digest(),
            id: hex::encode(statement.id),
            time_ms: statement.time_ms,
            summary: Summary {
                kind: statement.kind.to_string(),
                outcome: words,
                model,
                words: view.opened(Field::Request).map_or_else(String::new, words_of),
                opened: view.bundle.openings.keys().map(ToString::to_string).collect(),
                evidence_count: view.bundle.evidence.len(),
            },
        }
    }
}
