use std::{sync::Arc, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::{
    RequestBuilder, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, time::timeout};
use url::{Url, form_urlencoded};

use super::{
    CALLBACK, Departure, OidcConfig, OidcError, Person, ProviderError, Return, TokenError,
    discovery::{self, Discovery},
    kept::Kept,
    key::Keys,
    token::{Claims, Expected, Unverified},
};
use crate::{
    connector::{
        Password,
        authorities::read_authorities,
        config::read_limited,
        error::causes,
        transport::{is_loopback, read_body},
    },
    mirror::is_invisible,
};

/// The longest answer of the provider that is read, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// The longest file of a secret, in bytes.
const SECRET_LIMIT: u64 = 4 * 1024;

/// Characters of a name, a client's id, a claim's name, a group or a scope.
const LONGEST_TEXT: usize = 200;

/// Characters on the button.
const LONGEST_NAME: usize = 40;

/// Scopes, and groups of operators.
const MOST_SCOPES: usize = 20;
const MOST_GROUPS: usize = 50;

/// What the provider says of itself, and its keys, are asked again after so long.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Before somebody is sent there it is asked whether it answers, unless it did so long ago: a browser tells people nothing.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// A key that is not known makes us ask for the keys again, but no sooner than so long after the last time.
const KEYS_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// People who come back at once; others wait.
const AT_ONCE: usize = 16;

/// A sign-in as a whole may take as long as so many answers.
const ANSWERS: u32 = 3;

/// A provider of OpenID Connect.
pub struct Provider {
    http: reqwest::Client,
    issuer: String,
    client_id: String,
    secret: Option<Password>,
    redirect: String,
    scope: String,
    name_claim: String,
    /// Empty: nobody asks for groups.
    groups_claim: String,
    timeout: Duration,
    discovery: Kept<Discovery>,
    keys: Kept<Keys>,
    turns: Semaphore,
}

impl Provider {
    /// `None` if no provider is configured. Asks nothing of the network.
    pub fn new(config: &OidcConfig) -> Result<Option<Self>, OidcError> {
        if config.issuer.is_empty() {
            return Ok(None);
        }
        let issuer = discovery::parse("issuer", &config.issuer)?;
        let public = discovery::parse("public_url", &config.public_url)?;
        if public.path() != "/" {
            return Err(OidcError::Path);
        }
        check_texts(config)?;
        let timeout = Duration::try_from(config.timeout).unwrap_or_default();
        Ok(Some(Self {
            http: client(config, &issuer, timeout)?,
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            secret: config.client_secret_file.as_ref().map(|_| read_secret(config)).transpose()?,
            redirect: format!("{}{CALLBACK}", public.as_str().trim_end_matches('/')),
            scope: ["openid".to_owned()].iter().chain(&config.scopes).cloned().collect::<Vec<_>>().join(" "),
            name_claim: config.name_claim.clone(),
            groups_claim: if config.operators.is_empty() {
                String::new()
            } else {
                config.groups_claim.clone()
            },
            timeout,
            discovery: Kept::default(),
            keys: Kept::default(),
            turns: Semaphore::new(AT_ONCE),
        }))
    }

    /// Where somebody is sent to sign in (Core 1.0, section 3.1.2.1).
    pub async fn send(&self, departure: &Departure<'_>) -> Result<Url, ProviderError> {
        let discovery = self.within(self.discovery(ANSWERED_WITHIN)).await?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(departure.verifier));
        let mut url = discovery.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", &self.scope)
            .append_pair("state", departure.state)
            .append_pair("nonce", departure.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who has come back.
    pub async fn receive(&self, back: &Return<'_>) -> Result<Person, ProviderError> {
        self.within(async {
            let _turn = self.turns.acquire().await;
            self.identify(back).await
        })
        .await
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let late = |_| ProviderError::Unreachable {
            url: self.issuer.clone(),
            reason: "no answer in time".to_owned(),
        };
        timeout(self.timeout * ANSWERS, work).await.map_err(late)?
    }

    async fn identify(&self, back: &Return<'_>) -> Result<Person, ProviderError> {
        let discovery = self.discovery(KEPT_FOR).await?;
        if !discovery.admits(back.issuer) {
            return Err(ProviderError::Issuer(back.issuer.unwrap_or_default().to_owned()));
        }
        let tokens = self.redeem(&discovery, back).await?;
        let token = Unverified::parse(&tokens.id_token)?;
        let claims = self.verify(&discovery, &token, back.nonce).await?;
        let others = self.fill(&discovery, &claims, &tokens.access_token).await?;
        let name = others.get(&self.name_claim).and_then(Value::as_str).map(str::to_owned);
        let groups = match others.get(&self.groups_claim) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Ok(Person {
            issuer: self.issuer.clone(),
            subject: claims.sub,
            name: name.filter(|it| (1..=LONGEST_TEXT).contains(&it.chars().count())),
            groups,
        })
    }

    async fn discovery(&self, oldest: Duration) -> Result<Arc<Discovery>, ProviderError> {
        let fetch = async {
            let url = Discovery::url(&self.issuer);
            let (_, json) = self.ask(&url, self.http.get(&url)).await?;
            Discovery::parse(&json, &self.issuer).map_err(|reason| ProviderError::Answer { url, reason })
        };
        self.discovery.find(oldest, fetch).await
    }

    async fn keys(&self, discovery: &Discovery, oldest: Duration) -> Result<Arc<Keys>, ProviderError> {
        let fetch = async {
            let url = discovery.keys.as_str();
            let (_, json) = self.ask(url, self.http.get(url)).await?;
            Keys::parse(&json).map_err(|reason| ProviderError::Answer { url: url.to_owned(), reason })
        };
        self.keys.find(oldest, fetch).await
    }

    async fn verify(
        &self,
        discovery: &Discovery,
        token: &Unverified<'_>,
        nonce: &str,
    ) -> Result<Claims, ProviderError> {
        let now = jiff::Timestamp::now().as_second();
        let expected = Expected { issuer: &self.issuer, client_id: &self.client_id, nonce, now };
        // The provider may have a new key since they were asked for.
        for oldest in [KEPT_FOR, KEYS_AGAIN_AFTER] {
            let keys = self.keys(discovery, oldest).await?;
            if let Some(key) = keys.find(token.algorithm, token.key_id.as_deref()) {
                return Ok(token.verify(key, &expected)?);
            }
        }
        Err(TokenError::Key(token.key_id.clone().unwrap_or_default()).into())
    }

    /// Gives the code for tokens (Core 1.0, section 3.1.3).
    async fn redeem(&self, discovery: &Discovery, back: &Return<'_>) -> Result<Tokens, ProviderError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", back.code)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("code_verifier", back.verifier);
        let url = discovery.token.as_str();
        let mut request = self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match &self.secret {
            Some(secret) if discovery.takes_basic => {
                // RFC 6749, section 2.3.1: both are encoded as in a form.
                let encode = |it: &str| form_urlencoded::byte_serialize(it.as_bytes()).collect::<String>();
                let login = format!("{}:{}", encode(&self.client_id), encode(secret.reveal()));
                request = request.header("authorization", format!("Basic {}", STANDARD.encode(login)));
            }
            secret => {
                form.append_pair("client_id", &self.client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret.reveal());
                }
            }
        }
        let (status, json) = self.ask(url, request.body(form.finish())).await?;
        let wrong = |reason: String| ProviderError::Answer { url: url.to_owned(), reason };
        if status.is_success() {
            return serde_json::from_slice(&json).map_err(|it| wrong(it.to_string()));
        }
        let fault: TokenFault =
            serde_json::from_slice(&json).map_err(|_| wrong(format!("it answers {status}")))?;
        match fault.error.as_str() {
            "invalid_grant" => Err(ProviderError::Spent(fault.error)),
            error => {
                Err(wrong(format!("it answers {status}, {error:?}: check client_id and client_secret_file")))
            }
        }
    }

    /// The claims of the token, and those that the provider tells beside it, if some are missing (Core 1.0, section 5.3).
    async fn fill(
        &self,
        discovery: &Discovery,
        claims: &Claims,
        access_token: &str,
    ) -> Result<Map<String, Value>, ProviderError> {
        let wanted = [&self.name_claim, &self.groups_claim];
        let is_missing = wanted.iter().any(|it| !it.is_empty() && !claims.others.contains_key(*it));
        let Some(url) = discovery.userinfo.as_ref().map(Url::as_str).filter(|_| is_missing) else {
            return Ok(claims.others.clone());
        };
        let request = self.http.get(url).bearer_auth(access_token);
        let (status, json) = self.ask(url, request).await?;
        let wrong = |reason: String| ProviderError::Answer { url: url.to_owned(), reason };
        if !status.is_success() {
            return Err(wrong(format!("it answers {status}")));
        }
        let mut told: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|it| wrong(it.to_string()))?;
        if told.get("sub").and_then(Value::as_str) != Some(&claims.sub) {
            return Err(TokenError::OtherSubject.into());
        }
        told.extend(claims.others.clone());
        Ok(told)
    }

    /// The whole body of an answer: one that is good, or that says what is wrong (400, 401, 403).
    async fn ask(&self, url: &str, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ProviderError> {
        let unreachable = |reason: String| ProviderError::Unreachable { url: url.to_owned(), reason };
        let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| unreachable(causes(&error)))?;
        let status = response.status();
        if !status.is_success() && !matches!(status.as_u16(), 400 | 401 | 403) {
            return Err(unreachable(format!("it answers {status}")));
        }
        let body =
            read_body(url, response, ANSWER_LIMIT).await.map_err(|error| unreachable(error.to_string()))?;
        let reason = || format!("the answer has more than {ANSWER_LIMIT} bytes");
        let body = body.ok_or_else(|| ProviderError::Answer { url: url.to_owned(), reason: reason() })?;
        Ok((status, body))
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: String,
}

#[derive(Deserialize)]
struct TokenFault {
    error: String,
}

fn check_texts(config: &OidcConfig) -> Result<(), OidcError> {
    let check = |key, text: &str, most: usize| {
        let is_good = (1..=most).contains(&text.chars().count()) && !text.chars().any(is_invisible);
        if is_good { Ok(()) } else { Err(OidcError::Text { key, text: text.to_owned(), most }) }
    };
    check("name", &config.name, LONGEST_NAME)?;
    check("client_id", &config.client_id, LONGEST_TEXT)?;
    check("name_claim", &config.name_claim, LONGEST_TEXT)?;
    check("groups_claim", &config.groups_claim, LONGEST_TEXT)?;
    for (key, list, most) in
        [("scopes", &config.scopes, MOST_SCOPES), ("operators", &config.operators, MOST_GROUPS)]
    {
        if list.len() > most {
            return Err(OidcError::Many { key, most });
        }
        list.iter().try_for_each(|it| check(key, it, LONGEST_TEXT))?;
    }
    let is_scope = |it: &&String| it.bytes().all(|it| matches!(it, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    match config.scopes.iter().find(|it| !is_scope(it)) {
        Some(scope) => Err(OidcError::Scope(scope.clone())),
        None => Ok(()),
    }
}

fn read_secret(config: &OidcConfig) -> Result<Password, OidcError> {
    let path = config.client_secret_file.clone().unwrap_or_default();
    let refused = |reason: String| OidcError::File { key: "client_secret_file", path: path.clone(), reason };
    let bytes = read_limited(&path, SECRET_LIMIT).map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("it is no text".to_owned()))?;
    let text = text.trim();
    if text.is_empty() { Err(refused("it is empty".to_owned())) } else { Ok(text.to_owned().into()) }
}

/// Redirects are not followed: a provider that is asked answers itself.
fn client(config: &OidcConfig, issuer: &Url, timeout: Duration) -> Result<reqwest::Client, OidcError> {
    crate::connector::install_cryptography();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout);
    if is_loopback(issuer) {
        builder = builder.no_proxy(); // a proxy's loopback is another one
    }
    if let Some(path) = &config.ca_file {
        let refused = |reason| OidcError::File { key: "ca_file", path: path.clone(), reason };
        builder = builder.tls_certs_merge(read_authorities(path).map_err(refused)?);
    }
    builder.build().map_err(|error| OidcError::Setup(causes(&error)))
}
