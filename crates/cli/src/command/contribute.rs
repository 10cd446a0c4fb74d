//! `tally contribute` and `tally register`: what somebody made, signed and put on record.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tally_attribution::{
    croissant::{By, Texts},
    dataset::Dataset,
    did::to_did,
    licence::Licence,
    model_signing::{Files, SignedModel},
    registry::{Registry, require_parents},
};
use tally_core::{
    Digest,
    account::Account,
    cbor::Cbor as _,
    contribution::{Contribution, ContributionKind, Extent, Parent, SIGNED_CONTRIBUTION_BYTES_MAX},
    receipt::{SignedStatement, key_id},
};
use tally_server::issue::SOFTWARE;

mod croissant;
mod publisher;

use croissant::Described;

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
    seen: Seen,
}

/// What was looked at beside the contributor's word, before that is signed.
#[derive(Default)]
struct Seen {
    /// The Croissant document that describes it.
    described: Option<Described>,
    /// The bundle that somebody signed over its files.
    signed: Option<SignedModel>,
}

pub(crate) fn run(args: &Contribute, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let (thing, told) = thing_of(args, &home)?;
    let key = home.load_or_create_contributor()?;
    let by = By {
        contributor: *key.public_key().as_bytes(),
        time_ms: now_ms()?,
        parents: parents_of(told, contributions::registry(&home)?.registry())?,
        payee: told.payee.filter(|it| *it != Account::Contributor(*key.public_key().as_bytes())),
    };
    let contribution = contribution_of(&thing, told, by)?;
    // What nobody could read back or register is refused before it is signed for good.
    Contribution::parse(&contribution.encode()).context("this cannot stand in a manifest")?;
    require_parents(&contribution)?;
    let signed = sign(&contribution, &key);
    match &told.out {
        Some(path) => {
            write_new(path, &signed.encode())?;
            told_of(&contribution, &signed, None, &thing.seen, context)?;
            context.output.note(&format!(
                "signed, and registered nowhere yet: a node does it with `tally register {}`",
                path.display()
            ));
        }
        None => put_on_record(&home, &signed, thing.texts.as_ref(), &thing.seen, context)?,
    }
    Ok(Verdict::Satisfied)
}

/// What its description says, and what the contributor tells, which must not differ.
fn contribution_of(thing: &Thing, told: &Told, by: By) -> Result<Contribution> {
    let texts = Texts { root: thing.subject, extent: thing.extent };
    let mut contribution = match &thing.seen.described {
        Some(described) => described.contribution(&texts, by)?,
        None => Contribution {
            contributor: by.contributor,
            kind: thing.kind,
            name: told.name.clone().with_context(|| {
                format!("a {} has no name\n\nhint: give it one with `--name`", thing.kind)
            })?,
            licence: Licence::unknown().as_str().into(),
            subject: thing.subject,
            extent: thing.extent,
            time_ms: by.time_ms,
            parents: by.parents,
            version: None,
            source: None,
            payee: by.payee,
        },
    };
    if let Some(name) = &told.name {
        contribution.name.clone_from(name);
    }
    if let Some(licence) = &told.licence {
        contribution.licence = Licence::parse(licence)?.as_str().into();
    }
    contribution.version = told.of_version.clone().or(contribution.version);
    contribution.source = told.source.clone().or(contribution.source);
    if let Some(described) = &thing.seen.described {
        described.compare_words(&contribution)?;
    }
    Ok(contribution)
}

pub(crate) fn register(args: &args::Register, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let bytes = read_limited(&args.manifest, SIGNED_CONTRIBUTION_BYTES_MAX)?;
    let signed = SignedStatement::parse(&bytes)
        .with_context(|| format!("{} is no signed manifest", args.manifest.display()))?;
    let texts = args.texts.as_deref().map(Dataset::read).transpose()?;
    put_on_record(&home, &signed, texts.as_ref(), &Seen::default(), context)?;
    Ok(Verdict::Satisfied)
}

fn put_on_record(
    home: &Home,
    signed: &SignedStatement,
    texts: Option<&Dataset>,
    seen: &Seen,
    context: &Context,
) -> Result<()> {
    let node = node::open(home)?;
    let registered = contributions::register(home, &node, signed, texts, context)?;
    told_of(&registered.contribution, signed, Some(registered.log_index), seen, context)?;
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
    seen: &Seen,
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
        "licence": contribution.licence,
        "croissant": seen.described.as_ref().map(Described::view),
        "signed_by": seen.signed.as_ref().map(publisher::view),
    }))?;
    output.line(&format!("manifest     {manifest}"))?;
    output.line(&format!("  {:<10} {}", contribution.kind.to_string(), contribution.subject))?;
    output.line(&format!("  contributor {did}"))?;
    output.line(&format!("  licence    {}", contribution.licence))?;
    if let Some(described) = &seen.described {
        described.tell(contribution, output)?;
    }
    if let Some(signed) = &seen.signed {
        publisher::tell(signed, output)?;
    }
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
        seen: Seen::default(),
    };
    Ok(match args {
        Contribute::Dataset { texts, croissant, told } => {
            (dataset_of(texts, croissant.as_deref())?, told)
        }
        Contribute::Weights { model, publisher, files, told } => {
            let model = models::load(home, model)?;
            let parts = model.manifest().parts.iter();
            let size = usize::try_from(parts.map(|part| part.size_bytes).sum::<u64>())?;
            let signed = publisher::of_weights(publisher, files.as_deref(), &model)?;
            let thing = of(ContributionKind::Weights, model.root(), size);
            (Thing { seen: Seen { signed, ..thing.seen }, ..thing }, told)
        }
        Contribute::Adapter { folder, publisher, told } => (adapter_of(folder, publisher)?, told),
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

fn dataset_of(path: &Path, croissant: Option<&Path>) -> Result<Thing> {
    let texts = Dataset::read(path)?;
    let seen = Seen { described: Described::read(path, croissant, &texts)?, signed: None };
    let (subject, extent) = (texts.root(), texts.extent());
    Ok(Thing { kind: ContributionKind::Dataset, subject, extent, texts: Some(texts), seen })
}

fn adapter_of(folder: &Path, publisher: &args::Publisher) -> Result<Thing> {
    let files = Files::read(folder)?;
    let seen = Seen { described: None, signed: publisher::of_adapter(publisher, folder, &files)? };
    let (subject, extent) = (files.root(), files.extent());
    Ok(Thing { kind: ContributionKind::Adapter, subject, extent, texts: None, seen })
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
