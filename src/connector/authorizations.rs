use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use url::Url;

use super::{
    Error,
    ask::Ask,
    challenge::{self, Challenge},
    credentials::{Credentials, Login},
    transport::{Transport, read_body},
};

/// The longest answer of a token server, in bytes.
const TOKEN_BODY_LIMIT: usize = 1024 * 1024;
/// What to do when a login is wanted, and there is none.
const NO_LOGIN: &str = "a login is wanted, and there is none for it; set username and password (best as \
    PORTOLAN_ORIGIN_USERNAME and PORTOLAN_ORIGIN_PASSWORD in the environment) or auth_file in [origin]";
/// What to do when we know none of the ways to log in.
const NO_WAY: &str = "a login is wanted, but neither by Basic nor by Bearer; check url in [origin]";

/// The Authorization headers that the origin takes, made when it asks for them.
pub(super) struct Authorizations {
    /// `name[:port]`, as `auth_file` spells it.
    host: String,
    credentials: Credentials,
    /// What worked last, by scope.
    known: Mutex<HashMap<String, String>>,
}

impl Authorizations {
    /// Knows no header yet.
    pub(super) fn new(origin: &Url, credentials: Credentials) -> Self {
        let host = match (origin.host_str(), origin.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        Self { host, credentials, known: Mutex::default() }
    }

    /// The header that worked last for such a request.
    pub(super) fn find(&self, ask: &Ask<'_>) -> Option<String> {
        self.lock().get(&ask.scope()).cloned()
    }

    /// Makes the header that answers the challenges of a 401.
    pub(super) async fn make(
        &self,
        transport: &Transport,
        ask: &Ask<'_>,
        headers: &HeaderMap,
    ) -> Result<String, Error> {
        let login = self.credentials.find(&self.host, ask.repository);
        let challenges: Vec<_> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|it| it.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let find = |scheme: &str| challenges.iter().find(|it| it.scheme == scheme);
        let authorization = match (find("bearer"), find("basic"), login) {
            (Some(bearer), _, login) => fetch_token(transport, ask, bearer, login).await?,
            (None, Some(_), Some(login)) => basic(login),
            (None, Some(_), None) => return Err(ask.refused_for(StatusCode::UNAUTHORIZED, NO_LOGIN)),
            (None, None, _) => return Err(ask.refused_for(StatusCode::UNAUTHORIZED, NO_WAY)),
        };
        self.lock().insert(ask.scope(), authorization.clone());
        Ok(authorization)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Nothing that holds it can leave it half written.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Docker's token specification: a GET of the realm, which may be another host.
async fn fetch_token(
    transport: &Transport,
    ask: &Ask<'_>,
    bearer: &Challenge,
    login: Option<&Login>,
) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Token {
        token: Option<String>,
        access_token: Option<String>,
    }
    let refused = |reason: &str| Error::Answer { url: ask.url.to_string(), reason: reason.to_owned() };
    let parameter = |name: &str| bearer.parameters.get(name).map(String::as_str);
    let realm = parameter("realm").unwrap_or_default();
    let mut url = Url::parse(realm).map_err(|_| refused("its token server's URL cannot be read"))?;
    if login.is_some() && ask.url.scheme() == "https" && url.scheme() != "https" {
        return Err(refused("its token server has no TLS; the login is not sent there"));
    }
    url.query_pairs_mut()
        .extend_pairs(parameter("service").map(|it| ("service", it)))
        .append_pair("scope", &ask.scope());
    let token_ask = Ask { method: Method::GET, url, repository: ask.repository, offset: 0 };
    let authorization = login.map(basic);
    let response = transport.send(&token_ask, authorization.as_deref()).await?;
    if response.status() != StatusCode::OK {
        return Err(match (response.status(), login) {
            (StatusCode::UNAUTHORIZED, None) => token_ask.refused_for(StatusCode::UNAUTHORIZED, NO_LOGIN),
            (status, _) => token_ask.refused(status),
        });
    }
    let body = read_body(token_ask.url.as_str(), response, TOKEN_BODY_LIMIT).await?.unwrap_or_default();
    // The reason must not repeat the body: it may hold the token.
    let token = serde_json::from_slice(&body).ok().and_then(|it: Token| it.token.or(it.access_token));
    token.map(|it| format!("Bearer {it}")).ok_or_else(|| refused("its token server answers without a token"))
}

fn basic(login: &Login) -> String {
    let text = format!("{}:{}", login.username, login.password.reveal());
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        connector::{
            Config, Registry,
            testing::{Answer, Request, Server},
        },
        oci::{self, MediaType, Reference, RepositoryName},
    };

    const IMAGE: &str = r#"{"schemaVersion":2,"layers":[]}"#;

    fn config(server: &Server) -> Config {
        Config { url: Some(server.url().parse().unwrap()), ..Config::default() }
    }

    fn name() -> RepositoryName {
        "team/app".parse().unwrap()
    }

    fn tag(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn manifest(text: &str) -> Answer {
        let digest = oci::Digest::of(text.as_bytes()).to_string();
        Answer::new(200, text.as_bytes())
            .header("content-type", MediaType::OciManifest.as_str())
            .header("docker-content-digest", digest)
    }

    fn basic_of(user: &str, password: &str) -> String {
        let login = Login { username: user.to_owned(), password: password.to_owned().into() };
        basic(&login)
    }

    #[tokio::test]
    async fn tokens_are_fetched_kept_and_renewed() {
        let issued = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = issued.clone();
        let realm = Server::start(move |request: &Request| {
            if request.headers.get("authorization") != Some(&basic_of("me", "secret")) {
                return Answer::new(401, b"");
            }
            assert_eq!(request.path, "/token?service=the+registry&scope=repository%3Ateam%2Fapp%3Apull");
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            Answer::new(200, format!(r#"{{"token":"t{number}"}}"#).as_bytes())
        })
        .await;
        let (challenge, valid) =
            (format!(r#"Bearer realm="{}/token",service="the registry""#, realm.url()), issued.clone());
        let server = Server::start(move |request: &Request| {
            // The second token is valid only from the third request on.
            let current = format!("Bearer t{}", valid.load(Ordering::SeqCst));
            match request.headers.get("authorization") {
                Some(it) if *it == current && !request.path.ends_with("expired") => manifest(IMAGE),
                Some(it) if *it == "Bearer t2" => manifest(IMAGE),
                _ => Answer::new(401, b"").header("www-authenticate", challenge.clone()),
            }
        })
        .await;
        let login = Config { username: "me".into(), password: "secret".to_owned().into(), ..config(&server) };
        let registry = Registry::new(&login).unwrap();
        for text in ["a", "b"] {
            registry.head_manifest(&name(), &tag(text)).await.unwrap().unwrap();
        }
        assert_eq!((server.requests().len(), issued.load(Ordering::SeqCst)), (3, 1), "one token for both");
        registry.head_manifest(&name(), &tag("expired")).await.unwrap().unwrap();
        assert_eq!(issued.load(Ordering::SeqCst), 2);

        let wrong = Config { password: "wrong".to_owned().into(), ..login };
        assert!(!format!("{wrong:?}").contains("wrong"), "{wrong:?}");
        let error =
            Registry::new(&wrong).unwrap().head_manifest(&name(), &tag("a")).await.unwrap_err().to_string();
        assert!(error.contains("401: check username and password"), "{error}");
        assert!(!error.contains("wrong"), "{error}");
    }

    #[tokio::test]
    async fn basic_is_sent_only_when_asked_for() {
        let server = Server::start(|request| match request.headers.get("authorization") {
            Some(it) if *it == basic_of("me", "secret") => manifest(IMAGE),
            _ => Answer::new(401, b"").header("www-authenticate", "Basic realm=x"),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        let host = server.url().strip_prefix("http://").unwrap();
        let auth = basic_of("me", "secret").replace("Basic ", "");
        fs::write(&path, format!(r#"{{"auths":{{"{host}/team":{{"auth":"{auth}"}}}}}}"#)).unwrap();
        let registry = Registry::new(&Config { auth_file: Some(path), ..config(&server) }).unwrap();
        registry.head_manifest(&name(), &tag("a")).await.unwrap().unwrap();
        assert!(!server.requests()[0].headers.contains_key("authorization"));
        let other = registry.head_manifest(&"other".parse().unwrap(), &tag("a")).await.unwrap_err();
        assert!(other.to_string().contains("there is none for it; set username"), "{other}");
    }

    #[tokio::test]
    async fn a_way_to_log_in_that_we_do_not_know_is_no_wrong_password() {
        let server = Server::start(|_| Answer::new(401, b"").header("www-authenticate", "Negotiate")).await;
        let login = Config { username: "me".into(), ..config(&server) };
        let error = Registry::new(&login).unwrap().head_manifest(&name(), &tag("a")).await.unwrap_err();
        assert!(error.to_string().contains("401: a login is wanted, but neither by Basic"), "{error}");
    }
}
