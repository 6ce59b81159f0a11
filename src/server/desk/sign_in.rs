//! Signing in, signing up, signing out.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload, ServiceConfig},
};

use super::{
    Office, PageError,
    block::{Blank, Block, Kind, Page},
    form::Form,
    oidc,
    reply::{self, Refusal, Reply},
    visitor::Visitor,
};
use crate::{
    database::{
        Database, Time,
        account::{self, NewAccount},
        audit::{self, Subject},
        secret,
    },
    mirror::{AccountName, Role},
    server::{
        access::Decision,
        state::{State, decided},
    },
};

/// What is said whatever was wrong: nobody learns which accounts there are.
const WRONG: &str = "The name or the password is wrong.";

pub(super) fn routes(config: &mut ServiceConfig) {
    let refuse = || web::to(async || Err::<HttpResponse, _>(PageError::Method));
    config
        .service(
            web::resource("/sign-in")
                .route(web::get().to(show))
                .route(web::head().to(show))
                .route(web::post().to(sign_in))
                .default_service(refuse()),
        )
        .service(
            web::resource("/sign-up")
                .route(web::get().to(show_sign_up))
                .route(web::head().to(show_sign_up))
                .route(web::post().to(sign_up))
                .default_service(refuse()),
        )
        .service(web::resource("/sign-out").route(web::post().to(sign_out)).default_service(refuse()));
}

async fn show(
    request: HttpRequest,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    reply::page(StatusCode::OK, &sign_in_page(&office, None), &visitor, None).map(Reply::respond)
}

pub(super) fn sign_in_page(office: &Office, typed: Option<&Form>) -> Page {
    let mut page = Page::new("Sign in");
    let mut form = Blank::new("/sign-in", "Sign in").field(Kind::Text, "name", "Name", "", "").field(
        Kind::Password,
        "password",
        "Password",
        "",
        "",
    );
    if let Some(typed) = typed {
        form.refill(typed);
    }
    page.text("For those who run a mirror, and for operators. Pulling images needs no account.");
    if let Some(oidc) = &office.oidc {
        page.form(Blank::new(oidc::START, format!("Sign in with {}", oidc.name())));
    }
    page.form(form);
    if office.sign_up {
        page.add(Block::Link("/sign-up".to_owned(), "Make an account".to_owned()));
    } else if office.oidc.as_ref().is_none_or(|it| !it.config.sign_up) {
        page.text("Accounts are made by the operators of this registry.");
    }
    page
}

async fn sign_in(
    request: HttpRequest,
    body: Payload,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    visitor.check_origin()?;
    let form = Form::read(body).await?;
    let name: Option<AccountName> = form.text("name").parse().ok();
    if !office.throttle.admits(&visitor.network, name.as_ref()) {
        return Err(PageError::TooMany);
    }
    let session = enter(&office, name, form.raw("password").to_owned()).await?;
    match session {
        Some(session) => Ok(Reply::SignedIn(session).respond()),
        None => refuse(&visitor, sign_in_page(&office, Some(&form)), WRONG),
    }
}

fn refuse(visitor: &Visitor, page: Page, why: &str) -> Result<HttpResponse, PageError> {
    let page = Page { refused: Some(why.to_owned()), ..page };
    reply::page(StatusCode::UNPROCESSABLE_ENTITY, &page, visitor, None).map(Reply::respond)
}

/// Does `work` with the database, away from the threads that answer, when it is its turn.
pub(super) async fn apart<T: Send + 'static>(
    office: &Data<Office>,
    work: impl FnOnce(&Database) -> Result<T, PageError> + Send + 'static,
) -> Result<T, PageError> {
    let _turn = office.turn().await?;
    let database = office.database.clone();
    let done = web::block(move || work(&database)).await;
    done.unwrap_or_else(|error| Err(PageError::Internal(error.to_string())))
}

/// A new session, if name and password are right. It takes as long if they are not.
async fn enter(
    office: &Data<Office>,
    name: Option<AccountName>,
    password: String,
) -> Result<Option<String>, PageError> {
    apart(office, move |database| {
        let hash = match &name {
            Some(name) => {
                database.read(|it| account::find_password(it, name)).map_err(PageError::Database)?
            }
            None => None,
        };
        let (true, Some(name)) = (secret::verify_password(&password, hash.as_deref()), name) else {
            return Ok(None);
        };
        begin(database, &name, hash)
    })
    .await
}

