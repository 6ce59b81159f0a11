use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::database::secret::{self, SecretError};

/// Where the browser keeps that it has gone to the provider. No other host can set it.
const COOKIE: &str = "__Host-portolan-oidc";

/// Somebody may take so many seconds to sign in at the provider.
pub(in super::super) const LASTS: i64 = 600;

/// Bytes of what the cookie says: a letter, a secret, Unix seconds.
const LONGEST: usize = 100;

/// What somebody goes to the provider for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be signed in here.
    SignIn,
    /// To link who it is there with its account here.
    Link,
}

/// Somebody is at the provider. Only its browser knows: what the provider sees and sends back is made from the cookie's
/// secret and cannot be turned into it. So an answer counts only in the browser that has asked for it.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) purpose: Purpose,
    /// All of it, as the cookie says it.
    text: String,
    /// Of the session in which an account is to be linked: another one's is not.
    session: String,
}

impl Flight {
    pub(super) fn new(purpose: Purpose, session: &str, now: i64) -> Result<Self, SecretError> {
        let text = format!("{}.{}.{now}", purpose.letter(), secret::new()?);
        Ok(Self { purpose, text, session: of(purpose, session) })
    }

    /// The one that the browser has begun, if it is not over.
    pub(super) fn find(request: &HttpRequest, session: &str, now: i64) -> Option<Self> {
        let text = request.cookie(COOKIE)?.value().to_owned();
        let mut parts = text.split('.');
        let (letter, _, began): (_, _, i64) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let purpose = [Purpose::SignIn, Purpose::Link].into_iter().find(|it| it.letter() == letter)?;
        let lasts = began <= now && now < began + LASTS;
        let is_one = lasts && text.len() <= LONGEST && parts.next().is_none();
        is_one.then(|| Self { purpose, session: of(purpose, session), text })
    }

    pub(super) fn is_state(&self, state: &str) -> bool {
        bool::from(self.state().as_bytes().ct_eq(state.as_bytes()))
    }

    pub(super) fn state(&self) -> String {
        self.derive("state")
    }

    pub(super) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    pub(super) fn verifier(&self) -> String {
        self.derive("verifier")
    }

    fn derive(&self, what: &str) -> String {
        let text = format!("{what} of {} in {}", self.text, self.session);
        Sha256::digest(text).iter().map(|it| format!("{it:02x}")).collect()
    }

    pub(super) fn cookie(&self) -> Cookie<'static> {
        cookie(self.text.clone(), LASTS)
    }
}

impl Purpose {
    const fn letter(self) -> &'static str {
        match self {
            Self::SignIn => "s",
            Self::Link => "l",
        }
    }
}

fn of(purpose: Purpose, session: &str) -> String {
    if purpose == Purpose::Link { session.to_owned() } else { String::new() }
}

/// The flight is over, however it ended.
pub(super) fn no_cookie() -> Cookie<'static> {
    cookie(String::new(), 0)
}

/// `Lax`: the browser comes back by a link on another site.
fn cookie(value: String, lasts: i64) -> Cookie<'static> {
    let cookie = Cookie::build(COOKIE, value).path("/").secure(true).http_only(true);
    cookie.same_site(SameSite::Lax).max_age(Duration::seconds(lasts)).finish()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// What another request with this cookie is taken for.
    fn land(text: &str, session: &str, now: i64) -> Option<Flight> {
        let request = TestRequest::default().cookie(Cookie::new(COOKIE, text.to_owned())).to_http_request();
        Flight::find(&request, session, now)
    }

    #[test]
    fn a_flight_lands_in_its_browser_and_session_in_time() {
        let flight = Flight::new(Purpose::Link, "ann's", 1000).unwrap();
        let (text, state) = (flight.cookie().value().to_owned(), flight.state());
        let lands = |text: &str, session: &str, now: i64| {
            land(text, session, now).is_some_and(|it| it.is_state(&state) && it.nonce() == flight.nonce())
        };
        assert!(lands(&text, "ann's", 1000) && lands(&text, "ann's", 1599));
        assert!(!lands(&text, "ann's", 1600), "over");
        assert!(!lands(&text, "ann's", 999), "from the future");
        assert!(!lands(&text, "bob's", 1000), "linked in another session");
        assert!(!lands(&text.replacen('l', "s", 1), "ann's", 1000), "made into a sign-in");
        assert!(!lands(&text.replace(".1000", ".1500"), "ann's", 1700), "made younger");
        let other = Flight::new(Purpose::Link, "ann's", 1000).unwrap();
        assert!(!lands(other.cookie().value(), "ann's", 1000), "another browser's");
        for broken in ["", "l", "l.", "l..x", "x.00.1000", &format!("{text}.1"), &"l".repeat(5000)] {
            assert!(land(broken, "ann's", 1000).is_none(), "{broken}");
        }
        let all = [flight.state(), flight.nonce(), flight.verifier()];
        assert!(all.iter().all(|it| it.len() == 64 && !text.contains(it)), "{all:?}");
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    }
}
