//! `tally model sign`: an OpenSSF Model Signing bundle over a model's or an adapter's files.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::json;
use tally_attribution::model_signing::{
    BUNDLE_NAME, KEY_BYTES_MAX, Selection, SigningKey, sign, verify,
};
use zeroize::Zeroizing;

use crate::{
    args,
    command::{read_limited, write_new},
    output::Output,
    receipt_file::require_absent,
};

pub(super) fn run(args: &args::SignModel, output: Output) -> Result<()> {
    require_absent(&args.out)?;
    let key = read_key(&args.key)?;
    let mut selection = Selection::default().ignoring([BUNDLE_NAME])?;
    if let Some(within) = within(&args.files, &args.out)? {
        selection = selection.ignoring([within.as_str()])?;
    }
    let bundle = sign(&args.files, &selection, &key)
        .with_context(|| format!("cannot sign {}", args.files.display()))?;
    let signed = verify(bundle.as_bytes(), key.public()).context("the bundle that was made")?;
    write_new(&args.out, bundle.as_bytes())?;
    output.json(&json!({
        "file": args.out,
        "files": signed.resources.len(),
        "root": signed.root.to_string(),
        "key_id": signed.key_id.to_string(),
    }))?;
    output.line(&format!("signed {} files, root {}", signed.resources.len(), signed.root))?;
    output.line(&format!("  key      {}", signed.key_id))?;
    output.line(&format!("  bundle   {}", args.out.display()))
}

fn read_key(path: &Path) -> Result<SigningKey> {
    let pem = Zeroizing::new(read_limited(path, KEY_BYTES_MAX as u64)?);
    let text = std::str::from_utf8(&pem)
        .with_context(|| format!("key {} is not UTF-8", path.display()))?;
    SigningKey::from_pem(text).with_context(|| format!("key {}", path.display()))
}

/// Where a file is going to be below a folder, if it is there: a bundle does not sign itself.
fn within(folder: &Path, file: &Path) -> Result<Option<String>> {
    let whole = |path: &Path| {
        fs::canonicalize(path).with_context(|| format!("cannot open {}", path.display()))
    };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let at = whole(parent.unwrap_or(Path::new(".")))?.join(file.file_name().unwrap_or_default());
    let below = at.strip_prefix(whole(folder)?).ok().filter(|path| !path.as_os_str().is_empty());
    let text = |path: &Path| {
        path.to_str()
            .map(ToOwned::to_owned)
            .with_context(|| format!("{} is not UTF-8", file.display()))
    };
    below.map(text).transpose()
}
