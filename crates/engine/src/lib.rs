//! Exact integer inference: model, kernels, forward pass, cache, sampler, replay.
//!
//! The arithmetic is [`ARITHMETIC`] (`spec/arithmetic.md`): its results are equal, never close, on
//! every kernel, thread count, batch and chunking. This crate does not know what a receipt is.

/// Id of the arithmetic that this crate computes.
pub const ARITHMETIC: &str = "ra-1-draft.2";

mod attention;
pub mod batch;
mod cache;
pub mod encoder;
pub mod error;
pub mod fixed;
mod forward;
pub mod generate;
pub mod grammar;
pub mod import;
pub mod influence;
pub mod kernel;
pub mod language;
mod linear;
pub mod model;
mod peaks;
pub mod replay;
pub mod sampler;
pub mod session;
pub mod source;
mod steering;
pub mod stop;
pub mod template;
pub mod tokenizer;

pub use batch::{Batch, BatchCounts, BatchLimits, Task, TaskEvent, TaskId};
pub use encoder::Embedding;
pub use error::{EngineError, ModelError, Operation};
pub use grammar::{Constraint, GRAMMAR_ENGINE};
pub use kernel::Kernels;
pub use language::{Language, LanguageError};
pub use model::Model;
pub use peaks::Headroom;
pub use session::{Engine, Sequence, Span, Wanted};
pub use stop::{Pushed, TextStream};
