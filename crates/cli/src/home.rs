//! The home folder: where this node keeps keys, log, models, receipts and its policy.
//!
//! Made on first use with mode 0700; nothing in it is ever overwritten by opening it.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tally_core::ed25519::SigningKey;
use tally_issuer::{KeyPurpose, NodeKeys, create_key, load_key};
use zeroize::Zeroizing;

/// Paths in a home folder that exists.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Opens the folder, which must be there: reading a home never makes one.
    pub(crate) fn existing(root: &Path) -> Result<Self> {
        ensure!(
            root.is_dir(),
            "there is no home at {}\n\nhint: `tally ask` makes one; `--home DIR` names another",
            root.display()
        );
        Ok(Self { root: root.into() })
    }

    /// Opens the folder, making it if it is not there.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let home = Self { root: root.into() };
        for folder in [home.root.clone(), home.keys(), home.models(), home.receipts()] {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(home)
    }

    /// Loads the keys; makes all three if this home is new.
    ///
    /// In a home that has been used a missing key is an error: a new one would sign receipts that
    /// the home's own policy does not trust, for a log that another key began.
    pub(crate) fn load_or_create_keys(&self) -> Result<NodeKeys> {
        let path_of = |purpose: KeyPurpose| self.keys().join(format!("{}.key", purpose.name()));
        let used = [self.log(), self.cosigner(), self.policy()];
        let keys = KeyPurpose::NODE.map(path_of);
        let is_used = used.iter().chain(&keys).any(|path| path.exists());
        let key = |purpose: KeyPurpose| -> Result<SigningKey> {
            let path = path_of(purpose);
            if is_used {
                return load_key(&path, purpose).context(
                    "a key of this home cannot be used; restore it from a copy, or begin a new home",
                );
            }
            let mut seed = Zeroizing::new([0; 32]);
            random(&mut *seed)?;
            Ok(create_key(&path, purpose, &seed)?)
        };
        Ok(NodeKeys {
            receipt: key(KeyPurpose::Receipt)?,
            log: key(KeyPurpose::Log)?,
            cosigner: key(KeyPurpose::Cosigner)?,
        })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn cosigner(&self) -> PathBuf {
        self.root.join("cosigner")
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    pub(crate) fn receipts(&self) -> PathBuf {
        self.root.join("receipts")
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.root.join("policy.toml")
    }

    /// The contributions that this home has registered.
    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// The indices over registered texts.
    pub(crate) fn indices(&self) -> PathBuf {
        self.root.join("indices")
    }

    /// The passages that questions are answered from.
    pub(crate) fn rag(&self) -> PathBuf {
        self.root.join("rag")
    }

    /// What answers cost and how that is divided.
    pub(crate) fn split_policy(&self) -> PathBuf {
        self.root.join("split.toml")
    }

    /// The ledger's book.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.root.join("ledger.redb")
    }

    /// Why receipts were taken back, by digest.
    pub(crate) fn reasons(&self) -> PathBuf {
        self.root.join("reasons")
    }

    /// The signed feedback that this node keeps.
    pub(crate) fn feedback(&self) -> PathBuf {
        self.root.join("feedback")
    }

    /// The key of whoever contributes from this home; made on first use.
    pub(crate) fn load_or_create_contributor(&self) -> Result<SigningKey> {
        self.load_or_create(KeyPurpose::Contributor)
    }

    /// The key for ratings that raters do not sign themselves; made on first use.
    pub(crate) fn load_or_create_feedback(&self) -> Result<SigningKey> {
        self.load_or_create(KeyPurpose::Feedback)
    }

    fn load_or_create(&self, purpose: KeyPurpose) -> Result<SigningKey> {
        let path = self.keys().join(format!("{}.key", purpose.name()));
        if path.exists() {
            return Ok(load_key(&path, purpose)?);
        }
        let mut seed = Zeroizing::new([0; 32]);
        random(&mut *seed)?;
        Ok(create_key(&path, purpose, &seed)?)
    }

    /// The node's API keys, by their hashes.
    pub(crate) fn access(&self) -> PathBuf {
        self.root.join("access.toml")
    }

    /// The statements that the node has signed for others.
    pub(crate) fn statements(&self) -> PathBuf {
        self.root.join("statements")
    }

    fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
}

/// Fills `bytes` with randomness from the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).context("the operating system gives no randomness")
}
