//! What the API refuses with, in OpenAI's shape.

use serde_json::{Value, json};
use utoipa::ToSchema;

/// A refusal: its status, and the `error` object of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Stable code, such as `unsupported_parameter`.
    pub code: &'static str,
    /// The parameter at fault, as a path such as `messages[0].role`.
    pub param: Option<String>,
    /// What was expected and what was found, in words.
    pub message: String,
    /// When to try again, if it is known.
    pub retry_seconds: Option<u64>,
}

/// The body of every answer whose status is not 2xx.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "its fields are the API description's")]
pub struct ErrorBody {
    error: ErrorObject,
    /// The receipt of a request that was admitted and has no answer.
    tally: Option<super::response::ReceiptObject>,
}

/// What went wrong.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "its fields are the API description's")]
pub struct ErrorObject {
    /// What was expected and what was found.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    r#type: String,
    /// The parameter at fault.
    param: Option<String>,
    /// Stable code.
    code: String,
}

impl ApiError {
    /// A request that cannot be served as it is: status 400.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let (param, message) = (Some(param.into()), message.into());
        Self { status: 400, code: "invalid_value", param, message, retry_seconds: None }
    }

    /// A parameter that this server does not have: status 400.
    #[must_use]
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: "unsupported_parameter", ..Self::invalid(param, message) }
    }

    /// A fault of the whole request, of no single parameter.
    #[must_use]
    pub fn of_status(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, param: None, message: message.into(), retry_seconds: None }
    }

    /// A fault of this server, whose cause is for its own log.
    #[must_use]
    pub fn internal() -> Self {
        Self::of_status(500, "internal", "the server failed; its log says why")
    }

    const fn kind(&self) -> &'static str {
        match self.status {
            401 | 403 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The `error` object.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({
            "error": {
                "message": self.message,
                "type": self.kind(),
                "param": self.param,
                "code": self.code,
            }
        })
    }
}
