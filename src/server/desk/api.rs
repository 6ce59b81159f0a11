//! The desk's part of the REST API: what an account can see and change, for programs that have a token of it.
//!
//! [`OPERATIONS`] says who may do what, as the desk's `ROUTES` does for people. Changes are the same; what is sent stands to
//! them as a form does.

mod answer;
mod body;
mod operation;
mod read;
mod request;

use actix_web::{
    HttpResponse,
    http::Method,
    web::{self, ServiceConfig},
};

use super::{
    Access::{Any, Host, Site},
    DeskRoute, account, account_token, home, host, operator, opt_in, settings, site, token, wish,
};
use crate::{
    database::{account_token::AccountToken, host_token::HostToken, identity::Identity},
    mirror::{
        Role::{MirrorAdmin, Operator, Reader},
        Scope,
    },
    server::api::{BASE, Entry, Listed, PAGING, Parameter, Problem, may, of},
    teller::{AccountView, HostView, SiteView},
};
use body::body;
use operation::{Needs, Operation, Resource};

const SITE: Resource = Resource { read: read::site, fields: read::site_fields };
const HOST: Resource = Resource { read: read::host, fields: read::host_fields };
const OWN_ACCOUNT: Resource = Resource { read: read::own_account, fields: read::mail_fields };
const ACCOUNT: Resource = Resource { read: read::account, fields: read::account_fields };

/// Of a list that can be asked for one of its items.
const BY_NAME: &[Parameter] = &[PAGING[0], PAGING[1], may("name", "only the one of this name")];

/// Of a list that can be searched.
const BY_WORD: &[Parameter] =
    &[PAGING[0], PAGING[1], may("q", "only those that have these letters in their name")];

/// Of the log.
const LOG: &[Parameter] = &[
    PAGING[0],
    PAGING[1],
    may("subject", "only of this kind: site, host, account or withdrawal; `name` says which"),
    may("name", "only of this one"),
    may("actor", "only by this one"),
];

