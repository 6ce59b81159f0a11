use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use askama::Template;

use super::{
    block::{Block, Cell, Kind, Page},
    visitor::{self, Visitor},
};
use crate::{
    database::{self, QueryError, account::Account, secret::SecretError},
    mirror::Role,
    server::pages::{Frame, PageError, Signed, respond},
};

/// Where to go on after a change.
pub(super) enum Next {
    /// To another page, which tells by one of [`NOTES`] what was done.
    See(String, Done),
    /// This one, now.
    Page(Page),
    /// This one, now: it shows a secret, this once. Programs get the secret alone.
    Secret(Page, String),
    /// The session is over.
    SignOut,
    /// To the provider, to link who it is there.
    Leave,
}

/// What was done.
#[derive(Clone, Copy)]
pub(super) enum Done {
    Saved,
    Removed,
    Waits,
    OptedIn,
    OptedOut,
    Due,
    Withdrawn,
    Linked,
}

impl Done {
    const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Saved, "saved", "Saved. Answers follow within 2 seconds."),
        (Self::Removed, "removed", "Removed."),
        (
            Self::Waits,
            "waits",
            "This would draw clients from elsewhere, so an operator looks at it first. Nothing else is to be done here.",
        ),
        (
            Self::OptedIn,
            "opted-in",
            "Opted in. A crawl looks at the host now; clients are sent to it for what it was found to hold.",
        ),
        (
            Self::OptedOut,
            "opted-out",
            "Opted out. No client is sent to the host for it any more, from 2 seconds on.",
        ),
        (Self::Due, "due", "A crawler looks at the host next."),
        (Self::Withdrawn, "withdrawn", "Withdrawn from all answers within 2 seconds."),
        (Self::Linked, "linked", "Linked. You can sign in by it from now on."),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// In a sentence.
    pub(super) fn tell(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// Does an operator have to agree first?
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Waits)
    }

    /// What a page tells, when its address has such a word.
    fn told(word: &str) -> Option<&'static str> {
        Self::ALL.iter().find(|it| it.1 == word).map(|it| it.2)
    }
}

/// Why something is not shown or done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The session is over.
    SignIn,
    Missing,
    Forbidden,
    /// What was typed is not right, for this reason.
    Bad(String),
    /// What the query asks for cannot be, for this reason.
    Query(String),
    Database(database::Error),
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        database::Error::from(error).into()
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        Self::Bad(format!("Password: {error}."))
    }
}

impl From<database::Error> for Refusal {
    fn from(error: database::Error) -> Self {
        match error {
            database::Error::Exists(what) => {
                let mut letters = what.chars();
                let first = letters.next().map(|it| it.to_uppercase().to_string()).unwrap_or_default();
                Self::Bad(format!("{first}{}.", letters.as_str()))
            }
            other => Self::Database(other),
        }
    }
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SignIn | Refusal::Forbidden => Self::Forbidden,
            Refusal::Missing => Self::Missing("There is nothing here that you keep.".to_owned()),
            Refusal::Bad(why) | Refusal::Query(why) => Self::Form(why),
            Refusal::Database(error) => Self::Database(error),
        }
    }
}

#[derive(Template)]
#[template(path = "desk.html")]
struct DeskPage<'a> {
    frame: Frame,
    page: &'a Page,
    told: Option<&'static str>,
    refused: Option<&'a str>,
}

impl DeskPage<'_> {
    fn seal(&self) -> &str {
        self.frame.signed.as_ref().map_or("", |it| &it.seal)
    }
}

/// An answer before it is one: it can go from thread to thread.
pub(super) enum Reply {
    /// The last: it looks anew after so many seconds.
    Page(StatusCode, String, Option<u32>),
    See(String),
    /// To the desk, with a new session.
    SignedIn(String),
    SignOut,
    /// To where one signs in.
    Invite,
    /// To the provider: that takes more than is known here.
    Leave,
}

impl Reply {
    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::Page(status, body, again) => {
                let mut response = respond(status, body);
                let headers = response.headers_mut();
                headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
                if let Some(seconds) = again {
                    headers.insert(header::REFRESH, seconds.into());
                }
                response
            }
            Self::See(path) => go(&path).finish(),
            Self::SignedIn(session) => go("/desk").cookie(visitor::cookie(session)).finish(),
            Self::SignOut => go("/sign-in").cookie(visitor::no_cookie()).finish(),
            Self::Invite | Self::Leave => go("/sign-in").finish(),
        }
    }
}

fn go(path: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((header::LOCATION, path)).insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

/// Makes a page; `session` is that of who is signed in.
pub(super) fn page(
    status: StatusCode,
    page: &Page,
    visitor: &Visitor,
    session: Option<(&Account, &str)>,
) -> Result<Reply, PageError> {
    let signed = session.map(|(account, session)| Signed {
        name: account.name.to_string(),
        is_operator: account.role == Role::Operator,
        seal: visitor::seal(session),
    });
    let (title, registry) = (page.title.clone(), visitor.registry.clone());
    let frame = Frame { title, registry, section: "desk", has_desk: true, signed };
    let told = Done::told(&visitor.done).filter(|_| status == StatusCode::OK);
    let refused = page.refused.as_deref();
    let body = DeskPage { frame, page, told, refused }.render();
    let body = body.map_err(|error| PageError::Internal(error.to_string()))?;
    Ok(Reply::Page(status, body, page.again))
}

/// Sends the browser to another page, which tells what was done.
pub(super) fn see(path: &str, done: Done) -> Reply {
    Reply::See(format!("{path}?done={}", done.word()))
}
