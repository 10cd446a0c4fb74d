//! A signing key with the name under which its signatures stand in notes.

use tally_core::{
    ed25519::SigningKey,
    note::{KeyName, SignatureType, VerifierKey},
};

/// A name and the key that signs under it. A log's name is also its origin.
#[derive(Clone, Debug)]
pub struct NamedKey {
    /// The name in signature lines.
    pub name: KeyName,
    /// The secret key.
    pub key: SigningKey,
}

impl NamedKey {
    /// Puts name and key together.
    #[must_use]
    pub const fn new(name: KeyName, key: SigningKey) -> Self {
        Self { name, key }
    }

    /// What others need to verify the log's signatures (type `0x01`).
    #[must_use]
    pub fn log_verifier(&self) -> VerifierKey {
        self.verifier(SignatureType::Ed25519)
    }

    /// What others need to verify the cosigner's cosignatures (type `0x04`).
    #[must_use]
    pub fn cosigner_verifier(&self) -> VerifierKey {
        self.verifier(SignatureType::CosignatureV1)
    }

    fn verifier(&self, kind: SignatureType) -> VerifierKey {
        VerifierKey::new(self.name.clone(), kind, self.key.public_key())
    }
}
