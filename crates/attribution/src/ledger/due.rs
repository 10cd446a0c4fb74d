//! What one receipt charges and to whom it is owed, and what the book has of it.

use std::collections::BTreeSet;

use tally_core::account::{Account, TransferId, decode_amount, encode_amount};
use tally_core::attribution::CHALLENGE_S_MAX;
use tally_core::cbor::{Cbor, CborError, Decoder, Encoder};
use tally_core::split::AMOUNT_MAX;
use tally_core::sum_tree::ASSET_BYTES_MAX;
use tally_core::tree::TreeSize;
use tally_core::{Digest, tag};

use super::{BookAccount, LedgerError};

/// Most shares of one receipt: it repeats the words of so many contributors at most.
pub const SHARES_MAX: u64 = 4_096;
/// Latest time, so that every deadline fits the 63 bits that databases have.
pub const TIME_S_MAX: u64 = 1 << 62;

/// What a receipt owes to one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The transfer's name.
    pub id: TransferId,
    /// To whom.
    pub account: Account,
    /// On what ground, by the receipt's own code.
    pub basis: u8,
    /// How much, in billionths of the asset's unit.
    pub amount: u128,
}

/// What a receipt charges, and how that is divided.
///
/// It is sound if the shares add up to the amount exactly, the amount is at most [`AMOUNT_MAX`], no
/// transfer's name stands there twice, and time, window, log index, asset and count are within
/// their limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The receipt's digest.
    pub receipt: Digest,
    /// Index of its log entry.
    pub log_index: u64,
    /// When it was issued, in seconds since 1970-01-01T00:00:00Z.
    pub time_s: u64,
    /// For how long it can be challenged.
    pub challenge_s: u32,
    /// The asset's name.
    pub asset: String,
    /// What was charged, in billionths of the asset's unit.
    pub amount: u128,
    /// The shares, the residual's among them.
    pub shares: Vec<Share>,
}

impl Due {
    /// From when on it can be posted.
    #[must_use]
    pub fn deadline_s(&self) -> u64 {
        self.time_s.saturating_add(u64::from(self.challenge_s))
    }

    /// SHA-256 of the encoded due: what two dues of one receipt are told apart by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_content(&self.encode())
    }

    /// Whether it is sound.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn require_sound(&self) -> Result<(), LedgerError> {
        let receipt = self.receipt;
        let limits = [
            ("log index", self.log_index, TreeSize::MAX.get() - 1),
            ("time", self.time_s, TIME_S_MAX),
            ("challenge window", u64::from(self.challenge_s), u64::from(CHALLENGE_S_MAX)),
            ("length of the asset's name", self.asset.len() as u64, ASSET_BYTES_MAX),
            ("number of shares", self.shares.len() as u64, SHARES_MAX),
        ];
        for (what, found, limit) in limits {
            if found > limit {
                return Err(LedgerError::Limit { receipt, what, limit, found });
            }
        }
        if self.amount > AMOUNT_MAX {
            return Err(LedgerError::Amount { receipt, found: self.amount });
        }
        let sum = self.shares.iter().try_fold(0_u128, |sum, share| sum.checked_add(share.amount));
        if sum != Some(self.amount) {
            return Err(LedgerError::Shares { receipt, amount: self.amount, sum });
        }
        let mut names = BTreeSet::new();
        match self.shares.iter().find(|share| !names.insert(share.id)) {
            Some(Share { id, .. }) => Err(LedgerError::TransferTwice { receipt, id: *id }),
            None => Ok(()),
        }
    }
}

impl Cbor for Due {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.array(7).bytes(self.receipt.as_bytes()).uint(self.log_index).uint(self.time_s);
        encoder.uint(u64::from(self.challenge_s)).text(&self.asset);
        encode_amount(encoder, self.amount);
        encoder.array(self.shares.len());
        for share in &self.shares {
            encoder.array(4).bytes(share.id.as_bytes());
            share.account.encode_into(encoder);
            encode_amount(encoder.uint(u64::from(share.basis)), share.amount);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.array_exact("due", 7)?;
        let receipt = decoder.digest("receipt")?;
        let log_index = decoder.uint()?;
        let time_s = decoder.uint()?;
        let challenge_s = decoder.u32("challenge window")?;
        let asset = decoder.text("asset", ASSET_BYTES_MAX)?.into();
        let amount = decode_amount(decoder, "amount")?;
        let count = decoder.array("shares", SHARES_MAX)?;
        let shares = (0..count).map(|_| decode_share(decoder)).collect::<Result<_, _>>()?;
        Ok(Self { receipt, log_index, time_s, challenge_s, asset, amount, shares })
    }
}

