//! Receipt files: written whole or not at all, readable by their owner alone.
//!
//! A receipt's openings hold the conversation, and a lost receipt cannot be made again. So a file
//! is prepared before anything is computed, and takes its name only when all of it is on the disk.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tally_core::{cbor::Cbor as _, receipt::Bundle};

/// A receipt file that does not have its name yet.
pub(crate) struct ReceiptFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_written: bool,
}

impl ReceiptFile {
    /// Makes an empty file beside the one to be; whatever stands at `path` stays as it is.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        let failed = || format!("cannot write receipt file {}", path.display());
        anyhow::ensure!(!path.is_dir(), "{}: it is a folder", failed());
        let name = path.file_name().with_context(failed)?.to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&temporary).with_context(failed)?;
        Ok(Self { file, temporary, path: path.into(), is_written: false })
    }

    /// Makes an empty file where nothing stands: what is there, a device or link too, is left alone.
    pub(crate) fn prepare_new(path: &Path) -> Result<Self> {
        require_absent(path)?;
        Self::prepare(path)
    }

    /// Writes the receipt, durably, and gives it its name.
    pub(crate) fn write(mut self, bundle: &Bundle) -> Result<PathBuf> {
        let failed = || format!("cannot write receipt file {}", self.path.display());
        self.file.write_all(&bundle.encode()).with_context(failed)?;
        self.file.sync_all().with_context(failed)?;
        fs::rename(&self.temporary, &self.path).with_context(failed)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .with_context(failed)?;
        self.is_written = true;
        Ok(self.path.clone())
    }
}

/// That nothing stands at a path, not even a link that leads nowhere.
pub(crate) fn require_absent(path: &Path) -> Result<()> {
    anyhow::ensure!(
        fs::symlink_metadata(path).is_err(),
        "{} is there already\n\nhint: name another file",
        path.display()
    );
    Ok(())
}

impl Drop for ReceiptFile {
    fn drop(&mut self) {
        if !self.is_written {
            // What cannot be removed is an empty hidden file.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_unwritten_receipt_file_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.receipt");
        fs::write(&path, "before").unwrap();
        drop(ReceiptFile::prepare(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_prepared_file_is_for_its_owner_alone_and_a_bad_place_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let prepared = ReceiptFile::prepare(&folder.path().join("a.receipt")).unwrap();
        let mode = fs::metadata(&prepared.temporary).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(ReceiptFile::prepare(folder.path()).is_err());
        assert!(ReceiptFile::prepare(Path::new("/no/such/folder/x")).is_err());
    }
}
