//! Signing in at a provider of OpenID Connect, and linking who somebody is there with an account here.

mod admission;
mod flight;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, Payload, ServiceConfig},
};

use super::{
    Office, PageError,
    block::{Block, Page},
    form::Form,
    reply::{self, Done, Refusal, Reply},
    sign_in::{apart, sign_in_page},
    visitor::{self, Visitor},
};
use crate::{
    connector::oidc::{CALLBACK, Departure, OidcConfig, OidcError, Person, Provider, ProviderError, Return},
    database::{Connection, Database, Time, account, secret},
    server::{
        access::Decision,
        state::{State, decided},
    },
};
use admission::Admission;
pub(super) use admission::set_role;
pub(super) use flight::LASTS;
use flight::{Flight, Purpose};

/// Bytes of a code: longer ones are none.
const LONGEST_CODE: usize = 4 * 1024;

/// Where the way to the provider begins.
pub(super) const START: &str = "/sign-in/oidc";

/// The provider, and what it is good for here.
pub(in crate::server) struct Oidc {
    provider: Provider,
    pub(super) config: OidcConfig,
    /// The host name of `public_url`, with the port if any.
    host: String,
}

impl Oidc {
    /// `None` if no provider is configured.
    pub(in crate::server) fn new(config: &OidcConfig) -> Result<Option<Self>, OidcError> {
        let Some(provider) = Provider::new(config)? else { return Ok(None) };
        // As browsers write it: in small letters, without the scheme's own port.
        let host =
            url::Url::parse(&config.public_url).map(|it| it.authority().to_owned()).unwrap_or_default();
        Ok(Some(Self { provider, config: config.clone(), host }))
    }

    /// What people call it.
    pub(in crate::server) fn name(&self) -> &str {
        &self.config.name
    }
}

pub(super) fn routes(config: &mut ServiceConfig) {
    let refuse = || web::to(async || Err::<HttpResponse, _>(PageError::Method));
    config
        .service(web::resource(START).route(web::post().to(start)).default_service(refuse()))
        .service(web::resource(CALLBACK).route(web::get().to(land)).default_service(refuse()));
}

async fn start(
    request: HttpRequest,
    body: Payload,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    visitor.check_origin()?;
    Form::read(body).await?.has_only(&[])?;
    leave(&office, &visitor, Purpose::SignIn).await
}

/// Sends somebody to the provider. By a page that goes on by itself: a form leads to no other site by our policy, and a
/// provider may well send people from one of its own to the next.
async fn leave(office: &Office, visitor: &Visitor, purpose: Purpose) -> Result<HttpResponse, PageError> {
    let oidc = find(office)?;
    if !office.throttle.admits_journey(&visitor.network) {
        return Err(PageError::TooMany);
    }
    if !visitor.registry.eq_ignore_ascii_case(&oidc.host) {
        let mut page = Page::new(oidc.name());
        page.text("This way leads through another address of this registry.");
        page.add(Block::Link(
            format!("{}/sign-in", oidc.config.public_url.trim_end_matches('/')),
            "Sign in there".to_owned(),
        ));
        return reply::page(StatusCode::OK, &page, visitor, None).map(Reply::respond);
    }
    let session = visitor.session.as_deref().unwrap_or_default();
    let flight =
        Flight::new(purpose, session, now()).map_err(|error| PageError::Internal(error.to_string()))?;
    let (state, nonce, verifier) = (flight.state(), flight.nonce(), flight.verifier());
    let departure = Departure { state: &state, nonce: &nonce, verifier: &verifier };
    let url = match oidc.provider.send(&departure).await {
        Ok(url) => url.to_string(),
        Err(error) => return refuse(office, oidc, visitor, purpose, tell(oidc, &error)),
    };
    let mut page = Page::new(oidc.name());
    page.text("Your browser goes on by itself.").add(Block::Link(url.clone(), "Go on".to_owned()));
    let mut response = reply::page(StatusCode::OK, &page, visitor, None)?.respond();
    let refresh = header::HeaderValue::from_str(&format!("0; url={url}"));
    let refresh = refresh.map_err(|error| PageError::Internal(error.to_string()))?;
    response.headers_mut().insert(header::REFRESH, refresh);
    add_cookie(&mut response, &flight.cookie())?;
    Ok(response)
}

