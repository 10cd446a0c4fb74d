//! Who contributed to an answer, as far as it can be recomputed by anybody.
//!
//! So far: whose registered words an output repeats ([`ownership`]), and the index over registered
//! texts that finds and proves it ([`index`]).

pub mod attributor;
pub mod croissant;
pub mod dataset;
pub mod did;
pub mod feedback;
pub mod index;
pub mod json;
pub mod ledger;
pub mod licence;
mod map;
pub mod model_signing;
pub mod ownership;
pub mod policy_file;
pub mod registry;
pub mod removal;
pub mod retrieval;
pub mod section;
