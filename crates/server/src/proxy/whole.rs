//! Answers that are one JSON body.

use axum::{body::Body, response::Response};
use hyper::body::Incoming;

use super::{
    ANSWER_BYTES_MAX, Asking, Fault, read,
    receipts::{Carried, judge, keep, split_member},
    released,
};

/// Verifies an answer and releases it, or says why not.
pub(super) async fn answer(asking: &Asking, answered: hyper::Response<Incoming>) -> Response {
    match verified(asking, answered).await {
        Ok((bytes, ids)) => released(Body::from(bytes), "application/json", &ids),
        Err(fault) => fault.response(&asking.proxy),
    }
}

async fn verified(
    asking: &Asking,
    answered: hyper::Response<Incoming>,
) -> Result<(Vec<u8>, Vec<String>), Fault> {
    let bytes = read(&asking.proxy, answered.into_body(), ANSWER_BYTES_MAX).await?;
    let missing = || Fault::new("receipt/missing", "upstream's answer has no receipt");
    let (payload, member) = split_member(&bytes).ok_or_else(missing)?;
    let carried: Carried = serde_json::from_slice(member).map_err(|_| missing())?;
    let held = judge(asking, &carried, Some(&payload))?;
    keep(asking, &held).await?;
    let ids = held.iter().map(|held| hex::encode(held.verified.get().statement.id)).collect();
    Ok((bytes.to_vec(), ids))
}