/// The same to link who somebody is there. A session alone must not be enough to let somebody in for good: the password is
/// asked for, if there is one.
pub(super) async fn leave_to_link(
    office: &Data<Office>,
    visitor: &Visitor,
    password: String,
) -> Result<HttpResponse, PageError> {
    let (inner, network) = (office.clone(), visitor.network.clone());
    let session = secret::hash(visitor.session.as_deref().unwrap_or_default());
    let is_proven = apart(office, move |database| {
        let found = database.read(|it| {
            let now = Time::from(jiff::Timestamp::now());
            let Some(account) = account::find_session(it, session, now)? else { return Ok(None) };
            let hash = account::find_password(it, &account.name)?;
            Ok(Some((account.name, hash)))
        });
        let (name, hash) = found.map_err(PageError::Database)?.ok_or(PageError::Forbidden)?;
        if hash.is_none() {
            return Ok(true);
        }
        if !inner.throttle.admits(&network, Some(&name)) {
            return Err(PageError::TooMany);
        }
        Ok(secret::verify_password(&password, hash.as_deref()))
    })
    .await?;
    if is_proven {
        return leave(office, visitor, Purpose::Link).await;
    }
    let why = (StatusCode::UNPROCESSABLE_ENTITY, "Your password here: it is wrong.".to_owned());
    refuse(office, find(office)?, visitor, Purpose::Link, why)
}

/// Takes in who comes back. The browser forgets the flight, however it ends.
async fn land(
    request: HttpRequest,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    let oidc = find(&office)?;
    if !office.throttle.admits_journey(&visitor.network) {
        return Err(PageError::TooMany);
    }
    let session = visitor.session.as_deref().unwrap_or_default();
    let flight = Flight::find(&request, session, now()).filter(|it| it.is_state(visitor.asked("state")));
    let purpose = flight.as_ref().map_or(Purpose::SignIn, |it| it.purpose);
    let landed = match flight {
        Some(flight) => welcome(&office, oidc, &visitor, &flight).await,
        None => Err(Failure::Refused(
            "This was not begun in this browser, or it was begun too long ago: begin again.".to_owned(),
        )),
    };
    let mut response = match landed {
        Ok(reply) => reply,
        Err(Failure::Refused(why)) => {
            refuse(&office, oidc, &visitor, purpose, (StatusCode::UNPROCESSABLE_ENTITY, why))?
        }
        Err(Failure::Provider(error)) => refuse(&office, oidc, &visitor, purpose, tell(oidc, &error))?,
        Err(Failure::Page(error)) => actix_web::ResponseError::error_response(&error),
    };
    add_cookie(&mut response, &flight::no_cookie())?;
    Ok(response)
}

/// Why somebody who has come back is not taken in.
enum Failure {
    Refused(String),
    Provider(ProviderError),
    Page(PageError),
}

