//! Who contributed to an answer, as far as it can be recomputed by anybody.
//!
//! Whose registered words an output repeats ([`ownership`]), the index over registered texts that
//! finds and proves it ([`index`]), and estimates of influence, labelled as such ([`influence`]).

pub mod attributor;
pub mod croissant;
pub mod dataset;
pub mod did;
pub mod feedback;
pub mod index;
pub mod influence;
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
