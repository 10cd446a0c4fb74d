//! `tally policy`: whom a user trusts, in sentences and as a file.

use std::{
    fmt::Write as _, fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tally_core::{Digest, note::VerifierKey};
use tally_server::{
    client::{FetchLimits, fetch},
    http::keys::NodeKeyList,
};
use tally_verifier::{Policy, policy::Accepted};

use super::Verdict;
use crate::{args, context::Context, models, node, output::quoted};

const WAIT_MAX: Duration = Duration::from_secs(30);
const KEYS_BYTES_MAX: usize = 64 << 10;
const DAY_SECONDS: u64 = 86_400;
/// Name of the group of independent cosigners.
const QUORUM: &str = "independent cosigners";

pub(crate) fn run(args: &args::Policy, context: &Context) -> Result<Verdict> {
    match args {
        args::Policy::Show { policy } => show(policy.as_deref(), context),
        args::Policy::New(new) => write_new(new, context),
        args::Policy::Accept { model } => accept(model, context),
    }
}

/// The policy in a file, or that of the home.
pub(super) fn load(path: Option<&Path>, context: &Context) -> Result<Policy> {
    Ok(load_named(path, context)?.0)
}

/// The policy in a file, or that of the home, and where it is.
pub(super) fn load_named(path: Option<&Path>, context: &Context) -> Result<(Policy, String)> {
    if let Some(path) = path {
        return Ok((node::read_policy(path)?, path.display().to_string()));
    }
    let own = context.home_path().join("policy.toml");
    ensure!(
        own.is_file(),
        "no policy says whom you trust\n\nhint: write one with `tally policy new --node URL --out policy.toml`, or from keys that you know, and name it"
    );
    Ok((node::read_policy(&own)?, format!("{} (your home's own)", own.display())))
}

fn show(path: Option<&Path>, context: &Context) -> Result<Verdict> {
    let (policy, place) = load_named(path, context)?;
    tell(&policy, &place, context)?;
    Ok(Verdict::Satisfied)
}

fn tell(policy: &Policy, name: &str, context: &Context) -> Result<()> {
    let lines = policy.describe();
    context.output.json(&json!({"policy": name, "sentences": lines}))?;
    context.output.line(&format!("Policy {name}"))?;
    for line in lines {
        context.output.line(&format!("  {}", quoted(&line)))?;
    }
    for issuer in policy.issuers() {
        let key = hex::encode(issuer.key.as_bytes());
        context
            .output
            .line(&format!("  issuer `{}` has public key {key}", quoted(&issuer.name)))?;
    }
    Ok(())
}

fn write_new(args: &args::NewPolicy, context: &Context) -> Result<Verdict> {
    let text = draft(args, context)?.encode(args)?;
    let policy = Policy::parse(&text).context("the policy that these arguments make")?;
    if let Some(url) = &args.node {
        context.output.note(&format!(
            "the keys are {url}'s own word: compare them with what its operator says elsewhere\n"
        ));
    }
    let Some(path) = &args.out else {
        context.output.json(&json!({"policy": text, "sentences": policy.describe()}))?;
        context.output.piece(&text)?;
        return Ok(Verdict::Satisfied);
    };
    let failed = || format!("cannot write {}", path.display());
    let mut file = fs::File::options().write(true).create_new(true).open(path);
    if let Err(error) = &file
        && error.kind() == std::io::ErrorKind::AlreadyExists
    {
        bail!("{} is there already\n\nhint: name another file with `--out`", path.display());
    }
    if let Ok(file) = &mut file {
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
    }
    file.with_context(failed)?;
    tell(&policy, &path.display().to_string(), context)?;
    Ok(Verdict::Satisfied)
}

/// Adds a model to those that the home's policy accepts, and changes nothing else in it.
fn accept(name: &str, context: &Context) -> Result<Verdict> {
    let home = context.existing_home()?;
    let root = match Digest::parse_hex(&name.to_ascii_lowercase()) {
        Some(root) => root,
        None => models::load(&home, name)?.root(),
    };
    node::load_or_create_policy(&home, models::load_default()?.root())?;
    let path = home.policy();
    let failed = || format!("cannot change {}", path.display());
    let text = fs::read_to_string(&path).with_context(failed)?;
    let is_accepted = |accepted: &Accepted<Digest>| match accepted {
        Accepted::Any => true,
        Accepted::Listed(roots) => roots.contains(&root),
    };
    if is_accepted(Policy::parse(&text).with_context(failed)?.models()) {
        context.output.note("the policy accepts it already");
    } else {
        let (before, after) = text.split_once("\nmodels = [").with_context(|| {
            format!(
                "{}: it has no list of models\n\nhint: add \"{root}\" to `models` by hand",
                failed()
            )
        })?;
        let changed = format!("{before}\nmodels = [\n  \"{root}\",{after}");
        let policy = Policy::parse(&changed).with_context(failed)?;
        ensure!(is_accepted(policy.models()), "{}: add \"{root}\" to `models` by hand", failed());
        let temporary = path.with_extension(format!("{}.part", std::process::id()));
        let mut options = fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(changed.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
        fs::rename(&temporary, &path).with_context(failed)?;
    }
    context.output.json(&json!({"policy": path, "accepted": root.to_string()}))?;
    context.output.line(&format!("{} accepts model {root}", path.display()))?;
    Ok(Verdict::Satisfied)
}

/// What a new policy names.
#[derive(Default)]
struct Draft {
    /// Name and public key.
    issuers: Vec<(String, String)>,
    logs: Vec<VerifierKey>,
    own_cosigners: Vec<VerifierKey>,
    cosigners: Vec<VerifierKey>,
    /// Empty is any.
    models: Vec<Digest>,
}

fn draft(args: &args::NewPolicy, context: &Context) -> Result<Draft> {
    let mut draft = Draft::default();
    if let Some(url) = &args.node {
        let keys = keys_of(url, context)?;
        draft.issuers.push((name_of(url), keys.issuer.public_key));
        draft.logs.push(vkey(&keys.log)?);
        draft.own_cosigners =
            keys.own_cosigners.iter().map(|key| vkey(key)).collect::<Result<_>>()?;
    }
    for issuer in &args.issuer {
        let (name, key) = issuer
            .split_once('=')
            .with_context(|| format!("issuer `{issuer}` has no name: expected NAME=KEY"))?;
        draft.issuers.push((name.into(), key.into()));
    }
    let parsed = |texts: &[String]| texts.iter().map(|text| vkey(text)).collect::<Result<Vec<_>>>();
    draft.logs.extend(parsed(&args.log)?);
    draft.own_cosigners.extend(parsed(&args.own_cosigner)?);
    draft.cosigners.extend(parsed(&args.cosigner)?);
    for name in &args.model {
        draft.models.push(match Digest::parse_hex(name) {
            Some(root) => root,
            None => models::load(&context.existing_home()?, name)?.root(),
        });
    }
    let has_cosigners = !draft.cosigners.is_empty() || !draft.own_cosigners.is_empty();
    ensure!(
        !has_cosigners || !draft.logs.is_empty(),
        "cosigners vouch for a log, and no log is named\n\nhint: name it with `--log VKEY`"
    );
    Ok(draft)
}

impl Draft {
    /// The file's text.
    fn encode(&self, args: &args::NewPolicy) -> Result<String> {
        let required = match (self.cosigners.as_slice(), self.own_cosigners.as_slice()) {
            ([_, ..], _) => "\"signed\", \"logged\"",
            ([], [_, ..]) => "\"signed\", \"self-cosigned\"",
            ([], []) => "\"signed\"",
        };
        let models: Vec<_> = self.models.iter().map(|root| format!("\n  \"{root}\",")).collect();
        let models = match models.is_empty() {
            true => "\"any\"".to_owned(),
            false => format!("[{}\n]", models.concat()),
        };
        let mut text = format!(
            "# Whom you trust, and what you demand of a receipt: `tally policy show FILE` says it in sentences.\n\
             version = 1\n\
             required = [{required}]\n\
             arithmetics = [{}]\n\
             models = {models}\n",
            quote(tally_engine::ARITHMETIC)
        );
        if let Some(url) = &args.node {
            let told = format!(
                "# Keys as {url} told them itself: compare them with what its operator says elsewhere.\n"
            );
            text.insert_str(0, &told);
        }
        if let Some(days) = args.age_days {
            writeln!(text, "age_max_s = {}", days * DAY_SECONDS)?;
        }
        if !self.cosigners.is_empty() {
            writeln!(text, "quorum = {}", quote(QUORUM))?;
        }
        for (name, key) in &self.issuers {
            write!(text, "\n[[issuer]]\nname = {}\npublic_key = {}\n", quote(name), quote(key))?;
        }
        for log in &self.logs {
            let (origin, key) = (quote(log.name().as_str()), quote(&log.encode()));
            write!(text, "\n[[log]]\norigin = {origin}\nvkey = {key}\n")?;
        }
        for (cosigners, is_own) in [(&self.own_cosigners, true), (&self.cosigners, false)] {
            for cosigner in cosigners {
                let (name, key) = (quote(cosigner.name().as_str()), quote(&cosigner.encode()));
                write!(text, "\n[[cosigner]]\nname = {name}\nvkey = {key}\n")?;
                if is_own {
                    text.push_str("own = true\n");
                }
            }
        }
        if !self.cosigners.is_empty() {
            let members: Vec<_> =
                self.cosigners.iter().map(|key| quote(key.name().as_str())).collect();
            let count = u64::try_from(members.len())?;
            write!(
                text,
                "\n[[group]]\nname = {}\nthreshold = {}\nmembers = [{}]\n",
                quote(QUORUM),
                args.quorum.unwrap_or(count * 2 / 3 + 1),
                members.join(", ")
            )?;
        }
        Ok(text)
    }
}

/// The public keys that a node tells of itself.
fn keys_of(url: &str, context: &Context) -> Result<NodeKeyList> {
    let limits = FetchLimits { bytes_max: KEYS_BYTES_MAX, wait_max: WAIT_MAX };
    let bytes = super::serve::runtime(context)?.block_on(fetch(url, "/v1/keys", limits))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{url} does not tell its keys"))
}

/// What to call a node: its address without what surrounds it.
fn name_of(url: &str) -> String {
    let name = url.split_once("://").map_or(url, |(_, rest)| rest);
    name.split('/').next().unwrap_or(name).to_owned()
}

fn vkey(text: &str) -> Result<VerifierKey> {
    VerifierKey::parse(text).with_context(|| format!("verifier key `{text}`"))
}

/// A string of TOML.
fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}
