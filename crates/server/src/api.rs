//! Bodies of requests and answers: OpenAI's shapes, and what of them is known here.

pub mod asked;
pub mod chat;
pub mod completion;
pub mod error;
pub mod feedback;
pub mod parse;
pub mod response;

#[cfg(test)]
mod tests;
