//! Ed25519 with one fixed acceptance rule, everywhere.
//!
//! RFC 8032 leaves room for verifiers that disagree about odd keys and signatures. Here a signature
//! is accepted exactly when all of these hold:
//!
//! 1. the key is 32 bytes whose y-coordinate is below p = 2²⁵⁵ − 19 and which decompress to a point
//!    that has not a small order;
//! 2. the scalar S of the signature is below the group order (no second form of a signature);
//! 3. R is not a point of small order;
//! 4. the bytes of R equal the canonical encoding of S·B − H(R ‖ A ‖ M)·A (no cofactor).
//!
//! This is `verify_strict` of ed25519-dalek with the canonical-key rule made explicit. A batch path
//! may be added only if it decides every input alike; the cofactored batch equation does not.
//! `docs/decisions/0010-one-signature-rule.md` says why.

use core::fmt;

use ed25519_dalek::{Signer, VerifyingKey};
use thiserror::Error;

/// Why a key or signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Ed25519Error {
    /// The key has another length.
    #[error("public key has {found} bytes, expected 32")]
    KeyLength {
        /// The length found.
        found: usize,
    },
    /// The key's y-coordinate is p or more, so the same point has a shorter form.
    #[error("public key is not in its canonical encoding")]
    KeyNotCanonical,
    /// The bytes are no point of the curve.
    #[error("public key is not a point of the curve")]
    KeyNotOnCurve,
    /// The point has a small order: it would accept signatures over nearly any message.
    #[error("public key is a point of small order")]
    KeySmallOrder,
    /// The signature has another length.
    #[error("signature has {found} bytes, expected 64")]
    SignatureLength {
        /// The length found.
        found: usize,
    },
    /// The signature is not by this key over this message.
    #[error("signature does not verify under the key")]
    Mismatch,
}

/// A public key that satisfies the first part of the acceptance rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Size of an encoded key in bytes.
    pub const SIZE_BYTES: usize = 32;

    /// Takes the RFC 8032 encoding of a key.
    ///
    /// # Errors
    /// If the encoding is not canonical, is no point, or is a point of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Ed25519Error> {
        if !y_is_below_p(bytes) {
            return Err(Ed25519Error::KeyNotCanonical);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| Ed25519Error::KeyNotOnCurve)?;
        if key.is_weak() {
            return Err(Ed25519Error::KeySmallOrder);
        }
        Ok(Self(key))
    }

    /// Takes a slice that must hold the 32 bytes of a key.
    ///
    /// # Errors
    /// As [`PublicKey::from_bytes`], and if the length differs.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Ed25519Error> {
        let bytes = bytes.try_into().map_err(|_| Ed25519Error::KeyLength { found: bytes.len() })?;
        Self::from_bytes(bytes)
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Whether the little-endian y, without the sign bit, is below 2²⁵⁵ − 19.
fn y_is_below_p(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    *last & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *first < 0xed
}

/// A signature: 64 bytes, R ‖ S, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Size of a signature in bytes.
    pub const SIZE_BYTES: usize = 64;

    /// Takes 64 bytes as a signature.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Takes a slice that must hold 64 bytes.
    ///
    /// # Errors
    /// If the length differs.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Ed25519Error> {
        bytes.try_into().map(Self).map_err(|_| Ed25519Error::SignatureLength { found: bytes.len() })
    }

    /// The signature's 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Verifies `signature` by `key` over `message` under the module's acceptance rule.
///
/// # Errors
/// [`Ed25519Error::Mismatch`] for whatever the rule does not accept.
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), Ed25519Error> {
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    key.0.verify_strict(message, &signature).map_err(|_| Ed25519Error::Mismatch)
}

/// A signing key; its secret is wiped when it is dropped and is never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes the key from the 32-byte seed of RFC 8032; the caller wipes its own copy.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message` (RFC 8032, deterministic).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public_key())
    }
}

