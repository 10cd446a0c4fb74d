//! This home's contributions: its registry, its indices, and what answers are attributed by.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use tally_attribution::{
    attributor::Attributor,
    dataset::Dataset,
    index::{Builder, Index},
    policy_file::{self, POLICY_FILE_BYTES_MAX},
    registry::{Registered, RegistryFolder},
};
use tally_core::{
    Digest,
    attribution::SplitPolicy,
    contribution::{Contribution, ContributionKind, Extent},
    ed25519::SigningKey,
    entry::EntryKind,
    receipt::SignedStatement,
};
use tally_issuer::Node;

use crate::{
    book,
    command::read_limited,
    context::{Context, now_ms},
    home::Home,
    models,
    output::Output,
};

/// The home's split policy; without a file it charges nothing.
pub(crate) fn split_policy(home: &Home) -> Result<SplitPolicy> {
    let path = home.split_policy();
    if !path.try_exists()? {
        return Ok(policy_file::free());
    }
    read_split_policy(&path)
}

/// The split policy in a file.
pub(crate) fn read_split_policy(path: &Path) -> Result<SplitPolicy> {
    let text = String::from_utf8(read_limited(path, POLICY_FILE_BYTES_MAX as u64)?)
        .with_context(|| format!("split policy {} is not UTF-8", path.display()))?;
    policy_file::parse(&text).with_context(|| format!("split policy {}", path.display()))
}

/// The home's registry.
pub(crate) fn registry(home: &Home) -> Result<RegistryFolder> {
    RegistryFolder::open(&home.registry()).context("cannot read this home's registry")
}

/// The home's indices in the order of registration.
pub(crate) fn indices(home: &Home) -> Result<Vec<Index>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(home.indices()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        listed => listed?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?,
    };
    paths.retain(|path| path.extension().is_some_and(|it| it == "index"));
    // Their names begin with the place of their first contribution in the log.
    paths.sort();
    paths.iter().map(|path| open_index(path)).collect()
}

fn open_index(path: &Path) -> Result<Index> {
    Index::open(path).with_context(|| format!("cannot open index {}", path.display()))
}

/// What this home's answers are attributed by.
pub(crate) fn attributor(home: &Home) -> Result<Attributor> {
    over(home, &registry(home)?)
}

/// What a node attributes its answers by; the log has the split policy before the first answer.
pub(crate) fn attributor_of(home: &Home, node: &Node) -> Result<Attributor> {
    let attributor = over(home, &registry_of(home, node)?)?;
    book::require_asset(home, attributor.policy())?;
    node.enter_once(EntryKind::SPLIT_POLICY, attributor.policy().digest(), now_ms()? / 1000)?;
    Ok(attributor)
}

fn over(home: &Home, folder: &RegistryFolder) -> Result<Attributor> {
    Ok(Attributor::new(split_policy(home)?, folder.registry().clone(), indices(home)?)?)
}

/// The home's registry, which has what is declared of the model inside the program.
fn registry_of(home: &Home, node: &Node) -> Result<RegistryFolder> {
    let mut folder = registry(home)?;
    for signed in models::default_registry()? {
        let manifest = signed.digest();
        if folder.registry().get(&manifest).is_none() {
            let log_index = node.enter_once(EntryKind::CONTRIBUTION, manifest, now_ms()? / 1000)?;
            folder.register(log_index, signed)?;
        }
    }
    Ok(folder)
}