impl From<PageError> for Failure {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

async fn welcome(
    office: &Data<Office>,
    oidc: &Oidc,
    visitor: &Visitor,
    flight: &Flight,
) -> Result<HttpResponse, Failure> {
    let name = oidc.name();
    match visitor.asked("error") {
        "" => {}
        "access_denied" => {
            return Err(Failure::Refused(format!("{name}: it was not allowed to tell who you are.")));
        }
        other => {
            tracing::warn!(error = ?other.chars().take(40).collect::<String>(), "the provider signs nobody in");
            return Err(Failure::Refused(format!(
                "{name} signs nobody in now. The operators find it in their log."
            )));
        }
    }
    let code = visitor.asked("code");
    if !(1..=LONGEST_CODE).contains(&code.len()) {
        return Err(Failure::Refused(format!("{name} has sent you back without an answer: begin again.")));
    }
    let issuer = visitor.query.iter().find(|it| it.0 == "iss").map(|it| it.1.as_str());
    let (nonce, verifier) = (flight.nonce(), flight.verifier());
    let back = Return { code, issuer, nonce: &nonce, verifier: &verifier };
    let person = oidc.provider.receive(&back).await.map_err(Failure::Provider)?;
    // A provider gives a token for a code only once; should it not, we do.
    if !office.throttle.admits_landing(&flight.state()) {
        return Err(Failure::Refused("This was used already: begin again.".to_owned()));
    }
    let session = visitor.session.clone().unwrap_or_default();
    match flight.purpose {
        Purpose::SignIn => {
            let session = sign_in(office, person, visitor.network.clone()).await?;
            Ok(Reply::SignedIn(session).respond())
        }
        Purpose::Link => {
            let session = link(office, person, session).await?;
            let mut response = reply::see("/desk/account", Done::Linked).respond();
            add_cookie(&mut response, &visitor::cookie(session))?;
            Ok(response)
        }
    }
}

/// A new session of the account that somebody has or gets.
async fn sign_in(office: &Data<Office>, person: Person, network: String) -> Result<String, Failure> {
    let (session, hash) = new_session()?;
    let inner = office.clone();
    let admission = apart(office, move |database| {
        let config = &find(&inner)?.config;
        let makes = database.read(|it| admission::makes_account(it, config, &person));
        if makes.map_err(PageError::Database)? && !inner.throttle.admits_sign_up(&network) {
            return Err(PageError::TooMany);
        }
        attempt(database, |it| {
            let at = Time::from(jiff::Timestamp::now());
            let admission = admission::admit(it, config, &person, at)?;
            if let Admission::Account(account) = &admission {
                account::begin_session(it, account.id, hash, at)?;
            }
            Ok(admission)
        })
    })
    .await?;
    match admission {
        Admission::Account(_) => Ok(session),
        Admission::Off(name) => Err(Failure::Refused(format!("Your account {name} is switched off: ask the operators."))),
        Admission::Stranger => Err(Failure::Refused(
            "You have no account here yet. If you have one with a password, sign in by that and link the two at Account; else ask the \
             operators for one."
                .to_owned(),
        )),
    }
}

/// A new session instead of the one in which an account was linked.
async fn link(office: &Data<Office>, person: Person, old: String) -> Result<String, Failure> {
    let (session, hash) = new_session()?;
    let inner = office.clone();
    let linked = apart(office, move |database| {
        let config = &find(&inner)?.config;
        attempt(database, |it| {
            let (at, old) = (Time::from(jiff::Timestamp::now()), secret::hash(&old));
            let account = account::find_session(it, old, at)?.ok_or(Refusal::SignIn)?;
            let account = admission::link(it, config, &person, account, at)?;
            account::end_session(it, old)?;
            Ok(account::begin_session(it, account.id, hash, at)?)
        })
    })
    .await;
    match linked {
        Ok(()) => Ok(session),
        Err(PageError::Form(why)) => Err(Failure::Refused(why)),
        Err(other) => Err(other.into()),
    }
}

fn attempt<T>(
    database: &Database,
    work: impl FnOnce(&mut Connection) -> Result<T, Refusal>,
) -> Result<T, PageError> {
    Ok(database.attempt(&[], work)?)
}

fn new_session() -> Result<(String, crate::database::Sha256), PageError> {
    let session = secret::new().map_err(|error| PageError::Internal(error.to_string()))?;
    let hash = secret::hash(&session);
    Ok((session, hash))
}

fn find(office: &Office) -> Result<&Oidc, PageError> {
    let none = || PageError::Missing("Nobody signs in here at another place.".to_owned());
    office.oidc.as_ref().ok_or_else(none)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Shows why, where one can do something about it.
fn refuse(
    office: &Office,
    oidc: &Oidc,
    visitor: &Visitor,
    purpose: Purpose,
    (status, why): (StatusCode, String),
) -> Result<HttpResponse, PageError> {
    let page = match purpose {
        Purpose::SignIn => sign_in_page(office, None),
        Purpose::Link => {
            let mut page = Page::new(oidc.name());
            page.add(Block::Link("/desk/account".to_owned(), "Back to the account".to_owned()));
            page
        }
    };
    let page = Page { refused: Some(why), ..page };
    reply::page(status, &page, visitor, None).map(Reply::respond)
}

/// What people are told of the provider's failure; the log has all of it.
fn tell(oidc: &Oidc, error: &ProviderError) -> (StatusCode, String) {
    tracing::warn!(%error, "a sign-in by OpenID Connect failed");
    let name = oidc.name();
    match error {
        ProviderError::Unreachable { .. } | ProviderError::Answer { .. } => {
            let why = format!(
                "{name} cannot be asked now. Try again later; who has a password here signs in by that."
            );
            (StatusCode::BAD_GATEWAY, why)
        }
        ProviderError::Spent(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "This was used already, or took too long: begin again.".to_owned(),
        ),
        ProviderError::Token(_) | ProviderError::Issuer(_) => {
            let why = format!(
                "What {name} says of you does not hold. Begin again; if that does not help, tell the operators."
            );
            (StatusCode::UNPROCESSABLE_ENTITY, why)
        }
    }
}

fn add_cookie(response: &mut HttpResponse, cookie: &actix_web::cookie::Cookie<'_>) -> Result<(), PageError> {
    response.add_cookie(cookie).map_err(|error| PageError::Internal(error.to_string()))
}