/// All that programs can do at the desk, and who may.
const OPERATIONS: &[Operation] = {
    type O = Operation;
    const SEE: Needs = Needs(Any, Reader, Scope::Read);
    const SEE_SITE: Needs = Needs(Site, Reader, Scope::Read);
    const SEE_HOST: Needs = Needs(Host, Reader, Scope::Read);
    const SEE_ALL: Needs = Needs(Any, Operator, Scope::Read);
    const BEGIN: Needs = Needs(Any, MirrorAdmin, Scope::Mirrors);
    const KEEP_SITE: Needs = Needs(Site, MirrorAdmin, Scope::Mirrors);
    const KEEP_HOST: Needs = Needs(Host, MirrorAdmin, Scope::Mirrors);
    const SELF: Needs = Needs(Any, Reader, Scope::Account);
    const OPERATE: Needs = Needs(Any, Operator, Scope::Operator);
    &[
        O::show("/account", "The own account", SEE, &OWN_ACCOUNT, of::<AccountView>),
        O::edit("/account", "Change the own account", SELF, &OWN_ACCOUNT, account::change_mail)
            .takes(body::<body::AccountMail>()),
        O::remove("/account", "Erase the own account; its sites stay", SELF, &OWN_ACCOUNT, account::erase),
        O::list(
            "/account/export",
            "All that is kept of the own account",
            SEE,
            read::export,
            of::<read::ExportView>,
        ),
        O::post(
            "/account/password",
            "Change the own password; all sessions end",
            SELF,
            account::change_password,
        )
        .takes(body::<body::NewPassword>()),
        O::delete("/account/sessions", "End all sessions of the own account", SELF, account::end_sessions),
        O::read(
            "/account/tokens",
            "The tokens of the own account",
            SEE,
            read::tokens,
            of::<Vec<AccountToken>>,
        ),
        O::make("/account/tokens", "Make a token; it is shown this once", SELF, account_token::create)
            .takes(body::<body::NewToken>()),
        O::delete("/account/tokens/{item}", "Remove a token", SELF, account_token::remove),
        O::list("/sites", "The own sites; for operators all", SEE, read::sites, of::<Listed<SiteView>>)
            .asks(BY_NAME),
        O::make("/sites", "Add a site", BEGIN, site::create).takes(body::<body::NewSite>()),
        O::show("/sites/{site}", "A site", SEE_SITE, &SITE, of::<SiteView>),
        O::edit("/sites/{site}", "Change a site", KEEP_SITE, &SITE, site::edit)
            .takes(body::<body::SiteEdit>()),
        O::remove("/sites/{site}", "Remove a site with its hosts", KEEP_SITE, &SITE, site::remove),
        O::make("/sites/{site}/keepers", "Let another account keep a site", KEEP_SITE, site::add_keeper)
            .takes(body::<body::Keeper>()),
        O::delete(
            "/sites/{site}/keepers/{item}",
            "An account keeps a site no longer",
            KEEP_SITE,
            site::remove_keeper,
        ),
        O::make("/sites/{site}/hosts", "Add a host to a site", KEEP_SITE, host::create)
            .takes(body::<body::NewHost>()),
        O::list("/hosts", "The own hosts; for operators all", SEE, read::hosts, of::<Listed<HostView>>)
            .asks(BY_NAME),
        O::make("/hosts", "Register a mirror: site, host and opt-in from one URL", BEGIN, home::begin)
            .takes(body::<body::NewMirror>()),
        O::show("/hosts/{host}", "A host, with what crawls found", SEE_HOST, &HOST, of::<HostView>),
        O::edit("/hosts/{host}", "Change a host", KEEP_HOST, &HOST, host::edit)
            .takes(body::<body::HostEdit>()),
        O::remove("/hosts/{host}", "Remove a host", KEEP_HOST, &HOST, host::remove),
        O::put("/hosts/{host}/drain", "Take a host out of all answers, or back", KEEP_HOST, host::drain)
            .takes(body::<body::Drain>()),
        O::read(
            "/hosts/{host}/crawl",
            "How the crawls of a host go",
            SEE_HOST,
            read::crawls,
            of::<read::CrawlsView>,
        ),
        O::post("/hosts/{host}/crawl", "Crawl a host now", KEEP_HOST, host::crawl),
        O::read(
            "/hosts/{host}/opt-in",
            "What a host carries, and where",
            SEE_HOST,
            read::opt_ins,
            of::<Vec<read::OptInView>>,
        ),
        O::make("/hosts/{host}/opt-in", "Let a host carry a category", KEEP_HOST, opt_in::opt_in)
            .takes(body::<body::OptIn>()),
        O::put(
            "/hosts/{host}/opt-in/{item}",
            "Change where a host carries a category",
            KEEP_HOST,
            opt_in::change_urls,
        )
        .takes(body::<body::Urls>()),
        O::put(
            "/hosts/{host}/opt-in/{item}/drain",
            "Take a host out of answers as far as a category goes, or back",
            KEEP_HOST,
            opt_in::drain,
        )
        .takes(body::<body::Drain>()),
        O::delete(
            "/hosts/{host}/opt-in/{item}",
            "Let a host carry a category no longer",
            KEEP_HOST,
            opt_in::opt_out,
        ),
        O::read(
            "/hosts/{host}/netblocks",
            "Networks whose clients a host serves first",
            SEE_HOST,
            read::netblocks,
            of::<Vec<read::NetblockView>>,
        ),
        O::make("/hosts/{host}/netblocks", "Add a network", KEEP_HOST, wish::add_netblock)
            .takes(body::<body::NewNetblock>()),
        O::delete("/hosts/{host}/netblocks/{item}", "Remove a network", KEEP_HOST, wish::remove_netblock),
        O::put(
            "/hosts/{host}/asn",
            "Set the autonomous system that a host stands in",
            KEEP_HOST,
            wish::set_asn,
        )
        .takes(body::<body::HostAsn>()),
        O::make(
            "/hosts/{host}/peers",
            "Add an autonomous system whose clients a host serves first",
            KEEP_HOST,
            wish::add_peer,
        )
        .takes(body::<body::NewPeer>()),
        O::delete("/hosts/{host}/peers/{item}", "Remove an autonomous system", KEEP_HOST, wish::remove_peer),
        O::read(
            "/hosts/{host}/wishes",
            "What of a host waits for an operator",
            SEE_HOST,
            read::wishes,
            of::<Vec<read::WishView>>,
        ),
        O::delete("/hosts/{host}/wishes/{item}", "Take a wish back", KEEP_HOST, wish::withdraw),
        O::read(
            "/hosts/{host}/tokens",
            "The tokens of a host's scripts",
            SEE_HOST,
            read::host_tokens,
            of::<Vec<HostToken>>,
        ),
        O::make(
            "/hosts/{host}/tokens",
            "Make a token for a host's script; it is shown this once",
            KEEP_HOST,
            token::create,
        )
        .takes(body::<body::NewHostToken>()),
        O::delete("/hosts/{host}/tokens/{item}", "Remove a token of a host", KEEP_HOST, token::remove),
        O::list(
            "/look",
            "Hosts that want an operator's eye, and why",
            SEE_ALL,
            read::look,
            of::<Listed<read::LookView>>,
        )
        .asks(BY_WORD),
        O::read(
            "/approvals",
            "What waits for an operator",
            SEE_ALL,
            read::approvals,
            of::<Vec<read::WishView>>,
        ),
        O::post("/approvals/{item}", "Grant or refuse what waits", OPERATE, operator::settle)
            .takes(body::<body::Settle>()),
        O::list("/accounts", "All accounts", SEE_ALL, read::accounts, of::<Listed<AccountView>>)
            .asks(BY_WORD),
        O::show("/accounts/{item}", "An account", SEE_ALL, &ACCOUNT, of::<AccountView>),
        O::edit("/accounts/{item}", "Change what an account may", OPERATE, &ACCOUNT, operator::edit_account)
            .takes(body::<body::AccountEdit>()),
        O::read(
            "/accounts/{item}/tokens",
            "The tokens of an account",
            SEE_ALL,
            read::account_tokens,
            of::<Vec<AccountToken>>,
        ),
        O::read(
            "/accounts/{item}/identities",
            "Who an account's owner is elsewhere",
            SEE_ALL,
            read::account_identities,
            of::<Vec<Identity>>,
        ),
        O::delete(
            "/account-tokens/{item}",
            "Remove a token, whosever it is",
            OPERATE,
            operator::remove_token,
        ),
        O::read(
            "/settings",
            "How the running server is set up, without secrets",
            OPERATE,
            read::settings,
            of::<settings::SettingsView>,
        ),
        O::list("/log", "Who changed what", SEE_ALL, read::log, of::<Listed<read::ChangeView>>).asks(LOG),
        O::list(
            "/withdrawals",
            "What is answered no more",
            SEE_ALL,
            read::withdrawals,
            of::<Listed<read::WithdrawalView>>,
        ),
        O::make("/withdrawals", "Answer a digest no more", OPERATE, operator::withdraw)
            .takes(body::<body::NewWithdrawal>()),
        O::delete("/withdrawals/{item}", "Answer a withdrawn digest again", OPERATE, operator::restore),
    ]
};

/// All operations of the desk, for those who check that each has been thought of.
pub fn list_operations() -> impl Iterator<Item = (DeskRoute, Scope)> {
    let route =
        |it: &Operation| DeskRoute { method: it.method, path: it.path, access: it.access, least: it.least };
    OPERATIONS.iter().map(move |it| (route(it), it.scope))
}

pub(in crate::server) fn list_entries() -> impl Iterator<Item = Entry> {
    OPERATIONS.iter().map(Operation::entry)
}

pub(in crate::server) fn routes(config: &mut ServiceConfig) {
    let mut paths: Vec<&'static str> = OPERATIONS.iter().map(|it| it.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let mut resource = web::resource(format!("{BASE}{path}"));
        let mut allow = Vec::new();
        for operation in OPERATIONS.iter().filter(|it| it.path == path) {
            let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or_default();
            let handler =
                move |request, body, state, office| request::answer(operation, request, body, state, office);
            resource = resource.route(web::method(method).to(handler));
            allow.push(operation.method);
        }
        let allow = allow.join(", ");
        let refuse = move || std::future::ready(Err::<HttpResponse, _>(Problem::method(allow.clone())));
        config.service(resource.default_service(web::to(refuse)));
    }
}
