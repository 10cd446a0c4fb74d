//! The journal's events and the chain that holds them in order.
//!
//! A record is the link before it, 32 bytes, and the event's CBOR. Its link is SHA-256(`JOURNAL` ‖
//! record); the link before the first record is 32 zeros. Balances follow from the events alone.

use tally_core::account::{Account, decode_amount, encode_amount};
use tally_core::cbor::{Cbor, CborError, Decoder, Encoder};
use tally_core::sum_tree::{ASSET_BYTES_MAX, Epoch, EpochSecret};
use tally_core::{Digest, tag};

use super::{Due, LedgerError, POSTING_LEN_MAX, Payout};

/// One thing that happened; receipts are named by the numbers of the events that booked them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The book was opened. Event 0, and no other.
    Opened {
        /// The one asset that it is of.
        asset: String,
    },
    /// A receipt was booked.
    Booked(Due),
    /// Receipts were posted.
    Posted {
        /// When, in seconds since 1970-01-01T00:00:00Z.
        now_s: u64,
        /// Which, [`POSTING_LEN_MAX`] at most.
        entries: Vec<u64>,
    },
    /// A pending receipt was voided.
    Voided {
        /// Which.
        entry: u64,
        /// Digest of the reason.
        reason: Digest,
    },
    /// A posted receipt was taken back.
    Corrected {
        /// Which.
        entry: u64,
        /// Digest of the reason.
        reason: Digest,
    },
    /// An epoch was closed.
    Closed {
        /// Its public record.
        epoch: Epoch,
        /// From which its salts come.
        secret: EpochSecret,
    },
    /// A claim was paid.
    Claimed {
        /// The epoch.
        epoch: u64,
        /// To whom.
        account: Account,
        /// How much.
        amount: u128,
    },
    /// The pool of feedback was paid out.
    PaidOut(Payout),
}

impl Cbor for Event {
    fn encode_into(&self, encoder: &mut Encoder) {
        match self {
            Self::Opened { asset } => {
                encoder.array(2).uint(0).text(asset);
            }
            Self::Booked(due) => due.encode_into(encoder.array(2).uint(1)),
            Self::Posted { now_s, entries } => {
                encoder.array(3).uint(2).uint(*now_s).array(entries.len());
                for entry in entries {
                    encoder.uint(*entry);
                }
            }
            Self::Voided { entry, reason } => {
                encoder.array(3).uint(3).uint(*entry).bytes(reason.as_bytes());
            }
            Self::Corrected { entry, reason } => {
                encoder.array(3).uint(4).uint(*entry).bytes(reason.as_bytes());
            }
            Self::Closed { epoch, secret } => {
                epoch.encode_into(encoder.array(3).uint(5));
                encoder.bytes(secret.as_bytes());
            }
            Self::Claimed { epoch, account, amount } => {
                account.encode_into(encoder.array(4).uint(6).uint(*epoch));
                encode_amount(encoder, *amount);
            }
            Self::PaidOut(payout) => payout.encode_into(encoder.array(2).uint(7)),
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let len = decoder.array("event", 4)?;
        let kind = decoder.uint_up_to("kind of event", 7)?;
        let (event, expected) = match kind {
            0 => {
                let asset = decoder.text("asset", ASSET_BYTES_MAX)?.into();
                (Self::Opened { asset }, 2)
            }
            1 => (Self::Booked(Due::decode_from(decoder)?), 2),
            2 => {
                let now_s = decoder.uint()?;
                let count = decoder.array("posted receipts", POSTING_LEN_MAX as u64)?;
                let entries = (0..count).map(|_| decoder.uint()).collect::<Result<_, _>>()?;
                (Self::Posted { now_s, entries }, 3)
            }
            3 => {
                let entry = decoder.uint()?;
                (Self::Voided { entry, reason: decoder.digest("reason")? }, 3)
            }
            4 => {
                let entry = decoder.uint()?;
                (Self::Corrected { entry, reason: decoder.digest("reason")? }, 3)
            }
            5 => {
                let epoch = Epoch::decode_from(decoder)?;
                let secret = EpochSecret::from_bytes(decoder.array_of("epoch's secret")?);
                (Self::Closed { epoch, secret }, 3)
            }
            7 => (Self::PaidOut(Payout::decode_from(decoder)?), 2),
            _ => {
                let epoch = decoder.uint()?;
                let account = Account::decode_from(decoder)?;
                (Self::Claimed { epoch, account, amount: decode_amount(decoder, "claim")? }, 4)
            }
        };
        if len != expected {
            return Err(CborError::Length { what: "event", offset: 0, expected, found: len });
        }
        Ok(event)
    }
}

/// The end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many events there are; the next one has this number.
    pub count: u64,
    /// The link of the last one; 32 zeros if there is none.
    pub link: Digest,
}

impl Head {
    /// The end of a journal without events.
    pub const START: Self = Self { count: 0, link: Digest::from_bytes([0; 32]) };

    /// The record that the next event has.
    #[must_use]
    pub fn record(&self, event: &Event) -> Vec<u8> {
        let mut record = self.link.as_bytes().to_vec();
        record.extend(event.encode());
        record
    }

    /// The end behind this record, which is not looked at.
    #[must_use]
    pub fn behind(&self, record: &[u8]) -> Self {
        Self { count: self.count + 1, link: Digest::of_tagged(tag::JOURNAL, &[record]) }
    }

    /// Takes the next record: it must name this end.
    pub(super) fn follow(&self, record: &[u8]) -> Result<(Self, Event), LedgerError> {
        let (found, event) = split_record(record)?;
        if found != self.link {
            return Err(LedgerError::Chain { event: self.count, expected: self.link, found });
        }
        Ok((self.behind(record), Event::parse(event)?))
    }
}

/// A record's link to the one before and its event's bytes.
fn split_record(record: &[u8]) -> Result<(Digest, &[u8]), CborError> {
    let truncated = CborError::Truncated { offset: record.len() };
    let (link, event) = record.split_at_checked(Digest::SIZE_BYTES).ok_or(truncated.clone())?;
    Ok((Digest::from_slice(link).ok_or(truncated)?, event))
}

/// The event of a record, whatever link it names.
///
/// # Errors
/// Bytes that are no record.
pub fn event_of(record: &[u8]) -> Result<Event, CborError> {
    Event::parse(split_record(record)?.1)
}
