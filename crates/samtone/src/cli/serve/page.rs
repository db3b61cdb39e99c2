//! The page to try a search by.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

static PAGE: LazyLock<String> = LazyLock::new(|| {
    samtone_report::served_page(
        "samtone serve",
        include_str!("page/page.css"),
        include_str!("page/page.html"),
        include_str!("page/page.js"),
    )
});

/// The same for all: what is searched it asks for itself.
pub(super) fn page() -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    // What its own policy cannot say: nobody shows it inside another page.
    let framed = HeaderValue::from_static("frame-ancestors 'none'");
    let headers = [(header::CONTENT_TYPE, html), (header::CONTENT_SECURITY_POLICY, framed)];
    (headers, PAGE.as_str()).into_response()
}
