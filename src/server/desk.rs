//! The desk: where people who have an account keep their sites and hosts, and operators keep all of them. Plain forms that
//! need no script.
//!
//! [`ROUTES`] says who may do what, and is the only place that does: [`answer`] finds out who asks and what about, in the
//! transaction in which the handler then reads or changes. A handler never asks again.

mod access;
mod account;
mod account_token;
pub(super) mod api;
mod block;
mod form;
mod home;
mod host;
mod identity;
mod oidc;
mod operator;
mod opt_in;
mod reply;
mod settings;
mod sign_in;
mod site;
mod snippet;
mod throttle;
mod token;
mod visitor;
mod wish;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload, ServiceConfig},
};
use jiff::SignedDuration;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    access::Decision,
    api::Paging,
    config::SeenConfig,
    pages::PageError,
    state::{Current, State, decided},
};
use crate::{
    database::{
        self, Connection, Database, Part, QueryResult, Time,
        account::Account,
        audit::{self, Subject},
        host::Host,
        secret,
        site::Site,
    },
    mirror::{Role, Scopes},
};
use block::Page;
use form::Form;
use reply::{Next, Refusal, Reply};
use throttle::Throttle;
use visitor::Visitor;

pub use access::{Access, DeskRoute, list_routes};
pub(super) use oidc::Oidc;

/// Requests that ask the database at once; others wait.
const AT_ONCE: usize = 4;

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// That a session is in use is noted once in so long.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// What the desk needs.
pub(super) struct Office {
    database: Arc<Database>,
    turns: Semaphore,
    throttle: Throttle,
    /// May strangers make themselves an account?
    sign_up: bool,
    /// Where one can sign in elsewhere.
    oidc: Option<Oidc>,
    /// How the server is set up.
    seen: SeenConfig,
}

impl Office {
    pub(super) fn new(database: Arc<Database>, sign_up: bool, oidc: Option<Oidc>, seen: SeenConfig) -> Self {
        Self { database, turns: Semaphore::new(AT_ONCE), throttle: Throttle::default(), sign_up, oidc, seen }
    }

    /// Waits for its turn to ask the database.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, PageError> {
        let turn = timeout(TURN, self.turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(PageError::Busy)
    }

    /// What is to be kept of a new password, if the form has one and proves the old one of who asks. Takes long, so that no
    /// transaction waits for it.
    fn prove_password(
        &self,
        form: &Form,
        network: &str,
        find: impl FnOnce(&mut Connection) -> QueryResult<Option<Account>>,
    ) -> Result<Option<String>, Refusal> {
        let new = form.raw("new_password");
        if new.is_empty() {
            return Ok(None);
        }
        secret::check_password(new)?;
        let account = self.database.read(find)?.ok_or(Refusal::SignIn)?;
        if !self.throttle.admits(network, Some(&account.name)) {
            return Err(Refusal::Bad("Too many tries: wait an hour.".to_owned()));
        }
        let hash = self.database.read(|it| database::account::find_password(it, &account.name))?;
        if !secret::verify_password(form.raw("password"), hash.as_deref()) {
            return Err(Refusal::Bad("Your password now: it is wrong.".to_owned()));
        }
        let hash = secret::hash_password(new).map_err(|error| Refusal::Bad(error.to_string()))?;
        Ok(Some(hash))
    }
}