/// Begins a session, if what is kept of the password is still this: it may have been changed in between.
fn begin(
    database: &Database,
    name: &AccountName,
    verified: Option<String>,
) -> Result<Option<String>, PageError> {
    let session = secret::new().map_err(|error| PageError::Internal(error.to_string()))?;
    let (hash, now) = (secret::hash(&session), Time::from(jiff::Timestamp::now()));
    let begun: Result<bool, Refusal> = database.attempt(&[], |it| {
        let is_same = verified.is_some() && account::find_password(it, name)? == verified;
        let Some(account) = account::find(it, name)?.filter(|_| is_same) else { return Ok(false) };
        account::begin_session(it, account.id, hash, now)?;
        Ok(true)
    });
    Ok(begun?.then_some(session))
}

async fn sign_out(
    request: HttpRequest,
    body: Payload,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    visitor.check_form(&Form::read(body).await?)?;
    let session = visitor.session.unwrap_or_default();
    apart(&office, move |database| {
        let ended = database.write_log(|it| account::end_session(it, secret::hash(&session)));
        ended.map_err(PageError::Database)
    })
    .await?;
    Ok(Reply::SignOut.respond())
}

async fn show_sign_up(
    request: HttpRequest,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    check_open(&office)?;
    reply::page(StatusCode::OK, &sign_up_page(None), &visitor, None).map(Reply::respond)
}

fn check_open(office: &Office) -> Result<(), PageError> {
    let closed = "Accounts are made by the operators of this registry: ask them for one.";
    if office.sign_up { Ok(()) } else { Err(PageError::Missing(closed.to_owned())) }
}

fn sign_up_page(typed: Option<&Form>) -> Page {
    let mut page = Page::new("Make an account");
    let mut form = Blank::new("/sign-up", "Make it")
        .field(Kind::Text, "name", "Name", "", "3 to 40 of a-z, 0-9, dot, hyphen and underscore.")
        .field(Kind::NewPassword, "password", "Password", "", "At least 10 characters.");
    if let Some(typed) = typed {
        form.refill(typed);
    }
    page.text("With an account you register your mirror and keep it. Next comes the mirror itself: three more fields.")
        .form(form);
    page
}

async fn sign_up(
    request: HttpRequest,
    body: Payload,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    check_open(&office)?;
    visitor.check_origin()?;
    let form = Form::read(body).await?;
    let new = form.has_only(&["name", "password"]).and_then(|()| {
        let name: AccountName = form.value("name", "Name")?;
        secret::check_password(form.raw("password"))?;
        Ok(name)
    });
    let name = match new {
        Ok(name) => name,
        Err(Refusal::Bad(why)) => return refuse(&visitor, sign_up_page(Some(&form)), &why),
        Err(other) => return Err(other.into()),
    };
    if !office.throttle.admits_sign_up(&visitor.network) {
        return Err(PageError::TooMany);
    }
    let password = form.raw("password").to_owned();
    let made = apart(&office, move |database| make(database, name, &password)).await;
    match made {
        Ok(session) => Ok(Reply::SignedIn(session).respond()),
        Err(PageError::Form(why)) => refuse(&visitor, sign_up_page(Some(&form)), &why),
        Err(other) => Err(other),
    }
}

fn make(database: &Database, name: AccountName, password: &str) -> Result<String, PageError> {
    let password = secret::hash_password(password).map_err(|error| PageError::Internal(error.to_string()))?;
    let now = Time::from(jiff::Timestamp::now());
    let new = NewAccount {
        name: name.clone(),
        mail: String::new(),
        password: Some(password.clone()),
        role: Role::MirrorAdmin,
        created_at: now,
    };
    let made: Result<(), Refusal> = database.attempt(&[], |it| {
        if account::find(it, &name)?.is_some() {
            return Err(Refusal::Bad("This name cannot be had. Choose another one.".to_owned()));
        }
        let account = account::insert(it, &new)?;
        Ok(audit::note_new(it, name.as_str(), Subject::Account(account.id), now)?)
    });
    made?;
    let begun = begin(database, &name, Some(password))?;
    begun.ok_or_else(|| PageError::Internal("a new account cannot sign in".to_owned()))
}
