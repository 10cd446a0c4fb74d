//! What a receipt will owe once it stands in the log: a due without its log index.
//!
//! A node keeps it durably before anybody is told of the receipt, so that the book can take it in
//! later. It follows from the receipt's statement and its opened attribution section, so an auditor
//! makes the same one; whether that section is sound a verifier tells.

use tally_core::Digest;
use tally_core::attribution::{Section, SplitPolicy};
use tally_core::cbor::{Cbor, CborError, Decoder, Encoder};
use tally_core::commitment::Field;
use tally_core::receipt::{Openings, Statement};
use thiserror::Error;

use super::{Due, Share};

/// Basis of the share that goes to the commons because nobody is known for it: no label at all.
pub const BASIS_RESIDUAL: u8 = 0;

/// Milliseconds of a second.
const MS_OF_S: u64 = 1_000;

/// Why it cannot be said what a receipt owes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwedError {
    /// The receipt has a price, and nothing opened says who gets it.
    #[error("receipt {receipt} charges {price}, and its attribution section is not opened")]
    Unopened {
        /// The receipt.
        receipt: Digest,
        /// Its price.
        price: u64,
    },
    /// The section divides something else than the price.
    #[error("receipt {receipt} charges {price}, its attribution section divides {found}")]
    Price {
        /// The receipt.
        receipt: Digest,
        /// Its price.
        price: u64,
        /// What the section divides.
        found: u64,
    },
    /// The section or its policy is malformed.
    #[error(transparent)]
    Form(#[from] CborError),
}

/// A due whose log index is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed(Due);

impl Owed {
    /// What a receipt owes; nothing if it has no price.
    ///
    /// # Errors
    /// A price without an opened section, or a section that divides something else.
    pub fn of(
        receipt: Digest,
        statement: &Statement,
        openings: &Openings,
    ) -> Result<Option<Self>, OwedError> {
        let Some(price) = statement.price.as_ref() else { return Ok(None) };
        let Some(opening) = openings.get(&Field::Attribution) else {
            return Err(OwedError::Unopened { receipt, price: price.amount });
        };
        let section = Section::parse(&opening.value)?;
        if section.amount != price.amount {
            let found = section.amount;
            return Err(OwedError::Price { receipt, price: price.amount, found });
        }
        let policy = SplitPolicy::parse(&section.policy)?;
        Ok(Some(Self(Due {
            receipt,
            log_index: 0,
            time_s: statement.time_ms / MS_OF_S,
            challenge_s: policy.challenge_s,
            asset: price.asset.clone(),
            amount: section.amount.into(),
            shares: shares_of(&section),
        })))
    }

    /// The receipt.
    #[must_use]
    pub const fn receipt(&self) -> Digest {
        self.0.receipt
    }

    /// The asset of the price.
    #[must_use]
    pub fn asset(&self) -> &str {
        &self.0.asset
    }

    /// The due of the receipt whose log entry is at this index.
    #[must_use]
    pub fn at(self, log_index: u64) -> Due {
        Due { log_index, ..self.0 }
    }
}

/// The transfers, and the residual where there is any.
fn shares_of(section: &Section) -> Vec<Share> {
    let transfers = section.transfers.iter().map(|transfer| Share {
        id: transfer.id,
        account: transfer.account,
        basis: transfer.label.code(),
        amount: transfer.amount.into(),
    });
    let residual = Share {
        id: section.residual.id,
        account: tally_core::account::Account::Commons,
        basis: BASIS_RESIDUAL,
        amount: section.residual.amount.into(),
    };
    transfers.chain((residual.amount > 0).then_some(residual)).collect()
}

impl Cbor for Owed {
    /// A due's encoding with log index 0.
    fn encode_into(&self, encoder: &mut Encoder) {
        self.0.encode_into(encoder);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let due = Due::decode_from(decoder)?;
        match i64::try_from(due.log_index) {
            Ok(0) => Ok(Self(due)),
            found => {
                let found = found.unwrap_or(i64::MAX);
                Err(CborError::Value { what: "log index of what is owed", found })
            }
        }
    }
}

#[cfg(test)]
mod tests;
