//! Who contributed to an answer, as far as it can be recomputed by anybody.
//!
//! So far: whose registered words an output repeats ([`ownership`]).
#![forbid(unsafe_code)]

pub mod ownership;
pub mod section;
