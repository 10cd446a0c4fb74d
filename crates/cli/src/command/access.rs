//! `tally access`: the API keys of this home's node.

use std::{fmt::Write as _, fs, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use tally_server::access::{AccessKey, KEYS_MAX, new_key};

use super::{Verdict, read_limited};
use crate::{
    args,
    context::Context,
    home::{Home, random},
};

const FILE_BYTES_MAX: u64 = 4 << 20;
const NAME_BYTES_MAX: usize = 64;

/// The file of keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

/// One key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    requests_per_minute: u32,
    concurrent: u32,
}

pub(crate) fn run(args: &args::Access, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let mut keys = load(&home)?;
    match args {
        args::Access::New { name, requests_per_minute, concurrent } => {
            require_name(name)?;
            ensure!(keys.iter().all(|key| key.name != *name), "there is a key `{name}` already");
            ensure!(keys.len() < KEYS_MAX, "this home has {KEYS_MAX} keys, which is the limit");
            let mut bytes = zeroize::Zeroizing::new([0; 32]);
            random(&mut *bytes)?;
            let (key, hash) = new_key(&bytes);
            let (requests_per_minute, concurrent) = (*requests_per_minute, *concurrent);
            keys.push(AccessKey { name: name.clone(), hash, requests_per_minute, concurrent });
            store(&home, &keys)?;
            context.output.json(&json!({ "name": name, "key": key }))?;
            if !context.output.is_json() {
                context.output.note("this key is shown once and kept nowhere; a running node learns of it when it starts again");
                context.output.line(&key)?;
            }
        }
        args::Access::List => {
            let listed = keys.iter().map(|key| {
                json!({ "name": key.name, "requests_per_minute": key.requests_per_minute, "concurrent": key.concurrent })
            });
            context.output.json(&json!({ "keys": listed.collect::<Vec<_>>() }))?;
            if keys.is_empty() {
                context.output.note("this home has no API keys; `tally access new NAME` makes one");
            }
            for key in &keys {
                context.output.line(&format!(
                    "{}: {} requests a minute, {} at a time",
                    key.name, key.requests_per_minute, key.concurrent
                ))?;
            }
        }
        args::Access::Remove { name } => {
            let before = keys.len();
            keys.retain(|key| key.name != *name);
            if keys.len() == before {
                bail!(
                    "there is no key `{name}`\n\nhint: `tally access list` shows those there are"
                );
            }
            store(&home, &keys)?;
            context.output.json(&json!({ "removed": name }))?;
            context.output.note("removed; a running node learns of it when it starts again");
        }
    }
    Ok(Verdict::Satisfied)
}

/// The keys of a home: none if it has no file of them.
pub(super) fn load(home: &Home) -> Result<Vec<AccessKey>> {
    let path = home.access();
    if !path.try_exists()? {
        return Ok(vec![]);
    }
    let failed = || format!("API keys in {}", path.display());
    let text = String::from_utf8(read_limited(&path, FILE_BYTES_MAX)?).with_context(failed)?;
    let file: File = toml::from_str(&text).with_context(failed)?;
    ensure!(file.key.len() <= KEYS_MAX, "{}: more than {KEYS_MAX} keys", failed());
    let keys = file.key.into_iter().map(|entry| {
        let hash = hex::decode(&entry.sha256).ok().and_then(|hash| hash.try_into().ok());
        let Entry { name, requests_per_minute, concurrent, .. } = entry;
        let hash =
            hash.with_context(|| format!("{}: `sha256` of `{name}` is no digest", failed()))?;
        Ok(AccessKey { name, hash, requests_per_minute, concurrent })
    });
    keys.collect()
}

fn store(home: &Home, keys: &[AccessKey]) -> Result<()> {
    let path = home.access();
    let failed = || format!("cannot write {}", path.display());
    let mut text =
        "# API keys of this node, by their SHA-256: the keys themselves are kept nowhere.\n"
            .to_owned();
    for key in keys {
        // Names hold nothing that TOML would have to quote.
        write!(
            text,
            "\n[[key]]\nname = \"{}\"\nsha256 = \"{}\"\nrequests_per_minute = {}\nconcurrent = {}\n",
            key.name,
            hex::encode(key.hash),
            key.requests_per_minute,
            key.concurrent
        )?;
    }
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let mut options = fs::File::options();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&temporary).with_context(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
    fs::rename(&temporary, &path).with_context(failed)
}

fn require_name(name: &str) -> Result<()> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    ensure!(
        (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_legal),
        "`{name}` is no name: expected up to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.` or `@`"
    );
    Ok(())
}
