use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::{Next, Refusal};
use crate::{
    database::{self, QueryError},
    server::{
        api::{self, BASE, Problem},
        pages::PageError,
    },
};

/// What was done.
#[derive(Serialize, JsonSchema)]
pub(super) struct Done {
    /// In one word, for programs: `saved`, `removed`, `waits`, `opted-in`, `opted-out`, `due`, `withdrawn`, `made`, `ended`.
    done: &'static str,
    /// In a sentence, for people.
    message: &'static str,
    /// Where its outcome is seen.
    see: Option<String>,
    /// A new token. It is not shown again.
    token: Option<String>,
}

/// An answer before it is one: it can go from thread to thread.
pub(super) enum Answer {
    /// With its version, if it has one.
    Shown(Value, Option<String>),
    /// With the version that an edit has made.
    Done(StatusCode, Done, Option<String>),
}

impl Answer {
    /// Of a change; `is_new`: it makes something.
    pub(super) fn of_change(next: Next, is_new: bool, version: Option<String>) -> Self {
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        match next {
            Next::See(path, done) => {
                let status = if done.waits() { StatusCode::ACCEPTED } else { status };
                let done =
                    Done { done: done.word(), message: done.tell(), see: Some(address(&path)), token: None };
                Self::Done(status, done, version)
            }
            Next::Secret(_, secret) => {
                let message = "Made. It is shown this once.";
                Self::Done(status, Done { done: "made", message, see: None, token: Some(secret) }, None)
            }
            Next::SignOut | Next::Page(_) | Next::Leave => {
                let message = "Done. All sessions of the account have ended.";
                Self::Done(StatusCode::OK, Done { done: "ended", message, see: None, token: None }, None)
            }
        }
    }

    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::Shown(value, version) => {
                let mut response = HttpResponse::Ok();
                if let Some(next) = value.get("next").and_then(Value::as_str) {
                    response.insert_header((header::LINK, format!("<{next}>; rel=\"next\"")));
                }
                if let Some(version) = version {
                    response.insert_header((header::ETAG, version));
                }
                api::json(&mut response, &value)
            }
            Self::Done(status, done, version) => {
                let mut response = HttpResponse::build(status);
                if let Some(version) = version {
                    response.insert_header((header::ETAG, version));
                }
                if let Some(see) = done.see.as_ref().filter(|_| status == StatusCode::CREATED) {
                    response.insert_header((header::LOCATION, see.clone()));
                }
                api::json(&mut response, &done)
            }
        }
    }
}

/// Where programs find what people find at this path of the desk.
fn address(path: &str) -> String {
    match path.strip_prefix("/desk").unwrap_or(path) {
        "" => format!("{BASE}/sites"),
        rest => format!("{BASE}{rest}"),
    }
}

/// The version of something: an ETag of what can be changed of it (RFC 9110, 8.8.3).
pub(super) fn version(value: &Value, fields: &[&str]) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update(format!("{field}={}\n", value.get(field).unwrap_or(&Value::Null)));
    }
    let digits: String = hash.finalize().iter().take(16).map(|it| format!("{it:02x}")).collect();
    format!("\"{digits}\"")
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SignIn => Self::unauthorized(),
            Refusal::Bad(why) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, why),
            other => PageError::from(other).into(),
        }
    }
}

impl From<database::Error> for Problem {
    fn from(error: database::Error) -> Self {
        Refusal::from(error).into()
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Refusal::from(error).into()
    }
}
