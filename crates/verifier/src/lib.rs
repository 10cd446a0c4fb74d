//! Judges a receipt: bytes, policy and time in; what was established, or a reasoned no, out.
//!
//! [`verify`] is a pure function. It reads no clock, file, socket or environment, draws no
//! randomness, and holds no inference engine: replay is another act. The same bytes, policy and
//! time yield the same verdict on every target. `spec/receipt.md` and `spec/policy.md` are the
//! normative texts; a [`Rejection`] names the clause's code.
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

mod expected;
mod gap;
pub mod policy;
mod rejection;
mod stream;
mod time;
mod verdict;
mod verify;

pub use expected::Expected;
pub use gap::{Gap, NotLogged};
pub use policy::{Policy, PolicyError};
pub use rejection::{AttributionRejection, Part, Rejection, SectionPart, StreamRejection};
pub use stream::{ExpectedStream, StreamEnd, StreamVerifier};
pub use time::UnixTime;
pub use verdict::{
    Assurance, Attributed, Claim, Established, Inclusion, Receipt, TimeBasis, Verified,
};
pub use verify::{Opened, open, verify};
