use std::borrow::Cow;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::pages::PageError;

/// The media type of a [`Problem`].
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Why there is no answer (RFC 9457). Its type is always `about:blank`: the status says of what kind it is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::server) struct Problem {
    /// In a few words.
    title: Cow<'static, str>,
    /// The HTTP status.
    status: u16,
    /// What failed, on what, and what to do.
    detail: String,
    /// What the resource takes, when that was asked by another method.
    #[serde(skip)]
    allow: Option<String>,
}

impl Problem {
    pub(in crate::server) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").into();
        Self { title, status: status.as_u16(), detail: detail.into(), allow: None }
    }

    /// No token, or none that is good for anything.
    pub(in crate::server) fn unauthorized() -> Self {
        let detail = "This needs a token of an account, as `Authorization: Bearer TOKEN`. This one is missing, unknown or \
                      over; make one at /desk/account.";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// There is no such path.
    pub(in crate::server) fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such path; /api/v1/openapi.json lists all.")
    }

    /// What only the database knows cannot be told.
    pub(in crate::server) fn no_database() -> Self {
        let detail = "The database cannot be asked now; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The resource is not asked by this method.
    pub(in crate::server) fn method(allow: String) -> Self {
        let detail = format!("Here are understood: {allow}.");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        Self::new(error.status_code(), error.tell())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response
            .insert_header((header::CONTENT_TYPE, MEDIA_TYPE))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"portolan\""));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.clone()));
        }
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}