#[cfg(test)]
#[expect(clippy::integer_division, reason = "a test counts bits and bytes")]
mod tests {
    use std::format;

    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        let mut out = [0; N];
        hex::decode_to_slice(text, &mut out).unwrap();
        out
    }

    #[test]
    fn the_vectors_of_rfc_8032_hold() {
        // RFC 8032 §7.1, tests 1 and 3.
        let cases = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (seed, public, message, signature) in cases {
            let key = SigningKey::from_seed(&bytes(seed));
            let message = hex::decode(message).unwrap();
            assert_eq!(key.public_key().as_bytes(), &bytes(public));
            assert_eq!(key.sign(&message).as_bytes(), &bytes(signature));
            verify(&key.public_key(), &message, &key.sign(&message)).unwrap();
            assert_eq!(format!("{:?}", key.public_key()), format!("PublicKey({public})"));
            assert_eq!(format!("{key:?}"), format!("SigningKey(PublicKey({public}))"));
            assert_eq!(format!("{:?}", key.sign(&message)), format!("Signature({signature})"));
        }
    }

    #[test]
    fn a_key_just_below_p_in_its_outer_bytes_alone_is_accepted() {
        // Highest byte all ones and lowest at least that of p: only the middle tells it from p.
        let found = (0_u32..).map(|seed| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&seed.to_be_bytes());
            *SigningKey::from_seed(&bytes).public_key().as_bytes()
        });
        let mut found = found.filter(|key| key[31] & 0x7f == 0x7f && key[0] >= 0xed);
        assert!(PublicKey::from_bytes(&found.next().unwrap()).is_ok());
    }

    #[test]
    fn every_flipped_bit_of_signature_key_and_message_is_refused() {
        let key = SigningKey::from_seed(&[7; 32]);
        let public = key.public_key();
        let signature = key.sign(b"tally");
        for bit in 0..512 {
            let mut bad = *signature.as_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                verify(&public, b"tally", &Signature::from_bytes(bad)),
                Err(Ed25519Error::Mismatch)
            );
        }
        for bit in 0..256 {
            let mut bad = *public.as_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(bad) = PublicKey::from_bytes(&bad) {
                assert!(verify(&bad, b"tally", &signature).is_err());
            }
        }
        assert!(verify(&public, b"tallz", &signature).is_err());
        assert!(verify(&public, b"tally\0", &signature).is_err());
    }

    #[test]
    fn a_scalar_of_the_group_order_or_more_is_refused() {
        // L, little endian; S + L is the malleable second form of a signature.
        let order: [u8; 32] =
            bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let key = SigningKey::from_seed(&[9; 32]);
        let mut second = *key.sign(b"x").as_bytes();
        let mut carry = 0_u16;
        for (byte, add) in second[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert_eq!(carry, 0);
        assert!(verify(&key.public_key(), b"x", &Signature::from_bytes(second)).is_err());
    }

    #[test]
    fn keys_of_small_order_or_with_a_second_encoding_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(Ed25519Error::KeySmallOrder));
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(Ed25519Error::KeySmallOrder));
        let order_8 = bytes("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
        assert_eq!(PublicKey::from_bytes(&order_8), Err(Ed25519Error::KeySmallOrder));
        // y = p + k for every k that fits: the point y = k in a longer form.
        for k in 0..=18_u8 {
            let mut y = [0xff; 32];
            y[0] = 0xed + k;
            for top in [0x7f, 0xff] {
                y[31] = top;
                assert_eq!(PublicKey::from_bytes(&y), Err(Ed25519Error::KeyNotCanonical));
            }
        }
        // y = p - 1 is canonical, and of order 2.
        let mut y = [0xff; 32];
        (y[0], y[31]) = (0xec, 0x7f);
        assert_eq!(PublicKey::from_bytes(&y), Err(Ed25519Error::KeySmallOrder));
        // y = 2 is on no point.
        let mut y = [0; 32];
        y[0] = 2;
        assert_eq!(PublicKey::from_bytes(&y), Err(Ed25519Error::KeyNotOnCurve));
    }

    #[test]
    fn a_signature_whose_r_has_small_order_is_refused() {
        // R = identity and S = 0 satisfy the equation for a key of small order alone, and R of
        // small order with an honest key is refused whatever S is.
        let mut forged = [0; 64];
        forged[0] = 1;
        let key = SigningKey::from_seed(&[1; 32]).public_key();
        assert!(verify(&key, b"", &Signature::from_bytes(forged)).is_err());
    }

    #[test]
    fn wrong_lengths_are_named() {
        assert_eq!(PublicKey::from_slice(&[0; 31]), Err(Ed25519Error::KeyLength { found: 31 }));
        assert_eq!(
            Signature::from_slice(&[0; 65]),
            Err(Ed25519Error::SignatureLength { found: 65 })
        );
    }

    #[test]
    fn a_signing_key_does_not_print_its_secret() {
        let seed = [0xab; 32];
        let text = format!("{:?}", SigningKey::from_seed(&seed));
        assert!(!text.contains("abab"));
        assert!(text.starts_with("SigningKey(PublicKey("));
    }
}