/// Makes a page.
type Show = fn(&mut Desk<'_>) -> Result<Page, Refusal>;

/// Changes something, and says where to go on.
type Change = fn(&mut Desk<'_>) -> Result<Next, Refusal>;

/// A page of the desk, or something that is changed there.
struct Route {
    path: &'static str,
    access: Access,
    /// The lowest role that may.
    least: Role,
    work: Work,
}

enum Work {
    Show(Show),
    /// The page is shown again when the change is refused.
    Change(Change, Show),
}

const fn show(path: &'static str, access: Access, least: Role, show: Show) -> Route {
    Route { path, access, least, work: Work::Show(show) }
}

const fn change(path: &'static str, access: Access, least: Role, change: Change, page: Show) -> Route {
    Route { path, access, least, work: Work::Change(change, page) }
}

/// All that is done at the desk, and who may.
const ROUTES: &[Route] = {
    use Access::{Any, Host, Site};
    use Role::{MirrorAdmin, Operator, Reader};
    &[
        show("/desk", Any, Reader, home::show),
        change("/desk/mirrors", Any, MirrorAdmin, home::begin, home::show),
        show("/desk/account", Any, Reader, account::show),
        change("/desk/account/mail", Any, Reader, account::change_mail, account::show),
        change("/desk/account/password", Any, Reader, account::change_password, account::show),
        change("/desk/account/sessions", Any, Reader, account::end_sessions, account::show),
        change("/desk/account/identities", Any, Reader, identity::link, account::show),
        change("/desk/account/identities/{item}/remove", Any, Reader, identity::unlink, account::show),
        change("/desk/account/erase", Any, Reader, account::erase, account::show),
        change("/desk/account/tokens", Any, Reader, account_token::create, account::show),
        change("/desk/account/tokens/{item}/remove", Any, Reader, account_token::remove, account::show),
        change("/desk/sites", Any, MirrorAdmin, site::create, home::show),
        show("/desk/sites/{site}", Site, Reader, site::show),
        change("/desk/sites/{site}/edit", Site, MirrorAdmin, site::edit, site::show),
        change("/desk/sites/{site}/remove", Site, MirrorAdmin, site::remove, site::show),
        change("/desk/sites/{site}/keepers", Site, MirrorAdmin, site::add_keeper, site::show),
        change(
            "/desk/sites/{site}/keepers/{item}/remove",
            Site,
            MirrorAdmin,
            site::remove_keeper,
            site::show,
        ),
        change("/desk/sites/{site}/hosts", Site, MirrorAdmin, host::create, site::show),
        show("/desk/hosts/{host}", Host, Reader, host::show),
        change("/desk/hosts/{host}/edit", Host, MirrorAdmin, host::edit, host::show),
        change("/desk/hosts/{host}/remove", Host, MirrorAdmin, host::remove, host::show),
        change("/desk/hosts/{host}/drain", Host, MirrorAdmin, host::drain, host::show),
        show("/desk/hosts/{host}/crawl", Host, Reader, host::show_crawl),
        change("/desk/hosts/{host}/crawl", Host, MirrorAdmin, host::crawl, host::show),
        change("/desk/hosts/{host}/opt-in", Host, MirrorAdmin, opt_in::opt_in, host::show),
        change("/desk/hosts/{host}/opt-in/{item}/urls", Host, MirrorAdmin, opt_in::change_urls, host::show),
        change("/desk/hosts/{host}/opt-in/{item}/drain", Host, MirrorAdmin, opt_in::drain, host::show),
        change("/desk/hosts/{host}/opt-in/{item}/remove", Host, MirrorAdmin, opt_in::opt_out, host::show),
        change("/desk/hosts/{host}/netblocks", Host, MirrorAdmin, wish::add_netblock, host::show),
        change(
            "/desk/hosts/{host}/netblocks/{item}/remove",
            Host,
            MirrorAdmin,
            wish::remove_netblock,
            host::show,
        ),
        change("/desk/hosts/{host}/asn", Host, MirrorAdmin, wish::set_asn, host::show),
        change("/desk/hosts/{host}/peers", Host, MirrorAdmin, wish::add_peer, host::show),
        change("/desk/hosts/{host}/peers/{item}/remove", Host, MirrorAdmin, wish::remove_peer, host::show),
        change("/desk/hosts/{host}/wishes/{item}/remove", Host, MirrorAdmin, wish::withdraw, host::show),
        change("/desk/hosts/{host}/tokens", Host, MirrorAdmin, token::create, host::show),
        change("/desk/hosts/{host}/tokens/{item}/remove", Host, MirrorAdmin, token::remove, host::show),
        show("/desk/all", Any, Operator, operator::show_all),
        show("/desk/look", Any, Operator, operator::show_look),
        show("/desk/approvals", Any, Operator, operator::show_approvals),
        change("/desk/approvals/{item}", Any, Operator, operator::settle, operator::show_approvals),
        show("/desk/accounts", Any, Operator, operator::show_accounts),
        show("/desk/accounts/{item}", Any, Operator, operator::show_account),
        change("/desk/accounts/{item}", Any, Operator, operator::edit_account, operator::show_account),
        change(
            "/desk/account-tokens/{item}/remove",
            Any,
            Operator,
            operator::remove_token,
            operator::show_accounts,
        ),
        show("/desk/log", Any, Operator, operator::show_log),
        show("/desk/settings", Any, Operator, settings::show),
        show("/desk/withdrawals", Any, Operator, operator::show_withdrawals),
        change("/desk/withdrawals", Any, Operator, operator::withdraw, operator::show_withdrawals),
        change(
            "/desk/withdrawals/{item}/remove",
            Any,
            Operator,
            operator::restore,
            operator::show_withdrawals,
        ),
    ]
};

/// One request at the desk, with all that is known of it. What it reads or changes is one transaction.
struct Desk<'a> {
    connection: &'a mut Connection,
    account: Account,
    /// What the token of a program is good for.
    scopes: Option<Scopes>,
    /// What the path names, if it names a site or a host. The account may see it, and may change it if the route does.
    site: Option<Site>,
    host: Option<Host>,
    item: String,
    form: &'a Form,
    visitor: &'a Visitor,
    current: &'a Current,
    office: &'a Office,
    /// The form was refused.
    refused: bool,
    /// What is to be kept of a new password.
    new_password: Option<String>,
    now: Time,
}

impl<'a> Desk<'a> {
    /// The site that the path names.
    fn site(&self) -> Result<Site, Refusal> {
        self.site.clone().ok_or(Refusal::Missing)
    }

    /// The host that the path names.
    fn host(&self) -> Result<Host, Refusal> {
        self.host.clone().ok_or(Refusal::Missing)
    }

    /// The number at the end of the path.
    fn number(&self) -> Result<i64, Refusal> {
        self.item.parse().map_err(|_| Refusal::Missing)
    }

    /// Does `work`, and notes in the log what the account changed by it.
    fn noting<T>(
        &mut self,
        subject: Subject,
        work: impl FnOnce(&mut Connection) -> QueryResult<T>,
    ) -> Result<T, Refusal> {
        Ok(audit::noting(self.connection, self.account.name.as_str(), subject, self.now, work)?)
    }

    /// What of a long list is asked for.
    fn paging(&self) -> Result<Paging<'a>, Refusal> {
        let paging = Paging::new(&self.visitor.path, &self.visitor.query);
        paging.map_err(|problem| Refusal::Query(problem.to_string()))
    }

    /// Is this one of those that `?q=` asks for?
    fn seeks(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.visitor.asked("q").to_lowercase())
    }

    fn is_operator(&self) -> bool {
        self.account.role == Role::Operator
    }
}

