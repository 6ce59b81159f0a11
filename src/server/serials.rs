//! `GET /api/v1/serials?category=NAME`: does a mirror's script need to copy at all? One small answer for all the
//! categories it carries, from the snapshot.

use std::fmt::Write as _;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
    web::Data,
};

use super::{
    access::Decision,
    lists::query,
    state::{State, decided},
};
use crate::mirrorlist::{Content, rows::CategoryRow};

/// The most categories in one question.
const MOST_CATEGORIES: usize = 100;

/// Why a question for serials is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum SerialsError {
    #[error("serials are asked for by GET")]
    Method,
    #[error("category is missing: which categories?")]
    None,
    #[error("at most {MOST_CATEGORIES} categories at once")]
    TooMany,
    #[error("there is no category {0}")]
    Unknown(String),
}

impl ResponseError for SerialsError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::None | Self::TooMany => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Self::Method = self {
            response.insert_header((header::ALLOW, "GET, HEAD"));
        }
        let body = serde_json::json!({ "error": self.to_string() });
        response.insert_header((header::CACHE_CONTROL, "no-store")).json(body)
    }
}

/// A line `CATEGORY SERIAL` for each category of the query, in its order. The entity tag is made of the serials
/// alone, joined by `-`: a mirror knows it from its own `zz/serial`, and gets 304 as long as that is the newest.
pub(super) async fn answer(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, SerialsError> {
    let asked: Vec<String> =
        query(&request).into_iter().filter(|it| it.0 == "category").map(|it| it.1).collect();
    match asked.len() {
        0 => return Err(SerialsError::None),
        1..=MOST_CATEGORIES => {}
        _ => return Err(SerialsError::TooMany),
    }
    let current = state.current();
    let find = |name: &String| find(&current.snapshot.content, name);
    let categories = asked.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    decided(&request, Decision::List);
    let serials: Vec<_> = categories.iter().map(|it| it.serial.to_string()).collect();
    let tag = format!("\"{}\"", serials.join("-"));
    let known =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == tag.as_bytes());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, "no-cache"));
    if known {
        return Ok(response.finish());
    }
    let mut text = String::new();
    for category in categories {
        writeln!(text, "{} {}", category.name, category.serial).expect("a String takes everything");
    }
    Ok(response.content_type("text/plain; charset=utf-8").body(text))
}

/// Answers other methods.
pub(super) async fn refuse_method() -> Result<HttpResponse, SerialsError> {
    Err(SerialsError::Method)
}

fn find<'a>(content: &'a Content, name: &str) -> Result<&'a CategoryRow, SerialsError> {
    let mut categories = content.list_categories().map(|it| it.0);
    // What was asked for comes from a stranger, and is cut before it is shown.
    categories
        .find(|it| it.name == name)
        .ok_or_else(|| SerialsError::Unknown(name.chars().take(64).collect()))
}
