//! Why a request is not answered, in the words and shapes of the protocols.

use std::fmt::Display;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::output::say;

/// A request that is not answered.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    kind: Kind,
    /// What is wrong, and what to do about it.
    pub(super) message: String,
    /// The field that is wrong.
    parameter: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Malformed,
    Empty,
    TooMuch,
    Slow,
    NotJson,
    Unknown,
    WrongMethod,
    WrongHost,
    WrongToken,
    Full,
    Stopping,
    Failed,
}

/// How a protocol words an error.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    OpenAi,
    Tei,
}

impl Shape {
    /// The one that is spoken at `path`.
    pub(super) fn at(path: &str) -> Self {
        if path.starts_with("/v1/") { Self::OpenAi } else { Self::Tei }
    }
}

impl Refusal {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), parameter: None }
    }

    /// The field that is wrong.
    pub(super) fn of(mut self, parameter: &'static str) -> Self {
        self.parameter = Some(parameter);
        self
    }

    /// A request of a wrong form, or with a value that is not possible.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, message)
    }

    /// No text where one is wanted.
    pub(super) fn empty(message: impl Into<String>) -> Self {
        Self::new(Kind::Empty, message)
    }

    /// More than a limit.
    pub(super) fn too_much(message: impl Into<String>) -> Self {
        Self::new(Kind::TooMuch, message)
    }

    pub(super) fn slow() -> Self {
        Self::new(Kind::Slow, "the body took too long to come")
    }

    pub(super) fn not_json() -> Self {
        let message = "the body is to be JSON: send `Content-Type: application/json`";
        Self::new(Kind::NotJson, message)
    }

    pub(super) fn unknown(what: impl Into<String>) -> Self {
        Self::new(Kind::Unknown, what)
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(Kind::WrongMethod, "this method is not known here")
    }

    pub(super) fn wrong_host() -> Self {
        let message = "asked under a name that is not this machine's: without a token the server \
                       answers to its own address and `localhost` alone";
        Self::new(Kind::WrongHost, message)
    }

    pub(super) fn wrong_token() -> Self {
        Self::new(Kind::WrongToken, "send the server's token: `Authorization: Bearer TOKEN`")
    }

    pub(super) fn full(texts: usize, most: usize) -> Self {
        let message = format!("the queue is full: {texts} of {most} texts wait; try again soon");
        Self::new(Kind::Full, message)
    }

    pub(super) fn stopping() -> Self {
        Self::new(Kind::Stopping, "the server is stopping; try again soon")
    }

    /// What is nobody's fault who asks; said on stderr too.
    pub(super) fn failed(cause: impl Display) -> Self {
        say(format_args!("error: a request failed: {cause}"));
        Self::new(Kind::Failed, cause.to_string())
    }

    fn status(&self, shape: Shape) -> StatusCode {
        match (self.kind, shape) {
            (Kind::Malformed | Kind::Empty, Shape::OpenAi) | (Kind::Empty, Shape::Tei) => {
                StatusCode::BAD_REQUEST
            }
            (Kind::Malformed, Shape::Tei) => StatusCode::UNPROCESSABLE_ENTITY,
            (Kind::TooMuch, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Kind::Slow, _) => StatusCode::REQUEST_TIMEOUT,
            (Kind::NotJson, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Kind::Unknown, _) => StatusCode::NOT_FOUND,
            (Kind::WrongMethod, _) => StatusCode::METHOD_NOT_ALLOWED,
            (Kind::WrongHost, _) => StatusCode::FORBIDDEN,
            (Kind::WrongToken, _) => StatusCode::UNAUTHORIZED,
            (Kind::Full, _) => StatusCode::TOO_MANY_REQUESTS,
            (Kind::Stopping, _) => StatusCode::SERVICE_UNAVAILABLE,
            (Kind::Failed, Shape::OpenAi) => StatusCode::INTERNAL_SERVER_ERROR,
            (Kind::Failed, Shape::Tei) => StatusCode::FAILED_DEPENDENCY,
        }
    }

    /// `{"error": {"message", "type", "param", "code"}}`
    fn openai(&self) -> Value {
        let (kind, code) = match self.kind {
            Kind::WrongToken => ("invalid_request_error", Some("invalid_api_key")),
            Kind::Full => ("rate_limit_error", Some("rate_limit_exceeded")),
            Kind::Stopping | Kind::Failed => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        json!({ "error": {
            "message": self.message, "type": kind, "param": self.parameter, "code": code,
        }})
    }

    /// `{"error", "error_type"}`
    fn tei(&self) -> Value {
        let kind = match self.kind {
            Kind::Empty => "Empty",
            Kind::Full => "Overloaded",
            Kind::Stopping => "Unhealthy",
            Kind::Failed => "Backend",
            Kind::WrongToken | Kind::WrongHost => "Unauthorized",
            Kind::Unknown | Kind::WrongMethod => "NotFound",
            Kind::Malformed | Kind::TooMuch | Kind::Slow | Kind::NotJson => "Validation",
        };
        json!({ "error": self.message, "error_type": kind })
    }

    /// The answer in a protocol's shape.
    pub(super) fn response(&self, shape: Shape) -> Response {
        let body = match shape {
            Shape::OpenAi => self.openai(),
            Shape::Tei => self.tei(),
        };
        let json = HeaderValue::from_static("application/json");
        let mut response =
            (self.status(shape), [(header::CONTENT_TYPE, json)], body.to_string()).into_response();
        let headers = response.headers_mut();
        match self.kind {
            Kind::Full | Kind::Stopping => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Kind::WrongToken => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// Left to whom it was asked through, who knows the shape.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}
