//! The files of a model's folder and their digests, in the order in which the official tool has them.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use tally_core::Digest;
use tally_core::contribution::Extent;

use super::name::{joined, parse_path};
use super::{DEPTH_MAX, IGNORED_MAX, ModelSigningError, RESOURCES_MAX, ResourceName, SignedModel};

const BUFFER_BYTES: usize = 1 << 17;
/// What the official tool leaves out unless told otherwise.
const GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];
/// Where the official tool writes a bundle unless told otherwise.
pub const BUNDLE_NAME: &str = "model.sig";

/// Which files of a folder are meant, and how they are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    ignored: Vec<Vec<String>>,
    shard_bytes: Option<u64>,
    allows_links: bool,
}

impl Default for Selection {
    /// Every file as a whole, without what belongs to git, and no symbolic links.
    fn default() -> Self {
        let ignored = GIT.map(|name| vec![name.to_owned()]).to_vec();
        Self { ignored, shard_bytes: None, allows_links: false }
    }
}

impl Selection {
    pub(super) fn new<'a>(
        ignored: impl IntoIterator<Item = &'a str>,
        allows_links: bool,
    ) -> Result<Self, ModelSigningError> {
        let all = Self { ignored: Vec::new(), shard_bytes: None, allows_links };
        all.ignoring(ignored)
    }

    /// The same without these files and folders, by their paths below the model's folder.
    ///
    /// # Errors
    /// If a path is not relative or leaves the folder, or there are more than [`IGNORED_MAX`].
    pub fn ignoring<'a>(
        mut self,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ModelSigningError> {
        for path in paths {
            let parts = parse_path(path)?;
            if parts.is_empty() {
                return Err(ModelSigningError::Name { name: path.into() });
            }
            self.ignored.push(parts);
        }
        self.ignored.sort();
        self.ignored.dedup();
        match self.ignored.len() {
            found if found > IGNORED_MAX => Err(ModelSigningError::Ignored { found }),
            _ => Ok(self),
        }
    }

    /// The same with files hashed in parts of this size.
    ///
    /// Empty files have no part, so they are not covered.
    ///
    /// # Errors
    /// If the size is 0 or more than 2³² − 1.
    pub fn in_shards(self, size_bytes: u64) -> Result<Self, ModelSigningError> {
        match size_bytes {
            1..=0xffff_ffff => Ok(Self { shard_bytes: Some(size_bytes), ..self }),
            found => Err(ModelSigningError::ShardSize { found: found.to_string() }),
        }
    }

    /// The same with symbolic links to files read as those files.
    #[must_use]
    pub fn following_links(self) -> Self {
        Self { allows_links: true, ..self }
    }

    /// The size of shards, where files are hashed in shards.
    #[must_use]
    pub const fn shard_bytes(&self) -> Option<u64> {
        self.shard_bytes
    }

    /// Whether symbolic links to files are read as those files.
    #[must_use]
    pub const fn allows_links(&self) -> bool {
        self.allows_links
    }

    /// The paths that are ignored, with all below them, in order.
    pub fn ignored(&self) -> impl Iterator<Item = String> {
        self.ignored.iter().map(|path| joined(path))
    }

    fn ignores(&self, path: &[String]) -> bool {
        self.ignored.iter().any(|ignored| path.starts_with(ignored))
    }
}

/// The files of a folder, or one file, as a whole each: what an adapter consists of.
///
/// `spec/attribution.md`, Subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// SHA-256 of every file.
    digests: Resources,
    size_bytes: u64,
}

impl Files {
    /// Reads every file below a folder but what belongs to git and a bundle [`BUNDLE_NAME`]
    /// beside them.
    ///
    /// # Errors
    /// If something cannot be read, is a link or neither file nor folder, or there are more than
    /// [`RESOURCES_MAX`] files or none.
    pub fn read(path: &Path) -> Result<Self, ModelSigningError> {
        let selection = Selection::default().ignoring([BUNDLE_NAME])?;
        let mut size_bytes = 0;
        let digests = measured(path, &selection, &mut size_bytes)?;
        match digests.is_empty() {
            true => Err(ModelSigningError::NoFiles { path: path.into() }),
            false => Ok(Self { digests, size_bytes }),
        }
    }

    /// SHA-256 of the files' digests in their order, which a bundle over them has as its subject.
    #[must_use]
    pub fn root(&self) -> Digest {
        root(self.digests.values())
    }

    /// How much it is.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let count = u32::try_from(self.digests.len()).unwrap_or(u32::MAX);
        Extent { count, size_bytes: self.size_bytes }
    }

    /// The first file with these bytes.
    #[must_use]
    pub fn named(&self, digest: &Digest) -> Option<&ResourceName> {
        self.digests.iter().find(|(_, found)| *found == digest).map(|(name, _)| name)
    }
}

impl SignedModel {
    /// Demands that every one of these files is signed.
    ///
    /// # Errors
    /// If a file is not signed, or signed with another digest.
    pub fn cover(&self, files: &Files) -> Result<(), ModelSigningError> {
        files.digests.iter().try_for_each(|(name, found)| self.cover_one(name, found))
    }

    /// Demands that a file with this digest is signed.
    ///
    /// Where files were hashed in shards, only that they were is looked at: [`Self::compare`] compares them.
    ///
    /// # Errors
    /// If the file is not signed, or signed with another digest.
    pub fn cover_one(&self, name: &ResourceName, found: &Digest) -> Result<(), ModelSigningError> {
        // A whole file stands before its shards, and either before all of the next path.
        match self.resources.range(name.clone()..).next() {
            Some((it, signed)) if it == name && signed != found => {
                let (name, signed) = (name.clone(), *signed);
                Err(ModelSigningError::Changed { name, signed, found: *found })
            }
            Some((it, _)) if it.is_of(name) => Ok(()),
            _ => Err(ModelSigningError::NotSigned { name: name.clone() }),
        }
    }