fn decode_share(decoder: &mut Decoder<'_>) -> Result<Share, CborError> {
    decoder.array_exact("share", 4)?;
    let id = TransferId::from_bytes(decoder.array_of("transfer id")?);
    let account = Account::decode_from(decoder)?;
    let basis = decoder.uint_up_to("basis", u64::from(u8::MAX))?;
    let amount = decode_amount(decoder, "share's amount")?;
    Ok(Share { id, account, basis: u8::try_from(basis).unwrap_or(u8::MAX), amount })
}

/// What the book has of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The due as it was booked.
    pub due: Due,
    /// Number of the event that booked it.
    pub event: u64,
    /// What became of it.
    pub resolution: Resolution,
}

/// What became of a booked receipt; events are named by their numbers in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing yet.
    Pending,
    /// It was posted.
    Posted {
        /// By this event.
        event: u64,
    },
    /// It was voided while it was pending.
    Voided {
        /// By this event.
        event: u64,
        /// Digest of the reason.
        reason: Digest,
    },
    /// It was posted, and taken back by opposite transfers.
    Corrected {
        /// The event that posted it.
        posted: u64,
        /// The event that took it back.
        event: u64,
        /// Digest of the reason.
        reason: Digest,
    },
}

impl Resolution {
    /// Whether it counted as earned before the event of this number.
    #[must_use]
    pub const fn is_earned_before(&self, event: u64) -> bool {
        match self {
            Self::Pending | Self::Voided { .. } => false,
            Self::Posted { event: posted } => *posted < event,
            Self::Corrected { posted, event: corrected, .. } => {
                *posted < event && *corrected >= event
            }
        }
    }
}

/// An immutable transfer from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its name.
    pub id: TransferId,
    /// The account that is debited.
    pub debit: BookAccount,
    /// The account that is credited.
    pub credit: BookAccount,
    /// How much.
    pub amount: u128,
    /// What it does.
    pub phase: Phase,
}

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reserves the amount.
    Pending,
    /// It posts a pending transfer.
    Post(TransferId),
    /// It releases a pending transfer.
    Void(TransferId),
    /// It moves a posted transfer's amount back.
    Correct(TransferId),
}

impl Phase {
    /// Number of the phase in the names of transfers.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Post(_) => 1,
            Self::Void(_) => 2,
            Self::Correct(_) => 3,
        }
    }
}

impl Transfer {
    /// The pending transfer of a share.
    #[must_use]
    pub const fn of_share(share: &Share) -> Self {
        let credit = BookAccount::Earned(share.account);
        let (id, amount) = (share.id, share.amount);
        Self { id, debit: BookAccount::Payer, credit, amount, phase: Phase::Pending }
    }

    /// The transfer that posts, voids or corrects this one; its name is the first half of
    /// SHA-256(`RESOLUTION` ‖ this name ‖ code of the phase).
    #[must_use]
    pub fn resolved_by(&self, phase: fn(TransferId) -> Phase) -> Self {
        let phase = phase(self.id);
        let parts: [&[u8]; 2] = [self.id.as_bytes(), &[phase.code()]];
        let id = TransferId::first_half(&Digest::of_tagged(tag::RESOLUTION, &parts));
        let (debit, credit) = match phase {
            Phase::Correct(_) => (self.credit, self.debit),
            _ => (self.debit, self.credit),
        };
        Self { id, debit, credit, amount: self.amount, phase }
    }
}

impl Entry {
    /// All transfers that follow from the entry.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        let phases: &[fn(TransferId) -> Phase] = match self.resolution {
            Resolution::Pending => &[],
            Resolution::Posted { .. } => &[Phase::Post],
            Resolution::Voided { .. } => &[Phase::Void],
            Resolution::Corrected { .. } => &[Phase::Post, Phase::Correct],
        };
        let pending = self.due.shares.iter().map(Transfer::of_share);
        let resolving = phases
            .iter()
            .flat_map(|phase| pending.clone().map(|transfer| transfer.resolved_by(*phase)));
        pending.clone().chain(resolving).collect()
    }
}
