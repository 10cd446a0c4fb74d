//! P-256 keys in PEM, as the official tool reads and names them.

use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{self, DerSignature};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _, LineEnding};

use tally_core::Digest;

use super::{KEY_BYTES_MAX, ModelSigningError};

const BEGIN: &str = "-----BEGIN ";
const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

/// A P-256 public key with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    key: ecdsa::VerifyingKey,
    id: Digest,
}

/// A P-256 private key.
pub struct SigningKey {
    key: ecdsa::SigningKey,
    public: VerifyingKey,
}

impl VerifyingKey {
    /// Reads a public key in PEM (`PUBLIC KEY`, RFC 5280's SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// If the text is too long, holds something else, or the key is none of P-256.
    pub fn from_pem(pem: &str) -> Result<Self, ModelSigningError> {
        let pem = block(pem, PUBLIC)?;
        let key = ecdsa::VerifyingKey::from_public_key_pem(pem);
        Self::new(key.map_err(ModelSigningError::PublicKey)?)
    }

    fn new(key: ecdsa::VerifyingKey) -> Result<Self, ModelSigningError> {
        let pem = key.to_public_key_pem(LineEnding::LF).map_err(ModelSigningError::PublicKey)?;
        Ok(Self { key, id: Digest::of_content(pem.as_bytes()) })
    }

    /// SHA-256 of the key in PEM, which bundles carry as a hint.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// Verifies an ECDSA signature in DER over SHA-256 of the message; both forms of S are accepted.
    pub(super) fn verify(&self, message: &[u8], der: &[u8]) -> Result<(), ModelSigningError> {
        let signature = DerSignature::try_from(der)
            .map_err(|_| ModelSigningError::SignatureForm { found: der.len() })?;
        let verified = self.key.verify(message, &signature);
        verified.map_err(|_| ModelSigningError::Signature { key_id: self.id })
    }
}

impl SigningKey {
    /// Reads a private key in PEM (`PRIVATE KEY`, PKCS #8 without a password).
    ///
    /// # Errors
    /// If the text is too long, holds something else, or the key is none of P-256.
    pub fn from_pem(pem: &str) -> Result<Self, ModelSigningError> {
        let pem = block(pem, PRIVATE)?;
        let key = ecdsa::SigningKey::from_pkcs8_pem(pem);
        let key = key.map_err(ModelSigningError::PrivateKey)?;
        let public = VerifyingKey::new(*key.verifying_key())?;
        Ok(Self { key, public })
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// The one ECDSA signature of RFC 6979 in DER over SHA-256 of the message.
    pub(super) fn sign(&self, message: &[u8]) -> DerSignature {
        self.key.sign(message)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The text from its first block on, if that has the expected label.
fn block<'a>(pem: &'a str, expected: &'static str) -> Result<&'a str, ModelSigningError> {
    if pem.len() > KEY_BYTES_MAX {
        return Err(ModelSigningError::KeyBytes { found: pem.len() });
    }
    let label = |text: &'a str| text.strip_prefix(BEGIN)?.split_once("-----").map(|(name, _)| name);
    let pem = pem.find(BEGIN).and_then(|at| pem.get(at..)).unwrap_or_default();
    match label(pem) {
        Some(found) if found == expected => Ok(pem),
        found => Err(ModelSigningError::Pem { expected, found: found.unwrap_or_default().into() }),
    }
}