pub(super) fn routes(config: &mut ServiceConfig) {
    sign_in::routes(config);
    oidc::routes(config);
    let mut paths: Vec<&'static str> = ROUTES.iter().map(|it| it.path).collect();
    paths.dedup();
    for path in paths {
        let mut resource = web::resource(path);
        for route in ROUTES.iter().filter(|it| it.path == path) {
            let handler = move |request, body, state, office| answer(route, request, body, state, office);
            resource = match route.work {
                Work::Show(_) => resource.route(web::get().to(handler)).route(web::head().to(handler)),
                Work::Change(..) => resource.route(web::post().to(handler)),
            };
        }
        config.service(resource.default_service(web::to(async || Err::<HttpResponse, _>(PageError::Method))));
    }
}

/// Finds out who asks and what about, and lets them if they may.
async fn answer(
    route: &'static Route,
    request: HttpRequest,
    body: Payload,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, PageError> {
    decided(&request, Decision::Page);
    let visitor = Visitor::new(&request, &state)?;
    let Some(session) = visitor.session.clone() else { return Ok(Reply::Invite.respond()) };
    let form = match route.work {
        Work::Show(_) => Form::default(),
        Work::Change(..) => {
            let form = Form::read(body).await?;
            visitor.check_form(&form)?;
            if !office.throttle.admits_change(&visitor.network) {
                return Err(PageError::TooMany);
            }
            form
        }
    };
    let _turn = office.turn().await?;
    let current = state.current();
    let (leaving, password) = (visitor.clone(), form.raw("password").to_owned());
    let work = {
        let office = office.clone();
        let named = Named::new(&request);
        move || {
            let request = Request { route, visitor, session, form, named, current };
            request.answer(&office)
        }
    };
    let reply = web::block(work).await.unwrap_or_else(|error| Err(PageError::Internal(error.to_string())));
    match reply {
        Ok(Reply::Leave) => oidc::leave_to_link(&office, &leaving, password).await,
        reply => reply.map(Reply::respond),
    }
}

/// What the path names.
struct Named {
    site: Option<i64>,
    host: Option<i64>,
    item: String,
}

impl Named {
    fn new(request: &HttpRequest) -> Self {
        // What is no number names nothing that is there.
        let number = |name: &str| request.match_info().get(name).map(|it| it.parse().unwrap_or(-1));
        let item = request.match_info().query("item").to_owned();
        Self { site: number("site"), host: number("host"), item }
    }
}

/// A request that is worked on, away from the threads that answer.
struct Request {
    route: &'static Route,
    visitor: Visitor,
    session: String,
    form: Form,
    named: Named,
    current: Arc<Current>,
}

impl Request {
    fn answer(&self, office: &Office) -> Result<Reply, PageError> {
        let database = &*office.database;
        let found = office.prove_password(&self.form, &self.visitor.network, |it| {
            let now = jiff::Timestamp::now().into();
            database::account::find_session(it, secret::hash(&self.session), now)
        });
        let new_password = match found {
            Ok(hash) => hash,
            Err(refusal) => return self.refuse(office, refusal),
        };
        let outcome = match self.route.work {
            Work::Show(show) => database.attempt_read(|it| {
                let mut desk = self.enter(office, it, false)?;
                let page = show(&mut desk)?;
                Ok((Next::Page(page), desk.account))
            }),
            Work::Change(change, _) => database.attempt(&[Part::Hosts], |it| {
                let mut desk = Desk { new_password, ..self.enter(office, it, false)? };
                let next = change(&mut desk)?;
                Ok((next, desk.account))
            }),
        };
        match outcome {
            Ok((next, account)) => {
                self.note_use(database);
                self.reply(StatusCode::OK, next, &account)
            }
            Err(refusal) => self.refuse(office, refusal),
        }
    }

    /// A session that is used goes on. That this cannot be noted is no reason to keep the answer.
    fn note_use(&self, database: &Database) {
        let now: Time = jiff::Timestamp::now().into();
        let noted = database.write_log(|it| {
            database::account::note_session(it, secret::hash(&self.session), now, NOTED_EVERY)
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "that a session is in use could not be noted");
        }
    }

    fn reply(&self, status: StatusCode, next: Next, account: &Account) -> Result<Reply, PageError> {
        match next {
            Next::Page(page) | Next::Secret(page, _) => {
                reply::page(status, &page, &self.visitor, Some((account, &self.session)))
            }
            Next::See(path, note) => Ok(reply::see(&path, note)),
            Next::SignOut => Ok(Reply::SignOut),
            Next::Leave => Ok(Reply::Leave),
        }
    }

    /// Shows the page of a form again, with what is wrong and all that was typed.
    fn refuse(&self, office: &Office, refusal: Refusal) -> Result<Reply, PageError> {
        let (Refusal::Bad(why), Work::Change(_, show)) = (&refusal, &self.route.work) else {
            return match refusal {
                Refusal::SignIn => Ok(Reply::Invite),
                other => Err(other.into()),
            };
        };
        let outcome = office.database.attempt_read(|it| {
            let mut desk = self.enter(office, it, true)?;
            let page = show(&mut desk)?;
            Ok((Page { refused: Some(why.clone()), ..page }, desk.account))
        });
        let (page, account) = outcome.map_err(|it: Refusal| PageError::from(it))?;
        self.reply(StatusCode::UNPROCESSABLE_ENTITY, Next::Page(page), &account)
    }

    /// Who asks, and may they?
    fn enter<'a>(
        &'a self,
        office: &'a Office,
        connection: &'a mut Connection,
        refused: bool,
    ) -> Result<Desk<'a>, Refusal> {
        let now: Time = jiff::Timestamp::now().into();
        let hash = secret::hash(&self.session);
        let account = database::account::find_session(connection, hash, now)?.ok_or(Refusal::SignIn)?;
        if account.role < self.route.least {
            return Err(Refusal::Forbidden);
        }
        let (site, host) = access::find(connection, &account, self.named.site, self.named.host)?;
        Ok(Desk {
            connection,
            account,
            scopes: None,
            site,
            host,
            item: self.named.item.clone(),
            form: &self.form,
            visitor: &self.visitor,
            current: &self.current,
            office,
            refused,
            new_password: None,
            now,
        })
    }
}
