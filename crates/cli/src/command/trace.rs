//! `tally trace`: whose registered words a text or an answer repeats, and where its price goes.

use std::{
    collections::BTreeSet,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tally_attribution::{
    did::to_did,
    index::{Index, prove},
};
use tally_core::{
    Digest,
    attribution::{Section, SplitPolicy},
    cbor::Cbor as _,
    commitment::Field,
    contribution::Contribution,
    receipt::{Bundle, Evidence, EvidenceKind, SignedStatement},
    trace::OUTPUT_BYTES_MAX,
};
use tally_verifier::open;

use super::{Verdict, registry::account_text, write_new};
use crate::{
    args,
    context::Context,
    contributions,
    output::{Colour, Output, quoted},
    receipts,
};

mod page;

/// Everything that is shown of one text.
pub(super) struct Traced {
    /// The receipt's digest, where it is an answer.
    receipt: Option<Digest>,
    text: Vec<u8>,
    spans: Vec<Piece>,
    sources: Vec<Source>,
    behind: Vec<Behind>,
    money: Option<Money>,
    notes: Vec<String>,
}

/// A part of the text.
struct Piece {
    start: usize,
    end: usize,
    /// Place of its source; nothing for nobody.
    source: Option<usize>,
}

/// A document that owns words.
struct Source {
    /// Its name, where the index is here.
    document: Option<String>,
    number: u32,
    contribution: Contribution,
    manifest: Digest,
    size: usize,
}

/// A contribution that entered the computation.
struct Behind {
    role: String,
    contribution: Contribution,
    manifest: Digest,
}

/// Where a price goes.
struct Money {
    asset: String,
    amount: u64,
    policy: String,
    /// Label, account, amount.
    lines: Vec<(String, String, u64)>,
}

pub(crate) fn run(args: &args::Trace, context: &Context) -> Result<Verdict> {
    let (traced, verdict) = match receipt_of(args, context)? {
        Some(path) => of_receipt(&path, args, context)?,
        None => (of_text(&text_of(args)?, context)?, Verdict::Satisfied),
    };
    if let Some(path) = &args.html {
        write_new(path, page::of(&traced).as_bytes())?;
        context.output.note(&format!("written to {}", path.display()));
    }
    show(&traced, context.output)?;
    Ok(verdict)
}

/// The receipt's file, if a receipt is named.
fn receipt_of(args: &args::Trace, context: &Context) -> Result<Option<PathBuf>> {
    match &args.what {
        Some(what) if args.text.is_none() => {
            let path = Path::new(what);
            if path.is_file() {
                return Ok(Some(path.into()));
            }
            // What names no receipt is taken for the text itself.
            let is_digest = what.len() >= 4 && what.bytes().all(|byte| byte.is_ascii_hexdigit());
            Ok(is_digest.then(|| receipts::find(path, context).ok()).flatten())
        }
        _ => Ok(None),
    }
}

fn text_of(args: &args::Trace) -> Result<Vec<u8>> {
    let given = args.text.as_ref().or(args.what.as_ref());
    let text =
        given.context("give a receipt or a text\n\nhint: `tally trace --text -` reads stdin")?;
    if text != "-" {
        return Ok(text.as_bytes().to_vec());
    }
    let mut bytes = vec![];
    std::io::stdin().take(u64::from(OUTPUT_BYTES_MAX) + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Traces a text in this home's indices.
fn of_text(text: &[u8], context: &Context) -> Result<Traced> {
    require_size(text)?;
    let home = context.existing_home()?;
    let attributor = contributions::attributor(&home)?;
    let ownership = attributor.trace(text);
    let mut sources: Vec<Source> = vec![];
    let mut pieces = vec![];
    for span in &ownership.spans {
        let (start, end) = (span.start as usize, span.end as usize);
        let source = match span.owner {
            None => None,
            Some(owner) => {
                let index = &attributor.indices()[owner.shard as usize];
                let document = index.document(owner.document).context("the index is damaged")?;
                let manifest = index.shard().contributions[document.contribution as usize];
                let registered = attributor.registry().get(&manifest).context("unregistered")?;
                Some(source(
                    &mut sources,
                    Source {
                        document: index.name(owner.document).map(Into::into),
                        number: owner.document,
                        contribution: registered.contribution.clone(),
                        manifest,
                        size: end - start,
                    },
                ))
            }
        };
        pieces.push(Piece { start, end, source });
    }
    let mut notes = vec![];
    if attributor.indices().is_empty() {
        notes.push("no texts are indexed here; `tally contribute dataset` and `tally register --texts` index some".into());
    }
    let (text, behind) = (text.to_vec(), vec![]);
    Ok(Traced { receipt: None, text, spans: pieces, sources, behind, money: None, notes })
}

/// Adds words to a source that is known, or a new one; says its place.
fn source(sources: &mut Vec<Source>, fresh: Source) -> usize {
    let is_it = |it: &Source| it.manifest == fresh.manifest && it.number == fresh.number;
    match sources.iter().position(is_it) {
        Some(place) => {
            sources[place].size += fresh.size;
            place
        }
        None => {
            sources.push(fresh);
            sources.len() - 1
        }
    }
}

fn require_size(text: &[u8]) -> Result<()> {
    let (found, limit) = (text.len(), OUTPUT_BYTES_MAX as usize);
    ensure!(found <= limit, "the text has more than {limit} bytes, which is the limit");
    Ok(())
}

/// What a receipt says, and whether this home's indices say the same.
fn of_receipt(path: &Path, args: &args::Trace, context: &Context) -> Result<(Traced, Verdict)> {
    let bytes = receipts::read(path)?;
    let opened = open(&bytes).with_context(|| format!("{} cannot be traced", path.display()))?;
    let receipt = opened.receipt();
    let opening = receipt.openings.get(&Field::Attribution).with_context(|| {
        match receipt.statement.attribution {
            Some(_) => "the receipt does not open its attribution section",
            None => "the receipt says nothing of those behind its answer",
        }
    })?;
    let section = Section::parse(&opening.value)?;
    let policy = SplitPolicy::parse(&section.policy)?;
    let manifests: Vec<(Digest, Contribution)> = section
        .contributions
        .iter()
        .map(|bytes| {
            let signed = SignedStatement::parse(bytes)?;
            Ok((signed.digest(), Contribution::parse(&signed.payload)?))
        })
        .collect::<Result<_>>()?;
    // A receipt is somebody else's word: a home is not needed to read it.
    let indices = match context.existing_home() {
        Ok(home) => contributions::indices(&home)?,
        Err(_) => vec![],
    };
    let (mut notes, mut verdict) = (vec![], Verdict::Satisfied);
    let here: Option<Vec<&Index>> = section
        .shards
        .iter()
        .map(|shard| indices.iter().find(|index| index.root() == shard.root))
        .collect();
    match &here {
        _ if section.shards.is_empty() => notes.push("the issuer traced it in no index".into()),
        None => {
            notes.push("not all of its indices are here, so these are the issuer's spans".into())
        }
        Some(shards) => {
            let is_same = again(&section, &policy, shards)?;
            notes.push(match is_same {
                true => "traced again here, in the same indices: the same spans".into(),
                false => "TRACED AGAIN HERE, AND THE SPANS DIFFER: the issuer's are wrong".into(),
            });
            if !is_same {
                verdict = Verdict::NotSatisfied;
            }
        }
    }
    if let Some(out) = &args.prove {
        let shards = here.as_ref().filter(|shards| !shards.is_empty());
        let shards = shards.context("span proofs need the indices that the receipt names")?;
        add_proofs(&bytes, &section, &policy, shards, out)?;
        notes.push(format!("the receipt with span proofs is in {}", out.display()));
    }
    let traced = traced_of(receipt.digest, &section, &policy, &manifests, here.as_deref(), notes);
    Ok((traced, verdict))
}

/// Whether the spans of a section are those that its indices yield.
fn again(section: &Section, policy: &SplitPolicy, shards: &[&Index]) -> Result<bool> {
    require_size(&section.output)?;
    let traced = prove(shards, &section.output, policy.window.into());
    let traced = traced.context("the output cannot be traced")?;
    let found = traced
        .ownership
        .spans
        .iter()
        .map(|span| (span.end, span.owner.map(|owner| (owner.shard, owner.document))));
    let stated = section
        .spans
        .iter()
        .map(|span| (span.end, span.owner.map(|owner| (u32::from(owner.shard), owner.document))));
    Ok(found.eq(stated))
}

/// Writes the receipt with span proofs among its evidence.
fn add_proofs(
    receipt: &[u8],
    section: &Section,
    policy: &SplitPolicy,
    shards: &[&Index],
    out: &Path,
) -> Result<()> {
    let mut bundle = Bundle::parse(receipt)?;
    let traced = prove(shards, &section.output, policy.window.into())?;
    let evidence = Evidence::new(EvidenceKind::Spans, traced.proof.encode());
    let limit = tally_core::receipt::EVIDENCE_BYTES_MAX;
    let found = evidence.value.as_ref().map_or(0, Vec::len) as u64;
    ensure!(found <= limit, "the span proofs have {found} bytes, the limit of evidence is {limit}");
    bundle.evidence.retain(|it| it.kind != EvidenceKind::Spans);
    bundle.evidence.push(evidence);
    if bundle.evidence.len() as u64 > tally_core::receipt::EVIDENCE_COUNT_MAX {
        bail!("the receipt has as much evidence as it can hold");
    }
    write_new(out, &bundle.encode())
}

fn traced_of(
    receipt: Digest,
    section: &Section,
    policy: &SplitPolicy,
    manifests: &[(Digest, Contribution)],
    here: Option<&[&Index]>,
    notes: Vec<String>,
) -> Traced {
    let (mut sources, mut pieces, mut start) = (vec![], vec![], 0);
    for span in &section.spans {
        let end = span.end as usize;
        let place = span.owner.map(|owner| {
            let (manifest, contribution) = manifests[usize::from(owner.contribution)].clone();
            let index = here.and_then(|here| here.get(usize::from(owner.shard)));
            let document = index.and_then(|index| index.name(owner.document)).map(Into::into);
            let (number, size) = (owner.document, end - start);
            source(&mut sources, Source { document, number, contribution, manifest, size })
        });
        pieces.push(Piece { start, end, source: place });
        start = end;
    }
    let behind = section.bound.iter().map(|bound| {
        let (manifest, contribution) = manifests[usize::from(bound.contribution)].clone();
        Behind { role: bound.role.to_string(), contribution, manifest }
    });
    // A dataset stands there once, however many of its documents were put into the input.
    let datasets: BTreeSet<u16> = section.context.iter().map(|it| it.contribution).collect();
    let context = datasets.into_iter().map(|place| {
        let (manifest, contribution) = manifests[usize::from(place)].clone();
        Behind { role: "context".into(), contribution, manifest }
    });
    let lines = section.transfers.iter().map(|transfer| {
        (transfer.label.to_string(), account_text(&transfer.account), transfer.amount)
    });
    let residual = ("residual".to_owned(), "commons".to_owned(), section.residual.amount);
    let money = Money {
        asset: policy.asset.clone(),
        amount: section.amount,
        policy: policy.name.clone(),
        lines: lines.chain([residual]).collect(),
    };
    Traced {
        receipt: Some(receipt),
        text: section.output.clone(),
        spans: pieces,
        sources,
        behind: behind.chain(context).collect(),
        money: Some(money),
        notes,
    }
}

impl Traced {
    fn residual(&self) -> usize {
        let free = self.spans.iter().filter(|piece| piece.source.is_none());
        free.map(|piece| piece.end - piece.start).sum()
    }
}

/// Colours that neighbours among the first sources do not share.
const COLOURS: [Colour; 5] =
    [Colour::Green, Colour::Yellow, Colour::Cyan, Colour::Magenta, Colour::Blue];

fn show(traced: &Traced, output: Output) -> Result<()> {
    output.json(&view(traced))?;
    if output.is_json() {
        return Ok(());
    }
    let mut text = String::new();
    for piece in &traced.spans {
        let part = String::from_utf8_lossy(&traced.text[piece.start..piece.end]);
        let part = quoted(&part);
        text += &match piece.source {
            Some(place) => {
                let part = output.paint(COLOURS[place % COLOURS.len()], &part);
                format!("⟦{part}⟧{}", place + 1)
            }
            None => part,
        };
    }
    output.line(&text)?;
    output.line("")?;
    output.line("Words (observed: equal bytes of a registered text, of no earlier one; nothing is said of cause)")?;
    let whole = traced.text.len();
    for (number, source) in traced.sources.iter().enumerate() {
        let name = source.document.clone().unwrap_or_else(|| format!("document {}", source.number));
        let mark = output.paint(COLOURS[number % COLOURS.len()], &format!("[{}]", number + 1));
        output.line(&format!(
            "  {mark} {} of {whole} bytes: {} in {}",
            source.size,
            quoted(&name),
            quoted(&source.contribution.name)
        ))?;
        output.line(&format!(
            "      {}, declared by {}",
            quoted(&source.contribution.licence),
            to_did(&source.contribution.contributor)
        ))?;
    }
    output
        .line(&format!("  [–] {} of {whole} bytes: nobody's, the residual", traced.residual()))?;
    for note in &traced.notes {
        output.line(&format!("  {note}"))?;
    }
    if !traced.behind.is_empty() {
        output.line("")?;
        output.line(
            "Behind it (bound: named by the statement; declared: signed by whoever says so)",
        )?;
        for it in &traced.behind {
            let Contribution { name, contributor, licence, .. } = &it.contribution;
            output.line(&format!(
                "  {:<8} {} ({}), by {}",
                it.role,
                quoted(name),
                quoted(licence),
                to_did(contributor)
            ))?;
        }
    }
    if let Some(money) = traced.money.as_ref().filter(|money| money.amount > 0) {
        output.line("")?;
        let asset = quoted(&money.asset);
        output.line(&format!(
            "Price: {} billionths of {asset}, divided by split policy {}",
            money.amount,
            quoted(&money.policy)
        ))?;
        for (label, account, amount) in &money.lines {
            output.line(&format!("  {amount:>14}  {label:<14} {account}"))?;
        }
    }
    Ok(())
}

fn view(traced: &Traced) -> Value {
    let spans = traced
        .spans
        .iter()
        .map(|piece| json!({ "start": piece.start, "end": piece.end, "source": piece.source }));
    let sources = traced.sources.iter().map(|source| {
        json!({
            "label": "observed",
            "bytes": source.size,
            "document": source.document,
            "number": source.number,
            "manifest": source.manifest.to_string(),
            "name": source.contribution.name,
            "licence": source.contribution.licence,
            "contributor": to_did(&source.contribution.contributor),
        })
    });
    let behind = traced.behind.iter().map(|it| {
        json!({
            "label": "bound",
            "role": it.role,
            "manifest": it.manifest.to_string(),
            "name": it.contribution.name,
            "contributor": to_did(&it.contribution.contributor),
        })
    });
    let money = traced.money.as_ref().map(|money| {
        let lines = money.lines.iter().map(|(label, account, amount)| {
            json!({ "label": label, "account": account, "amount": amount })
        });
        json!({
            "asset": money.asset,
            "amount": money.amount,
            "policy": money.policy,
            "transfers": lines.collect::<Vec<_>>(),
        })
    });
    json!({
        "receipt_digest": traced.receipt.map(|digest| digest.to_string()),
        "text": String::from_utf8_lossy(&traced.text),
        "spans": spans.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "residual_bytes": traced.residual(),
        "behind": behind.collect::<Vec<_>>(),
        "price": money,
        "notes": traced.notes,
    })
}
