//! The program as people and programs use it: commands, exit statuses, what is on stdout.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]

mod answering;
mod common;
mod contributing;
mod describing;
mod encoder;
mod estimating;
mod feedback;
mod hostile;
mod keeping;
mod ledger;
mod lineage;
mod publishing;
mod rag;
mod teaching;
