//! Ratings that a node takes: held to the receipts that it issued, kept, and entered into its log.
//!
//! Receipt digests stand in the public log, and their statements can be fetched. So whoever rates
//! shows an opening of one of the receipt's commitments, which only those have who were given the
//! receipt. What raters do not sign themselves the node signs with a key of its own for all of them;
//! what that earns belongs to nobody known, and goes to the commons.

use std::sync::{Mutex, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use tally_attribution::{
    did::to_did,
    feedback::{FeedbackStore, FeedbackStoreError},
};
use tally_core::{
    Digest,
    account::Account,
    cbor::Cbor as _,
    ed25519::SigningKey,
    entry::EntryKind,
    feedback::{Rating, SCORE_MAX, Word as _},
    receipt::{Bundle, SignedStatement, openings_from_bytes},
};
use tally_issuer::IssuerError;
use thiserror::Error;

use crate::{
    api::{
        error::ApiError,
        feedback::{FeedbackAnswer, FeedbackRequest},
    },
    issue::{Desk, IssueError},
};

/// What is entered into the log at a time when a node starts.
const WAITING_LEN_MAX: usize = 1024;

/// Why a rating is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The request is at fault.
    #[error("{}", .0.message)]
    Refused(ApiError),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] FeedbackStoreError),
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] IssuerError),
    /// The receipt cannot be looked up.
    #[error(transparent)]
    Receipt(#[from] IssueError),
}

impl From<ApiError> for TakeError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// Takes ratings.
#[derive(Debug)]
pub struct FeedbackDesk {
    desk: Desk,
    store: FeedbackStore,
    key: SigningKey,
    /// Held while something is entered, so that nothing is entered twice.
    entering: Mutex<()>,
}

impl FeedbackDesk {
    /// A desk over a node's receipts, a store, and the key for ratings that raters do not sign.
    #[must_use]
    pub const fn new(desk: Desk, store: FeedbackStore, key: SigningKey) -> Self {
        Self { desk, store, key, entering: Mutex::new(()) }
    }

    /// Enters what a crash has left out of the log; says how much that was.
    ///
    /// # Errors
    /// If store or log refuse.
    pub fn enter_waiting(&self, now_s: u64) -> Result<u64, TakeError> {
        let mut count = 0;
        loop {
            let waiting = self.store.waiting(WAITING_LEN_MAX)?;
            if waiting.is_empty() {
                return Ok(count);
            }
            for digest in waiting {
                self.enter(digest, now_s)?;
                count += 1;
            }
        }
    }

    /// Takes a rating: it is kept and in the log, durably, when this returns.
    ///
    /// # Errors
    /// A rating that is none, of a receipt that this node does not have, by somebody who does not hold
    /// it; a second rating by the same rater that says something else; a store or log that refuses.
    pub fn take(
        &self,
        request: &FeedbackRequest,
        now_ms: u64,
    ) -> Result<FeedbackAnswer, TakeError> {
        let (signed, rating) = match &request.rating {
            Some(text) => signed_rating(text, request)?,
            None => self.taken_down(request, now_ms)?,
        };
        self.require_held(&rating.receipt, &request.openings)?;
        let kept = self.store.keep_rating(&signed, rating).map_err(refusal)?;
        let (digest, rating, is_new) = kept;
        let log_index = self.enter(digest, now_ms / 1000)?;
        Ok(FeedbackAnswer {
            rating: digest.to_string(),
            rater: to_did(&rating.rater),
            receipt: rating.receipt.to_string(),
            score: rating.score,
            log_index,
            is_new,
        })
    }

