//! Some 100 MB of manual pages and documentation, as Debian packages them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::repo::run;

/// Packages in the order in which their texts are taken: manual pages first.
const PACKAGES: &[&str] = &[
    "manpages",
    "manpages-dev",
    "git-man",
    "libssl-doc",
    "perl-doc",
    "tcl8.6-doc",
    "tk8.6-doc",
    "glibc-doc",
    "linux-doc-6.1",
];
/// Files that are no prose for people.
const LEFT_OUT: &[&str] =
    &["html", "svg", "png", "js", "css", "yaml", "json", "inv", "pdf", "c", "dot"];
/// One document in so many is not registered, for texts that are new.
const HELD_OUT: usize = 50;

/// Documents by collection, and some that are not registered.
pub(super) struct Texts {
    /// A collection's name, and its documents by name.
    pub(super) collections: Vec<(String, Vec<(String, String)>)>,
    held_out: Vec<String>,
    /// Bytes of all registered documents, with one more for each.
    pub(super) bytes: usize,
}

impl Texts {
    /// Takes the files of `folder` by collection and path until there are so many bytes; each folder
    /// in it is a collection, as is the folder itself.
    pub(super) fn read(folder: &Path, bytes_max: usize) -> Result<Self> {
        let mut texts = Self { collections: vec![], held_out: vec![], bytes: 0 };
        let mut seen = 0_usize;
        for collection in collections_of(folder)? {
            let name = collection.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut documents = vec![];
            for path in files_of(&collection)? {
                let extension = path.extension().unwrap_or_default().to_string_lossy();
                let Ok(text) = String::from_utf8(fs::read(&path)?) else { continue };
                if LEFT_OUT.contains(&extension.as_ref()) || text.is_empty() {
                    continue;
                }
                seen += 1;
                if seen.is_multiple_of(HELD_OUT) {
                    texts.held_out.push(text);
                } else if texts.bytes + text.len() < bytes_max {
                    texts.bytes += text.len() + 1;
                    documents.push((path.display().to_string(), text));
                }
            }
            if !documents.is_empty() {
                texts.collections.push((name, documents));
            }
        }
        ensure!(texts.bytes > 0 && !texts.held_out.is_empty(), "{} has no texts", folder.display());
        Ok(texts)
    }

    /// All registered texts in their order.
    pub(super) fn registered(&self) -> Vec<&str> {
        let documents = self.collections.iter().flat_map(|(_, documents)| documents);
        documents.map(|(_, text)| text.as_str()).collect()
    }

    /// Texts that are not registered.
    pub(super) fn held_out(&self) -> Vec<&str> {
        self.held_out.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.collections.iter().map(|(_, documents)| documents.len()).sum();
        write!(f, "{} bytes in {count} documents of", self.bytes)?;
        for (name, documents) in &self.collections {
            let bytes: usize = documents.iter().map(|(_, text)| text.len() + 1).sum();
            write!(f, " {name} ({bytes})")?;
        }
        write!(f, "; {} documents held out", self.held_out.len())
    }
}

/// Downloads and unpacks the packages, each into a folder of its own, unless they are there.
pub(super) fn download(folder: &Path) -> Result<PathBuf> {
    for package in PACKAGES {
        let unpacked = folder.join(package);
        if unpacked.exists() {
            continue;
        }
        let partial = folder.join(format!("{package}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        run(Command::new("apt-get")
            .args(["download", "--quiet=2", package])
            .current_dir(&partial))?;
        let archive = files_of(&partial)?.pop().context("nothing was downloaded")?;
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&partial))?;
        fs::remove_file(archive)?;
        for path in files_of(&partial)? {
            if path.extension().is_some_and(|extension| extension == "gz") {
                run(Command::new("gzip").args(["--decompress", "--quiet", "--force"]).arg(&path))?;
            }
        }
        fs::rename(partial, unpacked)?;
    }
    Ok(folder.to_owned())
}

/// The folders of a folder in the order of the packages, further ones by name, then itself if it has
/// files.
fn collections_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let place = PACKAGES.iter().position(|package| *package == name);
            found.insert((place.unwrap_or(PACKAGES.len()), name), path);
        }
    }
    match found.is_empty() {
        true => Ok(vec![folder.to_owned()]),
        false => Ok(found.into_values().collect()),
    }
}

/// All files below a folder by path; links are left out.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}
