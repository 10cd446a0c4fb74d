//! `tally receipt export`: a copy for somebody else, which reveals what its holder chooses.

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tally_core::{commitment::Field, receipt::Bundle};
use tally_verifier::open;

use super::Verdict;
use crate::{args, context::Context, receipt_file::ReceiptFile, receipts, view::ReceiptView};

pub(super) fn run(args: &args::Export, context: &Context) -> Result<Verdict> {
    let bytes = receipts::read(&receipts::find(&args.receipt, context)?)?;
    // What is handed on must be what the statement commits to.
    open(&bytes).context("the receipt's openings cannot be used")?;
    let mut view = ReceiptView::parse(&bytes)?;
    if let args::Reveal::Fields(wanted) = &args.reveal {
        require_open(&view.bundle, wanted)?;
        view.bundle.openings.retain(|field, _| wanted.contains(field));
    }
    let bundle = &view.bundle;
    let path = ReceiptFile::prepare_new(&args.out)?.write(bundle)?;
    let names = |fields: &mut dyn Iterator<Item = &Field>| -> Vec<String> {
        fields.map(ToString::to_string).collect()
    };
    let revealed = names(&mut bundle.openings.keys());
    let is_hidden =
        |field: &&Field| view.commits_to(**field) && !bundle.openings.contains_key(field);
    let hidden = names(&mut Field::ALL.iter().filter(is_hidden));
    context.output.json(&json!({
        "receipt_digest": bundle.statement.digest().to_string(),
        "path": path,
        "revealed": revealed,
        "hidden": hidden,
    }))?;
    let or_nothing = |names: Vec<String>| match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    };
    context.output.line(&format!("{}", path.display()))?;
    context.output.line(&format!("  reveals  {}", or_nothing(revealed)))?;
    context.output.line(&format!("  hides    {}", or_nothing(hidden.clone())))?;
    let is_hidden = |field: Field| hidden.contains(&field.to_string());
    let has_words = view.statement.outcome.answer().is_some();
    if has_words && bundle.openings.contains_key(&Field::Attribution) && is_hidden(Field::Response)
    {
        context.output.note("beware: the attribution section holds the words of the answer");
    }
    for (tokens, words) in [(Field::Input, Field::Request), (Field::Output, Field::Response)] {
        if bundle.openings.contains_key(&tokens) && is_hidden(words) {
            context.output.note(&format!(
                "beware: the {tokens} is the words as token ids: whoever has the model reads them"
            ));
        }
    }
    Ok(Verdict::Satisfied)
}

/// That a receipt opens what is to be revealed.
fn require_open(bundle: &Bundle, wanted: &[Field]) -> Result<()> {
    let Some(closed) = wanted.iter().find(|field| !bundle.openings.contains_key(field)) else {
        return Ok(());
    };
    let open: Vec<_> = bundle.openings.keys().map(ToString::to_string).collect();
    match open.is_empty() {
        true => bail!("the receipt opens nothing, so it cannot reveal its {closed}"),
        false => bail!(
            "the receipt does not open its {closed}, so it cannot reveal it\n\nhint: it opens {}",
            open.join(", ")
        ),
    }
}
