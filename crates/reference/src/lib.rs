//! Models in binary32, straight from their source: what exact arithmetic is held against.
//!
//! Nothing here is part of an answer, and no other crate that computes one may depend on this. It
//! computes what the published definitions of the architectures say, from the weights as they were
//! published, so that the distance of exact arithmetic from them can be measured.
#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a crate of floating-point numbers, whose roundings are its accuracy"
)]

mod attention;
mod compare;
mod decoder;
mod encoder;
mod error;
mod load;
mod matrix;
mod reference;
mod rotation;

pub use compare::{Comparison, cosine, divergence, exact_logits, float_logits, surprise};
pub use error::ReferenceError;
pub use reference::Reference;
