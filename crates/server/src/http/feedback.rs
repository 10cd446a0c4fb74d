//! Ratings.

use std::sync::Arc;

use axum::{body::Bytes, extract::State, http::HeaderMap, response::Response};

use super::{authorization, describe::Refusals, error, json, meta::place};
use crate::{
    api::{
        error::{ApiError, ErrorBody},
        feedback::{FeedbackAnswer, FeedbackRequest},
        parse::parse,
    },
    feedback::TakeError,
    node::ServerNode,
};

/// A rating of a receipt.
/// Rate an answer by its receipt.
///
/// A rater rates a receipt once. The same again is answered with the rating that stands.
#[utoipa::path(post, path = "/v1/feedback", tag = "receipts", request_body = FeedbackRequest,
    responses((status = 200, description = "It is kept, and its digest is in the log", body = FeedbackAnswer),
        (status = 409, description = "This rater has rated the receipt otherwise, or too many have", body = ErrorBody), Refusals))]
pub(super) async fn feedback(
    State(node): State<Arc<ServerNode>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        let now_ms = node.world.now_ms();
        let _entrance = node.access.enter(authorization(&headers), now_ms)?;
        let _place = place(&node)?;
        let request: FeedbackRequest = parse(&body)?;
        let taking = Arc::clone(&node);
        let taken =
            tokio::task::spawn_blocking(move || taking.feedback.take(&request, now_ms)).await;
        match taken {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(TakeError::Refused(refusal))) => Err(refusal),
            Ok(Err(failure)) => Err(failed(&node, &failure)),
            Err(failure) => Err(failed(&node, &failure)),
        }
    };
    match work.await {
        Ok(taken) => json(200, serde_json::to_vec(&taken).unwrap_or_default()),
        Err(refusal) => error(&refusal),
    }
}

fn failed(node: &ServerNode, failure: &dyn std::fmt::Display) -> ApiError {
    node.failed("taking a rating", failure);
    ApiError::internal()
}
