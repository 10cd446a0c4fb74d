//! A registry on disk: one file for each signed manifest, named by its place in the log.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tally_core::{
    Digest,
    cbor::{Cbor as _, CborError},
    contribution::SIGNED_CONTRIBUTION_BYTES_MAX,
    receipt::SignedStatement,
};
use thiserror::Error;

use super::{Registered, Registry, RegistryError};

/// Why a registry's folder cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file cannot be read or written.
    #[error("{path}: {cause}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A file has another name than its manifest and its place demand.
    #[error("{path} should be named `INDEX-DIGEST.contribution` for manifest {manifest}", path = .path.display())]
    Name {
        /// Which.
        path: PathBuf,
        /// The manifest in it.
        manifest: Digest,
    },
    /// A file holds no manifest.
    #[error("{path} holds no signed manifest: {cause}", path = .path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// The first deviation.
        cause: CborError,
    },
    /// A manifest cannot be registered.
    #[error("{path}: {cause}", path = .path.display())]
    Registry {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: RegistryError,
    },
}

/// A registry that is kept in a folder.
#[derive(Debug)]
pub struct RegistryFolder {
    path: PathBuf,
    registry: Registry,
}

impl RegistryFolder {
    /// Reads a registry; of a folder that does not exist it is empty.
    ///
    /// # Errors
    /// If a file cannot be read, or is not a contribution that can stand in its place.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let mut registry = Registry::default();
        for (log_index, path) in files(path)? {
            let file = |cause| FolderError::File { path: path.clone(), cause };
            let size = fs::metadata(&path).map_err(file)?.len();
            if size > SIGNED_CONTRIBUTION_BYTES_MAX {
                let found = usize::try_from(size).unwrap_or(usize::MAX);
                let cause = RegistryError::Size { found };
                return Err(FolderError::Registry { path, cause });
            }
            let bytes = fs::read(&path).map_err(file)?;
            let signed = SignedStatement::parse(&bytes)
                .map_err(|cause| FolderError::Form { path: path.clone(), cause })?;
            let manifest = signed.digest();
            if path.file_name().and_then(|name| name.to_str()) != Some(&name(log_index, &manifest))
            {
                return Err(FolderError::Name { path, manifest });
            }
            if let Err(cause) = registry.register(log_index, signed) {
                return Err(FolderError::Registry { path, cause });
            }
        }
        Ok(Self { path: path.into(), registry })
    }

    /// What is registered.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Registers a contribution that a log has taken at this place; it is durable when this returns.
    ///
    /// The place may be before the last that is registered: whoever logged a contribution and was cut
    /// short registers it later, and it stands where the log has it.
    ///
    /// # Errors
    /// If it cannot be registered or written; then it is not.
    pub fn register(
        &mut self,
        log_index: u64,
        signed: SignedStatement,
    ) -> Result<&Registered, FolderError> {
        let path = self.path.join(name(log_index, &signed.digest()));
        let refused = |cause| FolderError::Registry { path: path.clone(), cause };
        self.registry.require(&signed).map_err(refused)?;
        let is_next = self.registry.all().last().is_none_or(|last| last.log_index < log_index);
        let moved = match is_next {
            true => None,
            false => Some(self.registry.with(log_index, &signed).map_err(refused)?),
        };
        fs::create_dir_all(&self.path)
            .and_then(|()| write_durably(&path, &signed.encode()))
            .map_err(|cause| FolderError::File { path: path.clone(), cause })?;
        match moved {
            None => self.registry.register(log_index, signed).map_err(refused),
            Some((registry, place)) => {
                self.registry = registry;
                Ok(&self.registry.all()[place])
            }
        }
    }
}

fn name(log_index: u64, manifest: &Digest) -> String {
    format!("{log_index:012}-{manifest}.contribution")
}

/// The folder's manifests with their places, in order.
fn files(path: &Path) -> Result<Vec<(u64, PathBuf)>, FolderError> {
    let failed = |cause| FolderError::File { path: path.into(), cause };
    let listed = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        listed => listed.map_err(failed)?,
    };
    let mut files = vec![];
    for entry in listed {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index = name.strip_suffix(".contribution").and_then(|name| name.split_once('-'));
        if let Some(index) = index.and_then(|(index, _)| index.parse().ok()) {
            files.push((index, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a file that is there whole or not at all, also after a crash.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}
