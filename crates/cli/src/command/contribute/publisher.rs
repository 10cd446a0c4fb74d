//! The OpenSSF Model Signing bundle over what is contributed: whose holder of a key signed its files.
//!
//! It shows that the key's holder signed these digests. That the contributor is the key's holder it
//! does not show, and the manifest does not say it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_attribution::model_signing::{
    BUNDLE_BYTES_MAX, BUNDLE_NAME, Files, KEY_BYTES_MAX, SignedModel, VerifyingKey, verify,
};
use tally_engine::Model;

use crate::{args::Publisher, command::read_limited, output::Output};

/// The bundle over an adapter's folder, which must cover every file of it.
pub(super) fn of_adapter(
    publisher: &Publisher,
    folder: &Path,
    files: &Files,
) -> Result<Option<SignedModel>> {
    let Some((bundle, signed)) = verified(publisher, folder)? else { return Ok(None) };
    signed
        .cover(files)
        .with_context(|| format!("{} does not cover all that is contributed", bundle.display()))?;
    Ok(Some(signed))
}

/// The bundle over what a model was converted from, which must cover every file that the model names.
pub(super) fn of_weights(
    publisher: &Publisher,
    files: Option<&Path>,
    model: &Model,
) -> Result<Option<SignedModel>> {
    if publisher.signed_by.is_none() {
        return Ok(None);
    }
    let folder = files.context(
        "a bundle is over the files that a model was converted from\n\nhint: say where they are with `--files`",
    )?;
    let Some((bundle, signed)) = verified(publisher, folder)? else { return Ok(None) };
    let found = Files::read(folder)?;
    let sources = &model.manifest().provenance.sources;
    ensure!(!sources.is_empty(), "the model does not say which files it was converted from");
    for source in sources {
        let name = found.named(&source.digest).with_context(|| {
            format!(
                "the model was converted from `{}` with SHA-256 {}, which no file of {} has",
                source.name,
                source.digest,
                folder.display()
            )
        })?;
        signed.cover_one(name, &source.digest).with_context(|| {
            format!("{} does not cover what the model was converted from", bundle.display())
        })?;
    }
    Ok(Some(signed))
}

/// Verifies the bundle that is named, if one is, and compares the files with it.
fn verified<'p>(publisher: &'p Publisher, files: &Path) -> Result<Option<(&'p Path, SignedModel)>> {
    let (Some(bundle), Some(key)) = (&publisher.signed_by, &publisher.key) else {
        return Ok(None);
    };
    let pem = String::from_utf8(read_limited(key, KEY_BYTES_MAX as u64)?)
        .with_context(|| format!("key {} is not UTF-8", key.display()))?;
    let pem = VerifyingKey::from_pem(&pem).with_context(|| format!("key {}", key.display()))?;
    let bytes = read_limited(bundle, BUNDLE_BYTES_MAX as u64)?;
    let signed = verify(&bytes, &pem).with_context(|| format!("bundle {}", bundle.display()))?;
    signed
        .compare(files, &[BUNDLE_NAME])
        .with_context(|| format!("{} is not what {} signs", files.display(), bundle.display()))?;
    Ok(Some((bundle.as_path(), signed)))
}

pub(super) fn view(signed: &SignedModel) -> Value {
    json!({
        "key_id": signed.key_id.to_string(),
        "root": signed.root.to_string(),
        "name": signed.name,
    })
}

/// Says what a bundle shows.
pub(super) fn tell(signed: &SignedModel, output: Output) -> Result<()> {
    output.line(&format!("  signed by  the holder of key {}", signed.key_id))?;
    output.line(&format!("             over these files, root {}", signed.root))?;
    output.note(
        "note: the bundle shows that the key's holder signed these files, not that you are the key's holder",
    );
    Ok(())
}
