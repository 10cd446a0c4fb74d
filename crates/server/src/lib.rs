//! The network face: an OpenAI-compatible node whose every answer has a receipt.
//!
//! The only crate that knows HTTP, JSON field names and an asynchronous runtime. Clock and
//! randomness come from a [`World`], models from a [`ModelSource`]; it computes nothing itself
//! and judges nothing.
#![forbid(unsafe_code)]

pub mod access;
pub mod again;
pub mod api;
pub mod client;
pub mod feedback;
pub mod http;
pub mod issue;
pub mod listen;
mod local;
mod metrics;
pub mod node;
pub mod plan;
pub mod proxy;
pub mod rehearsal;
pub mod respond;
pub mod shelf;
pub mod store;
pub mod tools;
pub mod view;
mod worker;
mod world;

pub use metrics::Metrics;
pub use shelf::ModelSource;
pub use world::World;