    /// What a rater said without signing it, signed by the node.
    fn taken_down(
        &self,
        request: &FeedbackRequest,
        time_ms: u64,
    ) -> Result<(SignedStatement, Rating), TakeError> {
        let missing = |name: &str| ApiError::invalid(name, format!("`{name}` is missing"));
        let name = request.receipt.as_deref().ok_or_else(|| missing("receipt"))?;
        let score = request.score.ok_or_else(|| missing("score"))?;
        let rating = Rating {
            rater: *self.key.public_key().as_bytes(),
            receipt: self.receipt_of(name)?,
            score,
            time_ms,
            // Nobody is known to have earned it.
            payee: Some(Account::Commons),
            comment: request.comment.clone(),
        };
        if score > SCORE_MAX {
            let text = format!("`score` is {score}, expected 0 to {SCORE_MAX}");
            return Err(ApiError::invalid("score", text).into());
        }
        let read = Rating::parse(&rating.encode());
        read.map_err(|error| ApiError::invalid("comment", format!("`comment`: {error}")))?;
        let signed = rating.signed(|message| *self.key.sign(message).as_bytes());
        Ok((signed, rating))
    }

    /// The digest of a receipt that is named by it or by its id.
    fn receipt_of(&self, name: &str) -> Result<Digest, TakeError> {
        if let Some(digest) = Digest::parse_hex(name) {
            return Ok(digest);
        }
        let id: Option<[u8; 16]> = hex::decode(name).ok().and_then(|id| id.try_into().ok());
        let Some(id) = id else {
            let text = "`receipt` is neither a receipt id of 32 hexadecimal digits nor a receipt digest of 64";
            return Err(ApiError::invalid("receipt", text).into());
        };
        let statement = self.desk.statement_of(&id)?.ok_or_else(unknown)?;
        Ok(Digest::of_content(&statement))
    }

    /// Refuses who does not hold a receipt of this node.
    fn require_held(&self, receipt: &Digest, openings: &str) -> Result<(), TakeError> {
        let statement = self.desk.statement(receipt)?.ok_or_else(unknown)?;
        let refused = |why: &dyn std::fmt::Display| {
            ApiError::invalid("openings", format!("`openings` does not open this receipt: {why}"))
        };
        let bytes = Base64UrlUnpadded::decode_vec(openings).map_err(|error| refused(&error))?;
        let openings = openings_from_bytes(&bytes).map_err(|error| refused(&error))?;
        if openings.is_empty() {
            return Err(refused(&"it opens nothing, one commitment suffices").into());
        }
        let statement = SignedStatement::parse(&statement).map_err(|error| refused(&error))?;
        let bundle = Bundle { statement, evidence: vec![], openings };
        tally_verifier::open(&bundle.encode()).map_err(|error| refused(&error))?;
        Ok(())
    }

    /// Where it stands in the log, once that survives a crash.
    fn enter(&self, digest: Digest, now_s: u64) -> Result<u64, TakeError> {
        let _entering = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.desk.node().enter_once(EntryKind::FEEDBACK, digest, now_s)?;
        self.store.entered(&digest)?;
        Ok(index)
    }
}

/// What a client is told where the store keeps a rating for good reasons out.
fn refusal(error: FeedbackStoreError) -> TakeError {
    let code = match &error {
        FeedbackStoreError::Rated { .. } => "rated_otherwise",
        FeedbackStoreError::Raters { .. } => "rated_by_too_many",
        _ => return error.into(),
    };
    ApiError::of_status(409, code, error.to_string()).into()
}

fn unknown() -> ApiError {
    let text = "this node served no such receipt; one that `tally ask` made is rated in its own home, by `tally feedback give` without `--to`";
    ApiError::of_status(404, "receipt_not_found", text)
}

/// A rating that its rater signed.
fn signed_rating(
    text: &str,
    request: &FeedbackRequest,
) -> Result<(SignedStatement, Rating), TakeError> {
    let beside = [
        ("receipt", request.receipt.is_some()),
        ("score", request.score.is_some()),
        ("comment", request.comment.is_some()),
    ];
    if let Some((name, _)) = beside.iter().find(|(_, is_there)| *is_there) {
        let text = format!("`{name}` stands beside `rating`, which says it already");
        return Err(ApiError::invalid(*name, text).into());
    }
    let refused = |why: &dyn std::fmt::Display| {
        ApiError::invalid("rating", format!("`rating` is no signed rating: {why}"))
    };
    let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|error| refused(&error))?;
    let signed = SignedStatement::parse(&bytes).map_err(|error| refused(&error))?;
    let rating = Rating::open(&signed).map_err(|error| refused(&error))?;
    Ok((signed, rating))
}
