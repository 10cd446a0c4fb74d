//! Secret keys on disk: one file each, readable by its owner alone, one purpose each.
//!
//! The file holds one line, `tally-secret-key-1 PURPOSE ` and the 32-byte Ed25519 seed in
//! hexadecimal. A key of one purpose is never loaded for another.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use tally_core::ed25519::SigningKey;
use zeroize::Zeroizing;

use crate::IssuerError;

const FILE_BYTES_MAX: u64 = 256;

/// What a key signs, and all that it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Statements.
    Receipt,
    /// Checkpoints of this node's log.
    Log,
    /// Cosignatures on checkpoints.
    Cosigner,
    /// What its owner contributes.
    Contributor,
    /// Ratings that a node takes from raters who do not sign.
    Feedback,
}

impl KeyPurpose {
    /// The purposes of a node's keys.
    pub const NODE: [Self; 3] = [Self::Receipt, Self::Log, Self::Cosigner];

    /// The purpose's name, which is also the stem of its file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Log => "log",
            Self::Cosigner => "cosigner",
            Self::Contributor => "contributor",
            Self::Feedback => "feedback",
        }
    }

    const fn line_start(self) -> &'static str {
        match self {
            Self::Receipt => "tally-secret-key-1 receipt",
            Self::Log => "tally-secret-key-1 log",
            Self::Cosigner => "tally-secret-key-1 cosigner",
            Self::Contributor => "tally-secret-key-1 contributor",
            Self::Feedback => "tally-secret-key-1 feedback",
        }
    }
}

/// Writes a new key file with mode 0600, durably; an existing file is never overwritten.
///
/// # Errors
/// [`IssuerError::KeyFile`], also if the file exists.
pub fn create_key(
    path: &Path,
    purpose: KeyPurpose,
    seed: &Zeroizing<[u8; 32]>,
) -> Result<SigningKey, IssuerError> {
    let failed = |source| IssuerError::KeyFile { path: path.into(), source };
    let mut line = Zeroizing::new(String::with_capacity(128));
    line.push_str(purpose.line_start());
    line.push(' ');
    for byte in seed.iter() {
        for nibble in [byte >> 4, byte & 15] {
            line.push(char::from_digit(nibble.into(), 16).unwrap_or_default());
        }
    }
    line.push('\n');
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).to_owned();
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    sync_folder_of(path).map_err(failed)?;
    Ok(SigningKey::from_seed(seed))
}

/// Reads a key file of one purpose.
///
/// # Errors
/// If it cannot be read, is not mode 0600 or stricter, or is not a key of this purpose.
pub fn load_key(path: &Path, purpose: KeyPurpose) -> Result<SigningKey, IssuerError> {
    let failed = |source| IssuerError::KeyFile { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if found & 0o077 != 0 {
        return Err(IssuerError::KeyMode { path: path.into(), found });
    }
    let mut line = Zeroizing::new(String::with_capacity(128));
    file.take(FILE_BYTES_MAX).read_to_string(&mut line).map_err(failed)?;
    parse(&line, purpose)
        .ok_or_else(|| IssuerError::KeyForm { path: path.into(), expected: purpose.line_start() })
}

fn parse(line: &str, purpose: KeyPurpose) -> Option<SigningKey> {
    let digits = line.strip_prefix(purpose.line_start())?.strip_prefix(' ')?.strip_suffix('\n')?;
    let mut seed = Zeroizing::new([0_u8; 32]);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != seed.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in seed.iter_mut().zip(pairs) {
        let digit = |character: u8| match character {
            b'0'..=b'9' => Some(character - b'0'),
            b'a'..=b'f' => Some(character - b'a' + 10),
            _ => None,
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(SigningKey::from_seed(&seed))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_comes_back_for_its_purpose_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        let made = create_key(&path, KeyPurpose::Log, &Zeroizing::new([7; 32])).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = load_key(&path, KeyPurpose::Log).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        for other in [KeyPurpose::Receipt, KeyPurpose::Cosigner] {
            assert!(matches!(load_key(&path, other), Err(IssuerError::KeyForm { .. })));
        }
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.key");
        create_key(&path, KeyPurpose::Receipt, &Zeroizing::new([1; 32])).unwrap();
        let again = create_key(&path, KeyPurpose::Receipt, &Zeroizing::new([2; 32]));
        assert!(matches!(again, Err(IssuerError::KeyFile { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.key");
        create_key(&path, KeyPurpose::Receipt, &Zeroizing::new([1; 32])).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = load_key(&path, KeyPurpose::Receipt);
            assert!(matches!(refused, Err(IssuerError::KeyMode { found, .. }) if found == mode));
        }
    }

    #[test]
    fn a_damaged_key_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.key");
        create_key(&path, KeyPurpose::Receipt, &Zeroizing::new([0xab; 32])).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            good.trim_end(),
            &good.replace('a', "A"),
            &good.replacen("ab", "", 1),
            "",
            &good.repeat(2),
        ] {
            fs::write(&path, bad).unwrap();
            let refused = load_key(&path, KeyPurpose::Receipt);
            assert!(matches!(refused, Err(IssuerError::KeyForm { .. })), "{bad}");
        }
    }
}
