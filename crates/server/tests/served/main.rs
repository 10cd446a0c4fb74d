//! A node, a proxy and a man in the middle, in one process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;
mod node;
mod tampering;