/// Registers a signed contribution with this home's log, and builds the index of a dataset's texts.
///
/// A dataset that is registered and has no index gets it: its building may have been cut short.
pub(crate) fn register(
    home: &Home,
    node: &Node,
    signed: &SignedStatement,
    texts: Option<&Dataset>,
    context: &Context,
) -> Result<Registered> {
    let mut folder = registry_of(home, node)?;
    let now_s = now_ms()? / 1000;
    let known = folder.registry().get(&signed.digest());
    let known = known.filter(|known| texts.is_some() && !index_path(home, known).exists()).cloned();
    let registered = match known {
        Some(known) => {
            require_texts(&known.contribution, texts)?;
            known
        }
        None => {
            require_texts(&folder.registry().require(signed)?, texts)?;
            let log_index = node.enter_once(EntryKind::CONTRIBUTION, signed.digest(), now_s)?;
            folder.register(log_index, signed.clone())?.clone()
        }
    };
    if let Some(texts) = texts {
        let index = build(home, &registered, texts, context.output)?;
        let own = home.load_or_create_contributor()?;
        let by_own = |it: &Registered| it.contribution.contributor == *own.public_key().as_bytes();
        let is_said =
            folder.registry().of_subject(ContributionKind::Index, index.root()).any(by_own);
        if !is_said {
            let built = built_by(&own, &index, texts.extent(), &registered.contribution.name)?;
            let at = node.enter_once(EntryKind::CONTRIBUTION, built.digest(), now_s)?;
            folder.register(at, built)?;
        }
    }
    node.publish(now_s)?;
    Ok(registered)
}

/// Refuses texts that are not those which a manifest names.
fn require_texts(contribution: &Contribution, texts: Option<&Dataset>) -> Result<()> {
    let Some(texts) = texts else { return Ok(()) };
    let kind = contribution.kind;
    ensure!(
        kind == ContributionKind::Dataset,
        "a contribution of kind {kind} has no texts to be indexed"
    );
    let found = texts.root();
    ensure!(
        found == contribution.subject,
        "the texts yield documents root {found}, the manifest says {}\n\nhint: it is about {} documents of {} bytes, these are {} of {}",
        contribution.subject,
        contribution.extent.count,
        contribution.extent.size_bytes,
        texts.extent().count,
        texts.extent().size_bytes,
    );
    Ok(())
}

/// Where the index over a dataset is; the names stand in the order of registration.
fn index_path(home: &Home, registered: &Registered) -> PathBuf {
    let name = format!("{:012}-{}.index", registered.log_index, registered.manifest);
    home.indices().join(name)
}

/// The index over a registered dataset, if this home has its texts.
pub(crate) fn index_of(home: &Home, registered: &Registered) -> Result<Option<Index>> {
    let path = index_path(home, registered);
    match path.try_exists()? {
        true => open_index(&path).map(Some),
        false => Ok(None),
    }
}

/// Builds the index over one dataset.
fn build(home: &Home, registered: &Registered, texts: &Dataset, output: Output) -> Result<Index> {
    let folder = home.indices();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut builder = Builder::new();
    builder.contribution(registered.manifest)?;
    for (name, text) in &texts.documents {
        builder.document(name, text.as_bytes())?;
    }
    let path = index_path(home, registered);
    let bar = output.bar("indexing", 1000);
    let index = builder.build(&path, &mut |done| bar.set_position(done.into()))?;
    bar.finish_and_clear();
    Ok(index)
}

/// This home's word that it built an index from its texts.
fn built_by(
    key: &SigningKey,
    index: &Index,
    extent: Extent,
    name: &str,
) -> Result<SignedStatement> {
    let contribution = Contribution {
        contributor: *key.public_key().as_bytes(),
        kind: ContributionKind::Index,
        name: name.into(),
        licence: "unknown".into(),
        subject: index.root(),
        extent,
        time_ms: now_ms()?,
        parents: vec![],
        version: None,
        source: None,
        payee: None,
    };
    Ok(sign(&contribution, key))
}

/// Signs what a contributor says.
pub(crate) fn sign(contribution: &Contribution, key: &SigningKey) -> SignedStatement {
    contribution.signed(|message| *key.sign(message).as_bytes())
}

/// The one registered contribution whose manifest begins with these hexadecimal digits.
pub(crate) fn named<'r>(all: &'r [Registered], name: &str) -> Result<&'r Registered> {
    let is_it = |it: &&Registered| it.manifest.to_string().starts_with(name);
    let found: Vec<&Registered> = all.iter().filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => bail!(
            "no registered contribution begins with `{name}`\n\nhint: `tally registry list` shows them"
        ),
        several => bail!("{} registered contributions begin with `{name}`", several.len()),
    }
}

/// The first registered contribution for a thing, to be shown.
pub(crate) fn shown(digest: &Digest) -> String {
    digest.to_string()[..16].to_owned()
}
