//! The ladder of assurance, drawn for people: each step, by what it holds, and whom it asks to trust.

use anyhow::Result;
use tally_core::{commitment::Field, receipt::EvidenceKind, tlog_proof::TlogProof};
use tally_verifier::{Assurance, Established, Gap, Receipt, Verified};

use crate::{
    output::{Colour, Output, quoted},
    view::ReceiptView,
};

/// The steps, in the order in which they are drawn.
const STEPS: [&str; 7] =
    ["signed", "self-cosigned", "logged", "attested", "audited", "replayed", "proved"];
/// Indentation of what stands below a step.
const BELOW: &str = "                   ";

/// A step of the ladder.
struct Step {
    name: &'static str,
    standing: Standing,
    text: String,
    /// Whom one has to trust for it.
    trusted: Option<&'static str>,
}

/// How far a receipt has come on a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was established.
    Established,
    /// The receipt carries something that may establish it; nothing was judged.
    Carried,
    /// Nothing establishes it.
    Missing,
}

/// Draws what was established of a judged receipt.
pub(crate) fn show_verified(verified: &Verified<Receipt>, output: Output) -> Result<()> {
    draw(&STEPS.map(|name| judged(name, verified)), output)
}

/// Draws what an unjudged receipt brings along.
pub(crate) fn show_carried(view: &ReceiptView, output: Output) -> Result<()> {
    draw(&STEPS.map(|name| carried(name, view)), output)
}

/// Whether the ladder shows it, so that no list has to.
pub(crate) fn has_established(established: &Established) -> bool {
    matches!(established, Established::Assurance(_))
}

/// Whether the ladder shows it, so that no list has to.
pub(crate) fn has_gap(gap: &Gap) -> bool {
    STEPS.contains(&gap.code().as_str())
}

fn judged(name: &'static str, verified: &Verified<Receipt>) -> Step {
    let is_it = |assurance: &&Assurance| assurance.code() == name;
    if let Some(assurance) = verified.assurances().find(is_it) {
        let text = assurance.to_string();
        let text = text.strip_prefix(&format!("{name}: ")).unwrap_or(&text).to_owned();
        let trusted = Some(assurance.trusted());
        return Step { name, standing: Standing::Established, text, trusted };
    }
    let gap = verified.not_established().iter().find(|gap| gap.code() == name);
    let included = verified.assurances().find(|assurance| assurance.code() == "included");
    let text = match (name, gap, included) {
        (_, Some(gap), _) => gap.reason(),
        ("self-cosigned", _, Some(included)) => {
            format!("{included}; no cosigner of the policy vouches for it")
        }
        ("self-cosigned", _, _) => "no cosigner of the operator's own vouches for it".into(),
        _ => "nothing shows it".into(),
    };
    Step { name, standing: Standing::Missing, text, trusted: None }
}

fn carried(name: &'static str, view: &ReceiptView) -> Step {
    let proofs: Vec<String> = view.bundle.evidence.iter().filter_map(proof_text).collect();
    let (standing, text) = match name {
        "signed" => {
            let text =
                format!("a signature by key {}; a policy says whose it is", view.header.key_id);
            (Standing::Carried, text)
        }
        "self-cosigned" | "logged" if proofs.is_empty() => {
            (Standing::Missing, "no proof that a log has it".into())
        }
        "self-cosigned" => (Standing::Carried, proofs.join("; ")),
        "logged" => {
            let text = "the same proof, if a quorum of the policy's cosigners stands under it";
            (Standing::Carried, text.into())
        }
        "replayed" => replayable(view),
        _ => (Standing::Missing, "no evidence of it in the receipt".into()),
    };
    Step { name, standing, text, trusted: None }
}

/// Whether somebody who holds this receipt can compute its answer again.
fn replayable(view: &ReceiptView) -> (Standing, String) {
    if view.statement.outcome.refusal().is_some() {
        return (Standing::Missing, "there is no answer to compute again".into());
    }
    let needed = [Field::Input, Field::Seed, Field::Output, Field::Controls];
    let needed: Vec<Field> = needed.into_iter().filter(|field| view.commits_to(*field)).collect();
    let list =
        |fields: &[Field]| fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let closed: Vec<Field> =
        needed.iter().copied().filter(|field| view.opened(*field).is_none()).collect();
    match closed.as_slice() {
        [] => (Standing::Carried, format!("{} are open: `tally replay` can", list(&needed))),
        closed => (Standing::Missing, format!("not opened: {}", list(closed))),
    }
}

fn proof_text(evidence: &tally_core::receipt::Evidence) -> Option<String> {
    if evidence.kind != EvidenceKind::Inclusion {
        return None;
    }
    let value = evidence.value.as_ref()?;
    Some(match TlogProof::parse(value) {
        Ok(proof) => {
            let checkpoint = proof.checkpoint.checkpoint();
            let lines = proof.checkpoint.note().signatures().len();
            format!(
                "a proof: entry {} of {} in log `{}`, {lines} signatures under it",
                proof.index.0,
                checkpoint.size(),
                checkpoint.origin()
            )
        }
        Err(error) => format!("an unreadable proof: {error}"),
    })
}

fn draw(steps: &[Step], output: Output) -> Result<()> {
    for step in steps {
        let (mark, colour) = match step.standing {
            Standing::Established => ("✓", Colour::Green),
            Standing::Carried => ("?", Colour::Yellow),
            Standing::Missing => ("–", Colour::Dim),
        };
        let name = output.paint(
            if step.standing == Standing::Missing { Colour::Dim } else { Colour::Bold },
            &format!("{:<14}", step.name),
        );
        let lead = format!("  {} {name} ", output.paint(colour, mark));
        output.item(&lead, BELOW.len(), &quoted(&step.text))?;
        if let Some(trusted) = step.trusted {
            let trusted = format!("you trust: {trusted}");
            output.line(&format!("{BELOW}{}", output.paint(Colour::Dim, &trusted)))?;
        }
    }
    Ok(())
}
