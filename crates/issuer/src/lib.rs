//! Makes receipts: keys, the statement about one request, its signature, its bundle.
//!
//! It knows no HTTP and no async; time and randomness are arguments. It does not judge receipts
//! (that is `tally-verifier`) and does not know how an answer is computed (that is
//! `tally-engine`): it binds what went in to what came out.
#![forbid(unsafe_code)]

mod behind;
mod draft;
mod embedding;
mod error;
mod key_file;
mod node;
mod stream;

pub use behind::Behind;
pub use draft::{Admission, Draft, Issued, Prepared, choose_seed, issue, refuse, sign};
pub use embedding::{PreparedEmbedding, embed};
pub use error::IssuerError;
pub use key_file::{KeyPurpose, create_key, load_key};
pub use node::{Node, NodeKeys};
pub use stream::StreamSigner;
