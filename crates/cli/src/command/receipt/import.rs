//! `tally receipt import`: receipt files from an answer of the API.

use std::{io::Read as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Deserialize;
use serde_json::json;
use tally_core::{
    cbor::Cbor as _,
    receipt::{Bundle, EVIDENCE_COUNT_MAX, Evidence, openings_from_bytes},
};
use tally_verifier::open;

use super::Verdict;
use crate::{args, command::read_limited, context::Context, receipt_file::ReceiptFile, receipts};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 128 << 20;

/// The member `tally` of an answer, or of the last event of a stream.
#[derive(Deserialize)]
struct Carried {
    receipt: String,
    openings: String,
    #[serde(default)]
    receipts: Vec<Carried>,
}

/// What of an answer speaks of its receipts.
#[derive(Deserialize)]
struct Answer {
    tally: Carried,
}

pub(super) fn run(args: &args::ImportReceipts, context: &Context) -> Result<Verdict> {
    let bytes = match args.answer.to_str() {
        Some("-") => {
            let mut bytes = vec![];
            std::io::stdin().lock().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
            bytes
        }
        _ => read_limited(&args.answer, ANSWER_BYTES_MAX)?,
    };
    let place = args.answer.display();
    let carried = carried(&bytes).with_context(|| {
        format!("{place} is no answer with a receipt\n\nhint: give it the whole body, or all events of a stream, as the node sent them")
    })?;
    let bundles = match carried.receipts.as_slice() {
        [] => vec![bundle_of(&carried)?],
        several => several.iter().map(bundle_of).collect::<Result<_>>()?,
    };
    let folder = context.open_home()?.receipts();
    let mut kept = vec![];
    for bundle in &bundles {
        let path = receipts::path_of(&folder, &bundle.statement.digest());
        let whole = with_what_is_kept(bundle.clone(), &path)?;
        kept.push(ReceiptFile::prepare(&path)?.write(&whole)?);
    }
    let digests: Vec<String> =
        bundles.iter().map(|bundle| bundle.statement.digest().to_string()).collect();
    context.output.json(&json!({"receipts": digests, "paths": kept}))?;
    for digest in &digests {
        context.output.line(digest)?;
    }
    context.output.note("kept, and not judged: `tally verify` does that");
    Ok(Verdict::Satisfied)
}

/// The receipts of a whole answer, or those in the last event that has any.
fn carried(bytes: &[u8]) -> Result<Carried> {
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    let mut events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let last = events.rfind(|data| data.contains(r#""receipt":"#));
    let answer: Answer = serde_json::from_str(last.unwrap_or(text))?;
    Ok(answer.tally)
}

/// A receipt together with what is kept of it already: nothing of that is lost.
fn with_what_is_kept(mut bundle: Bundle, path: &Path) -> Result<Bundle> {
    if !path.exists() {
        return Ok(bundle);
    }
    let bytes = receipts::read(path)?;
    let failed = || format!("{} stands where the receipt is to be kept", path.display());
    let kept = Bundle::parse(&bytes).with_context(failed)?;
    ensure!(kept.statement == bundle.statement, "{} and is another one", failed());
    open(&bytes).with_context(failed)?;
    bundle.openings.extend(kept.openings);
    for evidence in kept.evidence {
        let is_known = |known: &Evidence| known.digest == evidence.digest && known.value.is_some();
        if !bundle.evidence.iter().any(is_known) {
            bundle.evidence.retain(|known| known.digest != evidence.digest);
            bundle.evidence.push(evidence);
        }
    }
    let found = u64::try_from(bundle.evidence.len())?;
    ensure!(
        found <= EVIDENCE_COUNT_MAX,
        "with the {found} proofs of both, the receipt has more than {EVIDENCE_COUNT_MAX}"
    );
    Ok(bundle)
}

fn bundle_of(carried: &Carried) -> Result<Bundle> {
    let decoded = |text: &str| {
        Base64UrlUnpadded::decode_vec(text).map_err(|_| anyhow::anyhow!("it is not base64url"))
    };
    let bare = decoded(&carried.receipt).context("the member `receipt`")?;
    let openings = decoded(&carried.openings).context("the member `openings`")?;
    let mut bundle = Bundle::parse(&bare).context("the member `receipt`")?;
    ensure!(bundle.openings.is_empty(), "the member `receipt` has openings of its own");
    bundle.openings = openings_from_bytes(&openings).context("the member `openings`")?;
    open(&bundle.encode()).context("the openings are not those of the receipt")?;
    Ok(bundle)
}
