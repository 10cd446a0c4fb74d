//! Salted commitments to values, and the salted chain over output tokens.
//!
//! A published hash of a guessable value confirms a guess; a salted one does not. All salts of a
//! receipt come from one secret that the client receives, so that the client can open any field
//! by itself, and one opened field tells nothing of another.

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::computation::TokenId;
use crate::{Digest, tag};

/// The fields of a receipt that are committed to and not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The raw request body, exactly as received.
    Request,
    /// The response bytes: what the client gets without what speaks of the receipt.
    Response,
    /// The effective input: token ids as a CBOR array; of an embedding an array of such arrays.
    Input,
    /// The 32-byte sampling seed.
    Seed,
    /// The output: token ids as a CBOR array, committed to by the chain; of an embedding an array
    /// of vectors, committed to as the other fields are.
    Output,
    /// Stop strings, biases and grammar, as their deterministic CBOR.
    Controls,
    /// Who is behind the answer and where its price goes, as its deterministic CBOR.
    Attribution,
}

impl Field {
    /// All fields in order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::Response,
        Self::Input,
        Self::Seed,
        Self::Output,
        Self::Controls,
        Self::Attribution,
    ];

    /// The field's number in openings and in salt derivation.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Input => 3,
            Self::Seed => 4,
            Self::Output => 5,
            Self::Controls => 6,
            Self::Attribution => 7,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Input => "input",
            Self::Seed => "seed",
            Self::Output => "output",
            Self::Controls => "controls",
            Self::Attribution => "attribution",
        })
    }
}

/// The secret of one receipt, from which all its salts are derived.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReceiptSecret([u8; 32]);

impl ReceiptSecret {
    /// Takes 32 bytes of randomness.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The salt of one field: SHA-256(tag ‖ secret ‖ field code).
    #[must_use]
    pub fn salt(&self, field: Field) -> Salt {
        Salt(*Digest::of_tagged(tag::SALT, &[&self.0, &[field.code()]]).as_bytes())
    }
}

impl fmt::Debug for ReceiptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSecret(..)")
    }
}

/// The salt of one commitment: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// Takes 32 bytes as a salt.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The salt's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Commits to `value`: SHA-256(tag ‖ salt ‖ value).
    #[must_use]
    pub fn commit(&self, value: &[u8]) -> Digest {
        Digest::of_tagged(tag::COMMITMENT, &[&self.0, value])
    }
}

/// The salted hash chain with one link per output token.
///
/// The first link is SHA-256(tag ‖ salt), each further one SHA-256(tag ‖ link before ‖ token id as
/// four bytes, big-endian). The link after the last token commits to the whole output; the link
/// after any earlier token lets a stream be verified as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputChain {
    link: Digest,
    count: u32,
}

impl OutputChain {
    /// The chain before the first token.
    #[must_use]
    pub fn start(salt: &Salt) -> Self {
        Self { link: Digest::of_tagged(tag::CHAIN_START, &[&salt.0]), count: 0 }
    }

    /// Appends one token.
    pub fn append(&mut self, token: TokenId) {
        self.link =
            Digest::of_tagged(tag::CHAIN_LINK, &[self.link.as_bytes(), &token.to_be_bytes()]);
        self.count = self.count.saturating_add(1);
    }

    /// The chain over all of `tokens`.
    #[must_use]
    pub fn of(salt: &Salt, tokens: &[TokenId]) -> Self {
        let mut chain = Self::start(salt);
        for token in tokens {
            chain.append(*token);
        }
        chain
    }

    /// The newest link.
    #[must_use]
    pub const fn link(&self) -> Digest {
        self.link
    }

    /// How many tokens the chain covers.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }
}

/// Salt and value that reveal one committed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The field's salt.
    pub salt: Salt,
    /// The value; for [`Field::Input`] and [`Field::Output`] a CBOR array of token ids.
    pub value: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn salts_of_fields_differ_and_commitments_bind_salt_and_value() {
        let secret = ReceiptSecret::from_bytes([7; 32]);
        let salts = Field::ALL.map(|field| secret.salt(field));
        for (i, a) in salts.iter().enumerate() {
            assert!(salts.iter().skip(i + 1).all(|b| a != b));
        }
        assert_ne!(salts[0].commit(b"x"), salts[1].commit(b"x"));
        assert_ne!(salts[0].commit(b"x"), salts[0].commit(b"y"));
    }

    #[test]
    fn the_chain_binds_salt_tokens_order_and_count() {
        let salt = Salt::from_bytes([1; 32]);
        let whole = OutputChain::of(&salt, &[5, 6]);
        let mut stepwise = OutputChain::of(&salt, &[5]);
        stepwise.append(6);
        assert_eq!(whole, stepwise);
        assert_eq!(whole.count(), 2);
        for other in [&[6, 5][..], &[5], &[5, 6, 6], &[]] {
            assert_ne!(whole.link(), OutputChain::of(&salt, other).link());
        }
        assert_ne!(whole.link(), OutputChain::of(&Salt::from_bytes([2; 32]), &[5, 6]).link());
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let shown = std::format!("{:?}", ReceiptSecret::from_bytes([0xab; 32]));
        assert_eq!(shown, "ReceiptSecret(..)");
        assert_eq!(Field::Input.to_string(), "input");
    }
}
