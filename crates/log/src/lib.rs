//! The append-only log: durable appends, checkpoints, tiles, proofs, cosigning.
//!
//! One tree, one writer per origin. The log does not know what its entries mean, reads no clock and
//! talks to no network; storage and time come from the caller. No thread outlives a call. `spec/log.md` is
//! the normative text.
#![forbid(unsafe_code)]

pub mod bench;
pub mod cosigner;
pub mod dangerous;
mod error;
pub mod fsck;
mod index;
mod key;
mod log;
mod publish;
mod rows;
mod segment;
pub mod sequencer;
pub mod storage;

pub use cosigner::{CosignError, Cosigner};
pub use error::{Damage, LogError, Operation};
pub use key::NamedKey;
pub use log::{Appended, Log};
pub use sequencer::{Sequencer, SequencerError, SequencerLimits};
pub use storage::{Posix, Storage, StoredFile};
