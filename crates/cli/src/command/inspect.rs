//! `tally inspect`: what a receipt says, unjudged.

use anyhow::{Context as _, Result};

use super::Verdict;
use crate::{args, context::Context, ladder, output::Colour, receipts, view::ReceiptView};

pub(crate) fn run(args: &args::Inspect, context: &Context) -> Result<Verdict> {
    let output = context.output;
    let path = receipts::find(&args.receipt, context)?;
    let receipt = ReceiptView::parse(&receipts::read(&path)?)
        .with_context(|| format!("{} is no receipt, or a damaged one", path.display()))?;
    output.json(&tally_server::view::of(&receipt.bundle)?)?;
    for (i, line) in receipt.to_lines().iter().enumerate() {
        let is_title = i == 0 || (!line.is_empty() && !line.starts_with(' '));
        output.line(&if is_title { output.paint(Colour::Bold, line) } else { line.clone() })?;
    }
    output.line("")?;
    output.line(&output.paint(
        Colour::Bold,
        "Ladder of assurance: what the receipt brings along, nothing of it judged",
    ))?;
    ladder::show_carried(&receipt, output)?;
    output.line("")?;
    output.line("Nothing of this has been verified: `tally verify` does that")?;
    Ok(Verdict::Satisfied)
}
