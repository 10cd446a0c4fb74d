//! What a client says of a receipt, and what it is told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST /v1/feedback`: either `rating`, or `receipt` with `score`. Every other field is
/// refused by name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRequest {
    /// Openings of the receipt as base64url, as the answer's `tally.openings` has them: whoever holds
    /// the receipt can give one. One commitment suffices.
    pub openings: String,
    /// A rating that its rater signed: the COSE_Sign1 as base64url. What it earns is the rater's.
    #[serde(default)]
    pub rating: Option<String>,
    /// The receipt's id or digest. The node signs for the rater; what that earns goes to the commons.
    #[serde(default)]
    pub receipt: Option<String>,
    /// From 0, useless, to 100.
    #[serde(default)]
    #[schema(maximum = 100)]
    pub score: Option<u8>,
    /// Why, in 1 to 1,024 bytes.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 1024)]
    pub comment: Option<String>,
}

/// The rating that stands now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedbackAnswer {
    /// Digest of the signed rating: 64 hexadecimal digits.
    pub rating: String,
    /// Who signed it: a `did:key`, the node's where the rater did not sign.
    pub rater: String,
    /// Digest of the receipt: 64 hexadecimal digits.
    pub receipt: String,
    /// Its score.
    pub score: u8,
    /// Where the rating's digest stands in the node's log.
    pub log_index: u64,
    /// Whether it was not there before.
    pub is_new: bool,
}
