//! To whom an amount is owed, and the names of the transfers that say so.
//!
//! Amounts are whole billionths of an asset's unit. What an account's balance is, only a book knows.

use core::fmt;

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::{Digest, tag};

/// Who can be owed something; accounts are ordered as they stand here, contributors by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// What belongs to nobody in particular: residuals and the owners of nothing.
    Commons,
    /// The pool from which feedback is paid.
    Feedback,
    /// A contributor, by the 32 bytes of its Ed25519 public key.
    Contributor([u8; 32]),
}

impl Cbor for Account {
    fn encode_into(&self, encoder: &mut Encoder) {
        match self {
            Self::Commons => encoder.uint(0),
            Self::Feedback => encoder.uint(1),
            Self::Contributor(key) => encoder.bytes(key),
        };
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        // A copy is a bookmark: what is no number must be a key.
        let mut ahead = decoder.clone();
        let Ok(number) = ahead.uint() else {
            return decoder.array_of("contributor's key").map(Self::Contributor);
        };
        *decoder = ahead;
        match number {
            0 => Ok(Self::Commons),
            1 => Ok(Self::Feedback),
            found => Err(CborError::Value {
                what: "account",
                found: i64::try_from(found).unwrap_or(i64::MAX),
            }),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commons => f.write_str("commons"),
            Self::Feedback => f.write_str("feedback"),
            Self::Contributor(key) => key.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// The name of one transfer: 128 bits that no other transfer has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId([u8; 16]);

impl TransferId {
    /// Takes 16 bytes as a name.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The name of a receipt's transfer number `ordinal`: the first 16 bytes of
    /// SHA-256(`TRANSFER` ‖ receipt id ‖ ordinal as four bytes, big-endian).
    #[must_use]
    pub fn derive(receipt_id: &[u8; 16], ordinal: u32) -> Self {
        Self::first_half(&Digest::of_tagged(tag::TRANSFER, &[receipt_id, &ordinal.to_be_bytes()]))
    }

    /// The first 16 bytes of a digest.
    #[must_use]
    pub fn first_half(digest: &Digest) -> Self {
        let (half, _) = digest.as_bytes().split_at(16);
        Self(half.try_into().unwrap_or_default())
    }

    /// The name's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({self})")
    }
}

/// Encodes an amount: a byte string of 16, big-endian, since 128 bits have no integer form here.
pub fn encode_amount(encoder: &mut Encoder, amount: u128) {
    encoder.bytes(&amount.to_be_bytes());
}

/// Reads what [`encode_amount`] writes.
///
/// # Errors
/// Anything but a byte string of 16.
pub fn decode_amount(decoder: &mut Decoder<'_>, what: &'static str) -> Result<u128, CborError> {
    decoder.array_of(what).map(u128::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const ACCOUNTS: [Account; 4] = [
        Account::Commons,
        Account::Feedback,
        Account::Contributor([0; 32]),
        Account::Contributor([0xab; 32]),
    ];

    #[test]
    fn an_account_has_one_encoding_and_neighbours_have_none() {
        for account in ACCOUNTS {
            assert_eq!(Account::parse(&account.encode()), Ok(account));
        }
        assert_eq!(Account::Commons.encode(), [0]);
        assert_eq!(Account::Feedback.encode(), [1]);
        let mut key = std::vec![0x58, 32];
        key.extend([0xab; 32]);
        assert_eq!(Account::Contributor([0xab; 32]).encode(), key);
        for bad in [&[2][..], &[0x18, 0], &[0x20], &[0x40], &[], &[0, 0], &key[..33], &[0xf6]] {
            assert!(Account::parse(bad).is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn accounts_are_in_order_and_are_written_as_what_they_are() {
        assert!(ACCOUNTS.is_sorted());
        assert_eq!(Account::Commons.to_string(), "commons");
        assert_eq!(Account::Feedback.to_string(), "feedback");
        assert_eq!(ACCOUNTS[3].to_string(), "ab".repeat(32));
    }

    #[test]
    fn a_transfer_is_named_by_receipt_and_ordinal() {
        let id = TransferId::derive(&[7; 16], 1);
        let mut bytes = b"tally/transfer/v1\0".to_vec();
        bytes.extend([7; 16]);
        bytes.extend([0, 0, 0, 1]);
        assert_eq!(id.as_bytes(), &Digest::of_content(&bytes).as_bytes()[..16]);
        assert_ne!(id, TransferId::derive(&[7; 16], 0));
        assert_ne!(id, TransferId::derive(&[8; 16], 1));
        assert_eq!(std::format!("{id:?}"), std::format!("TransferId({id})"));
        assert_eq!(id.to_string().len(), 32);
    }

    #[test]
    fn an_amount_takes_sixteen_bytes_whatever_it_is() {
        for amount in [0, 1, u128::from(u64::MAX), u128::MAX] {
            let mut encoder = Encoder::new();
            encode_amount(&mut encoder, amount);
            let bytes = encoder.finish();
            assert_eq!(bytes.len(), 17);
            assert_eq!(decode_amount(&mut Decoder::new(&bytes), "amount"), Ok(amount));
            assert!(decode_amount(&mut Decoder::new(&bytes[..16]), "amount").is_err());
        }
        assert!(decode_amount(&mut Decoder::new(&[0]), "amount").is_err());
    }
}
