//! The bytes and the arithmetic that two machines must agree on.
//!
//! This crate parses and encodes; it never judges (that is `tally-verifier`) and never fetches.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::integer_division,
    clippy::panic,
    clippy::unreachable,
    clippy::wildcard_enum_match_arm
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod account;
pub mod attribution;
pub mod cbor;
pub mod checkpoint;
pub mod commitment;
pub mod computation;
pub mod contribution;
pub mod cosignature;
pub mod digest;
pub mod ed25519;
pub mod entry;
pub mod feedback;
pub mod note;
pub mod philox;
pub mod receipt;
pub mod split;
pub mod stream;
pub mod sum_tree;
pub mod tag;
pub mod tile;
pub mod tlog_proof;
pub mod trace;
pub mod tree;

pub use digest::{Digest, Hasher};
