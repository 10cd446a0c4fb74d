//! `tally contribute` and `tally register`: what somebody made, signed and put on record.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tally_attribution::{dataset::Dataset, did::to_did, licence::Licence, registry::Registry};
use tally_core::{
    Digest,
    account::Account,
    cbor::Cbor as _,
    contribution::{Contribution, ContributionKind, Extent, Parent, SIGNED_CONTRIBUTION_BYTES_MAX},
    receipt::{SignedStatement, key_id},
};
use tally_server::issue::SOFTWARE;

use super::{Verdict, read_limited, write_new};
use crate::{
    args::{self, Contribute, Told},
    context::{Context, now_ms},
    contributions::{self, sign},
    home::Home,
    models, node,
};

const PROMPT_BYTES_MAX: u64 = 1 << 20;

/// What a contribution consists of.
struct Thing {
    kind: ContributionKind,
    subject: Digest,
    extent: Extent,
    texts: Option<Dataset>,
}

pub(crate) fn run(args: &Contribute, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let (thing, told) = thing_of(args, &home)?;
    let key = home.load_or_create_contributor()?;
    let folder = contributions::registry(&home)?;
    let contribution = Contribution {
        contributor: *key.public_key().as_bytes(),
        kind: thing.kind,
        name: told.name.clone(),
        licence: Licence::parse(&told.licence)?.as_str().to_owned(),
        subject: thing.subject,
        extent: thing.extent,
        time_ms: now_ms()?,
        parents: parents_of(told, folder.registry())?,
        version: told.of_version.clone(),
        source: told.source.clone(),
        payee: told.payee.filter(|it| *it != Account::Contributor(*key.public_key().as_bytes())),
    };
    let signed = sign(&contribution, &key);
    // What nobody could read back is refused before it is signed for good.
    Contribution::parse(&contribution.encode()).context("this cannot stand in a manifest")?;
    match &told.out {
        Some(path) => {
            write_new(path, &signed.encode())?;
            told_of(&contribution, &signed, None, context)?;
            context.output.note(&format!(
                "signed, and registered nowhere yet: a node does it with `tally register {}`",
                path.display()
            ));
        }
        None => put_on_record(&home, &signed, thing.texts.as_ref(), context)?,
    }
    Ok(Verdict::Satisfied)
}

pub(crate) fn register(args: &args::Register, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let bytes = read_limited(&args.manifest, SIGNED_CONTRIBUTION_BYTES_MAX)?;
    let signed = SignedStatement::parse(&bytes)
        .with_context(|| format!("{} is no signed manifest", args.manifest.display()))?;
    let texts = args.texts.as_deref().map(Dataset::read).transpose()?;
    put_on_record(&home, &signed, texts.as_ref(), context)?;
    Ok(Verdict::Satisfied)
}

fn put_on_record(
    home: &Home,
    signed: &SignedStatement,
    texts: Option<&Dataset>,
    context: &Context,
) -> Result<()> {
    let node = node::open(home)?;
    let registered = contributions::register(home, &node, signed, texts, context)?;
    told_of(&registered.contribution, signed, Some(registered.log_index), context)?;
    let first = contributions::registry(home)?;
    let contribution = &registered.contribution;
    let earlier = first.registry().first(contribution.kind, &contribution.subject);
    if let Some(earlier) = earlier.filter(|it| it.manifest != registered.manifest) {
        context.output.note(&format!(
            "note: entry {} registered the same {} before, and counts: {}",
            earlier.log_index, contribution.kind, earlier.manifest
        ));
    }
    Ok(())
}

/// Says what was signed, and where it stands.
fn told_of(
    contribution: &Contribution,
    signed: &SignedStatement,
    log_index: Option<u64>,
    context: &Context,
) -> Result<()> {
    let (manifest, did) = (signed.digest(), to_did(&contribution.contributor));
    let output = context.output;
    output.json(&json!({
        "manifest": manifest.to_string(),
        "kind": contribution.kind.to_string(),
        "subject": contribution.subject.to_string(),
        "contributor": did,
        "log_index": log_index,
    }))?;
    output.line(&format!("manifest     {manifest}"))?;
    output.line(&format!("  {:<10} {}", contribution.kind.to_string(), contribution.subject))?;
    output.line(&format!("  contributor {did}"))?;
    output.line(&format!("  licence    {}", contribution.licence))?;
    if let Some(index) = log_index {
        output.line(&format!("  registered as entry {index} of this node's log"))?;
    }
    Ok(())
}

fn thing_of<'a>(args: &'a Contribute, home: &Home) -> Result<(Thing, &'a Told)> {
    let of = |kind, subject, size: usize| Thing {
        kind,
        subject,
        extent: Extent { count: 1, size_bytes: size as u64 },
        texts: None,
    };
    Ok(match args {
        Contribute::Dataset { texts, told } => (dataset_of(texts)?, told),
        Contribute::Weights { model, told } => {
            let model = models::load(home, model)?;
            let parts = model.manifest().parts.iter();
            let size = usize::try_from(parts.map(|part| part.size_bytes).sum::<u64>())?;
            (of(ContributionKind::Weights, model.root(), size), told)
        }
        Contribute::Prompt { file, told } => {
            let text = read_limited(file, PROMPT_BYTES_MAX)?;
            (of(ContributionKind::Prompt, Digest::of_content(&text), text.len()), told)
        }
        Contribute::Code { told } => {
            let subject = Digest::of_content(SOFTWARE.as_bytes());
            (of(ContributionKind::Code, subject, SOFTWARE.len()), told)
        }
        Contribute::Node { told } => {
            let keys = home.load_or_create_keys()?;
            let subject = key_id(keys.receipt.public_key().as_bytes());
            (of(ContributionKind::Node, subject, 32), told)
        }
    })
}

fn dataset_of(path: &Path) -> Result<Thing> {
    let texts = Dataset::read(path)?;
    let (subject, extent) = (texts.root(), texts.extent());
    Ok(Thing { kind: ContributionKind::Dataset, subject, extent, texts: Some(texts) })
}

/// Parents by the beginnings of their manifests; whole digests need not be registered here.
fn parents_of(told: &Told, registry: &Registry) -> Result<Vec<Parent>> {
    let parent = |given: &args::ParentArgument| {
        let manifest = match Digest::parse_hex(&given.manifest) {
            Some(whole) => whole,
            None => contributions::named(registry.all(), &given.manifest)?.manifest,
        };
        if told.out.is_none() && registry.get(&manifest).is_none() {
            bail!("parent {manifest} is not registered here\n\nhint: `tally register` it first");
        }
        Ok(Parent { relation: given.relation, manifest, share_bps: given.share_bps })
    };
    told.parents.iter().map(parent).collect()
}
