use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    http::header,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    PageError,
    form::{Form, SEAL},
};
use crate::{
    database::account::LONGEST,
    mirror::Scheme,
    server::{lists::query, state::State},
};

/// Where the browser keeps its session. The prefix lets no other host and no plain HTTP set it (RFC 6265bis, 4.1.3.2).
const COOKIE: &str = "__Host-portolan";

/// Characters of a session's secret: what is longer is none.
const LONGEST_SECRET: usize = 64;

/// Who has come, as far as the request says.
#[derive(Clone)]
pub(super) struct Visitor {
    /// The host name of the registry.
    pub(super) registry: String,
    /// What rates are counted by: the network it comes from.
    pub(super) network: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// What was done by the request before.
    pub(super) done: String,
    /// What the browser's cookie says; not proven by that.
    pub(super) session: Option<String>,
    /// What people call the provider at which they can sign in, too; empty if there is none.
    pub(super) provider: String,
    /// Its own pages sent it, as the browser says.
    is_own: bool,
}

impl Visitor {
    /// Refused when others could listen: passwords and sessions need TLS, or the same machine.
    pub(super) fn new(request: &HttpRequest, state: &State) -> Result<Self, PageError> {
        let peer = state.peer(request)?;
        if peer.scheme != Scheme::Https && !peer.address.is_loopback() {
            return Err(PageError::NoTls);
        }
        let query = query(request);
        let done = query.iter().find(|it| it.0 == "done").map(|it| it.1.clone()).unwrap_or_default();
        let session = request.cookie(COOKIE).map(|it| it.value().to_owned());
        Ok(Self {
            network: crate::mirrorlist::network(peer.address).to_string(),
            path: request.path().to_owned(),
            session: session.filter(|it| (1..=LONGEST_SECRET).contains(&it.len())),
            is_own: is_own(request, &format!("{}://{}", peer.scheme, peer.host)),
            registry: peer.host,
            provider: state.provider.clone(),
            query,
            done,
        })
    }

    /// A form counts only from our own page, in the session that it was shown in.
    pub(super) fn check_form(&self, form: &Form) -> Result<(), PageError> {
        let seal = self.session.as_deref().map(seal).unwrap_or_default();
        let is_sealed = bool::from(seal.as_bytes().ct_eq(form.raw(SEAL).as_bytes()));
        if self.is_own && is_sealed && self.session.is_some() { Ok(()) } else { Err(PageError::Foreign) }
    }

    /// Where there is no session yet: the form comes from our own page.
    pub(super) fn check_origin(&self) -> Result<(), PageError> {
        if self.is_own { Ok(()) } else { Err(PageError::Foreign) }
    }

    /// A value of the query; empty if there is none.
    pub(super) fn asked(&self, name: &str) -> &str {
        self.query.iter().find(|it| it.0 == name).map_or("", |it| &it.1)
    }
}

/// Does the browser say that a page of ours has sent it? One that says nothing is believed nothing.
fn is_own(request: &HttpRequest, own: &str) -> bool {
    let said = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap_or_default());
    let origin = said(header::ORIGIN.as_str()).map(|it| it.eq_ignore_ascii_case(own));
    let site = said("sec-fetch-site").map(|it| it == "same-origin");
    match (origin, site) {
        (None, None) => false,
        (origin, site) => origin.unwrap_or(true) && site.unwrap_or(true),
    }
}

/// What forms of a session carry, so that no other site can make them up.
pub(super) fn seal(session: &str) -> String {
    let hash = Sha256::new().chain_update("seal of ").chain_update(session).finalize();
    hash.iter().map(|it| format!("{it:02x}")).collect()
}

pub(super) fn cookie(session: String) -> Cookie<'static> {
    let lasts = Duration::seconds(LONGEST.as_secs());
    Cookie::build(COOKIE, session)
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(lasts)
        .finish()
}

pub(super) fn no_cookie() -> Cookie<'static> {
    let mut cookie = cookie(String::new());
    cookie.set_max_age(Duration::ZERO);
    cookie
}