    /// Compares a folder, or a file where the model is one, with what was signed.
    ///
    /// What the signer ignored is ignored, and besides the paths `also_ignored`, such as that of the bundle.
    ///
    /// # Errors
    /// If a file was added, is missing or differs; if something cannot be read, is a link that is not allowed
    /// or neither file nor folder.
    pub fn compare(&self, model: &Path, also_ignored: &[&str]) -> Result<(), ModelSigningError> {
        let selection = self.selection.clone().ignoring(also_ignored.iter().copied())?;
        let mut found = resources(model, &selection)?;
        for (name, signed) in &self.resources {
            match found.remove(name) {
                None => return Err(ModelSigningError::Missing { name: name.clone() }),
                Some(digest) if digest != *signed => {
                    let (name, signed) = (name.clone(), *signed);
                    return Err(ModelSigningError::Changed { name, signed, found: digest });
                }
                Some(_) => {}
            }
        }
        match found.pop_first() {
            Some((name, _)) => Err(ModelSigningError::NotSigned { name }),
            None => Ok(()),
        }
    }
}

/// SHA-256 of the digests in order, which is a bundle's subject.
pub(super) fn root<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let mut hasher = Sha256::new();
    for digest in digests {
        hasher.update(digest.as_bytes());
    }
    Digest::from_bytes(hasher.finalize().into())
}

pub(super) type Resources = BTreeMap<ResourceName, Digest>;

/// Every file below `model` that is selected, or every part of it, with its digest.
pub(super) fn resources(
    model: &Path,
    selection: &Selection,
) -> Result<Resources, ModelSigningError> {
    measured(model, selection, &mut 0)
}

/// As [`resources`]; adds how many bytes were read.
fn measured(
    model: &Path,
    selection: &Selection,
    size_bytes: &mut u64,
) -> Result<Resources, ModelSigningError> {
    let mut found = Resources::new();
    let mut open = vec![(Vec::new(), model.to_owned())];
    while let Some((name, path)) = open.pop() {
        if selection.ignores(&name) {
            continue;
        }
        let metadata = metadata(&name, &path, selection)?;
        if metadata.is_dir() {
            open.extend(entries(&name, &path)?);
            if open.len() > RESOURCES_MAX {
                return Err(ModelSigningError::Resources);
            }
        } else if metadata.is_file() {
            let read = hash(&name, &path, selection, &mut found)?;
            *size_bytes = size_bytes.saturating_add(read);
        } else {
            return Err(ModelSigningError::Special { name: joined(&name) });
        }
    }
    Ok(found)
}

/// What is at `path`, or where it leads if it is a link that is allowed.
fn metadata(
    name: &[String],
    path: &Path,
    selection: &Selection,
) -> Result<Metadata, ModelSigningError> {
    let io = |error| ModelSigningError::Io { path: path.to_owned(), error };
    let metadata = fs::symlink_metadata(path).map_err(io)?;
    if !metadata.is_symlink() {
        return Ok(metadata);
    }
    if !selection.allows_links {
        return Err(ModelSigningError::Link { name: joined(name) });
    }
    let target = fs::metadata(path).map_err(io)?;
    // The model itself may be reached by a link; a folder within it would be passed over unseen.
    match target.is_dir() && !name.is_empty() {
        true => Err(ModelSigningError::LinkToFolder { name: joined(name) }),
        false => Ok(target),
    }
}

type Entry = (Vec<String>, PathBuf);

fn entries(name: &[String], path: &Path) -> Result<Vec<Entry>, ModelSigningError> {
    let io = |error| ModelSigningError::Io { path: path.to_owned(), error };
    if name.len() >= DEPTH_MAX {
        return Err(ModelSigningError::Depth { name: joined(name) });
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let part = path.file_name().and_then(|part| part.to_str());
        let Some(part) = part else {
            return Err(ModelSigningError::NotUtf8 { path });
        };
        // Folders count too, so that what is kept open has an end.
        if found.len() == RESOURCES_MAX {
            return Err(ModelSigningError::Resources);
        }
        found.push(([name, &[part.to_owned()]].concat(), path));
    }
    Ok(found)
}

/// Adds a file's digests to what was found, and says how many bytes it has.
fn hash(
    name: &[String],
    path: &Path,
    selection: &Selection,
    found: &mut Resources,
) -> Result<u64, ModelSigningError> {
    let io = |error| ModelSigningError::Io { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(io)?;
    let mut add = |range, digest| {
        if found.len() == RESOURCES_MAX {
            return Err(ModelSigningError::Resources);
        }
        found.insert(ResourceName::new(name.to_vec(), range), digest);
        Ok(())
    };
    let Some(shard_bytes) = selection.shard_bytes else {
        let (digest, size) = sha256(&mut file).map_err(io)?;
        return add(None, digest).map(|()| size);
    };
    let mut start = 0_u64;
    loop {
        let (digest, size) = sha256(&mut file.by_ref().take(shard_bytes)).map_err(io)?;
        let end = start.saturating_add(size);
        if size > 0 {
            add(Some((start, end)), digest)?;
        }
        if size < shard_bytes {
            return Ok(end);
        }
        start = end;
    }
}

/// The digest of all that is left to read, and how much it was.
fn sha256(source: &mut impl Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((Digest::from_bytes(hasher.finalize().into()), size)),
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
