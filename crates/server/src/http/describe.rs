//! What the API's description says beside its routes and shapes.

use utoipa::{
    IntoParams, IntoResponses, OpenApi, ToSchema,
    openapi::{
        InfoBuilder, OpenApi as Description,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::api::{error::ErrorBody, response::ReceiptObject};

const ABOUT: &str = "\
OpenAI's endpoints, every answer with a receipt.

An answer's last member `tally` holds its receipt: `receipt` is the signed statement with its inclusion proof, `openings` what \
the statement's commitments hide. `tally verify` judges a receipt offline, `tally replay` computes the answer again bit for bit. \
A parameter that is not listed is refused by name. In a stream the first event's `tally` has the signed head, each further one \
the tokens drawn and a signature over everything so far, the last one the receipts.";

/// The client's nonce.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its field is the API description's")]
pub(super) struct Nonce {
    /// 8 to 64 random bytes in hexadecimal: the receipt holds them, so that it cannot be one of an
    /// older answer.
    #[param(
        rename = "Tally-Nonce",
        min_length = 16,
        max_length = 128,
        pattern = "^([0-9a-f]{2}){8,64}$"
    )]
    nonce: Option<String>,
}

/// An answer together with its receipt.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its fields are the API description's")]
pub(super) struct WithReceipt<T> {
    #[schema(inline)]
    #[serde(flatten)]
    answer: T,
    /// The receipt: always the last member.
    tally: ReceiptObject,
}

/// What any request may be answered with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "its fields are the API description's")]
pub(super) enum Refusals {
    /// A parameter is unknown, missing or out of range: `param` names it.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No API key, or one that is not known.
    #[response(status = 401)]
    NoKey(ErrorBody),
    /// Without API keys: a request for another host, or from a page of one.
    #[response(status = 403)]
    NotLocal(ErrorBody),
    /// No such model, receipt, object or file.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body came too slowly.
    #[response(status = 408)]
    TooSlow(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The exact arithmetic refused the computation: a bound was exceeded.
    #[response(status = 422)]
    Refused(ErrorBody),
    /// Too many requests: `Retry-After` says when to try again.
    #[response(status = 429)]
    TooMany(ErrorBody),
    /// The node failed.
    #[response(status = 500)]
    Failed(ErrorBody),
    /// The model cannot be loaded.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

#[derive(OpenApi)]
#[openapi(components(schemas(ErrorBody)))]
struct Opening;

/// A description whose paths have no mark of this router's own.
pub(super) fn plain(description: &str) -> String {
    description.replace("{*path}", "{path}")
}

/// Title and keys.
pub(super) fn opening() -> Description {
    let mut description = Opening::openapi();
    description.info = InfoBuilder::new()
        .title("Tally node")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .build();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    description.components.get_or_insert_default().add_security_scheme("key", bearer);
    description
}
