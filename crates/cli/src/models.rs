//! The models that this home knows: the one inside the program, and those it imported.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use tally_attribution::{
    influence::{Accuracy, Influence},
    registry::parse_all,
};
use tally_core::{Digest, receipt::SignedStatement};
use tally_engine::Model;

use crate::home::Home;

/// Name of the model inside the program.
pub(crate) const DEFAULT_NAME: &str = "default";
/// Ending of a model file's name.
const EXTENSION: &str = "tally";
const NAME_BYTES_MAX: usize = 64;

/// Bytes at an address that is a multiple of 64, as the kernels want them.
#[repr(C, align(64))]
struct Aligned<Bytes: ?Sized>(Bytes);

static DEFAULT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../models/default/default.tally"));

/// What is declared of the model inside the program, signed.
static DEFAULT_REGISTRY: &[u8] = include_bytes!("../../../models/default/registry.cbor");

/// Vectors of the families that the model inside the program learned from.
static DEFAULT_INFLUENCE: &[u8] = include_bytes!("../../../models/default/influence.cbor");

/// How well estimates by such vectors foretold what retraining showed.
static ACCURACY: &[u8] = include_bytes!("../../../models/influence/lds.json");

/// What influence on answers of the model inside the program is estimated by, and how well.
pub(crate) fn default_influence() -> Result<(Influence, Accuracy)> {
    let influence = Influence::parse(DEFAULT_INFLUENCE).context("the embedded vectors")?;
    Ok((influence, Accuracy::parse(ACCURACY).context("the embedded measurement")?))
}

/// What is declared of the model inside the program: what it learned from, and itself.
pub(crate) fn default_registry() -> Result<Vec<SignedStatement>> {
    parse_all(DEFAULT_REGISTRY).context("the embedded default model's registry")
}

/// The model inside the program.
pub(crate) fn load_default() -> Result<Arc<Model>> {
    Ok(Arc::new(Model::embedded(&DEFAULT.0).context("the embedded default model")?))
}

/// A model by name, or by the 64 hexadecimal digits of its root.
pub(crate) fn load(home: &Home, name: &str) -> Result<Arc<Model>> {
    match Digest::parse_hex(name) {
        Some(root) => load_by_root(Some(home), root),
        None if name == DEFAULT_NAME => load_default(),
        None => {
            let path = path_of(home, name)?;
            ensure!(
                path.try_exists()?,
                "no model `{name}`\n\nhint: `tally model list` shows those there are"
            );
            load_file(&path)
        }
    }
}

/// The known model with a root; `home` is where others than the default may be.
pub(crate) fn load_by_root(home: Option<&Home>, root: Digest) -> Result<Arc<Model>> {
    let default = load_default()?;
    if default.root() == root {
        return Ok(default);
    }
    let mut unreadable = String::new();
    for (name, path) in home.map_or(Ok(Vec::new()), imported)? {
        match load_file(&path) {
            Ok(model) if model.root() == root => return Ok(model),
            Ok(_) => {}
            Err(error) => unreadable.push_str(&format!("; `{name}` could not be read: {error:#}")),
        }
    }
    bail!(
        "no model here has root {root}{unreadable}\n\nhint: import it with `tally model import`, or give its file with `--model`"
    )
}

/// A model file.
pub(crate) fn load_file(path: &Path) -> Result<Arc<Model>> {
    // A pipe or device would be read for ever.
    ensure!(path.is_file(), "{} is not a file", path.display());
    let model = Model::open(path).with_context(|| format!("model file {}", path.display()))?;
    Ok(Arc::new(model))
}

/// Name and file of every imported model, by name.
pub(crate) fn imported(home: &Home) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    if !home.models().is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(home.models()).context("cannot list the models")? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Where a model of this name is kept.
pub(crate) fn path_of(home: &Home, name: &str) -> Result<PathBuf> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ensure!(
        !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.starts_with('.')
            && name.bytes().all(is_legal)
            && Digest::parse_hex(name).is_none(),
        "`{name}` is no model name: expected up to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"
    );
    Ok(home.models().join(format!("{name}.{EXTENSION}")))
}
