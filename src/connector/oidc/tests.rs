//! Against a provider that lies, is slow, or sends too much. A good one is asked in `tests/e2e`.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::*;
use crate::connector::testing::{Answer, Request, Server};

const CLIENT: &str = "portolan";
const NONCE: &str = "n-0S6_WzA2Mj";

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", encode(signature))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "1"})
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "sub": "248289761001", "aud": CLIENT, "exp": now() + 300, "iat": now(), "nonce": NONCE})
}

/// What a provider says; each part can be replaced by something worse.
struct Words {
    discovery: Box<dyn Fn(&str) -> Answer + Send + Sync>,
    keys: Box<dyn Fn() -> Answer + Send + Sync>,
    token: Box<dyn Fn(&str) -> Answer + Send + Sync>,
    userinfo: Answer,
}

impl Words {
    fn good(signer: Arc<Signer>) -> Self {
        let keys = json!({"keys": [{"kty": "oct", "k": "x"}, signer.jwk("1")]});
        Self {
            discovery: Box::new(|url| answer(&discovery(url))),
            keys: Box::new(move || answer(&keys)),
            token: Box::new(move |url| token(&signer.sign(&header(), &claims(url)))),
            userinfo: answer(
                &json!({"sub": "248289761001", "preferred_username": "ann", "groups": ["mirrors"]}),
            ),
        }
    }

    async fn start(self) -> Server {
        Server::start(move |request: &Request| {
            let url = format!("http://{}", request.headers["host"]);
            match request.path.as_str() {
                "/.well-known/openid-configuration" => (self.discovery)(&url),
                "/keys" => (self.keys)(),
                "/token" => (self.token)(&url),
                "/me" => self.userinfo.clone(),
                _ => Answer::new(404, b""),
            }
        })
        .await
    }
}

fn discovery(url: &str) -> Value {
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/auth?tenant=1"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "userinfo_endpoint": format!("{url}/me"),
    })
}

fn answer(json: &Value) -> Answer {
    Answer::new(200, json.to_string().as_bytes())
}

fn token(id_token: &str) -> Answer {
    answer(&json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token}))
}

fn provider(server: &Server, change: impl FnOnce(&mut OidcConfig)) -> Provider {
    let mut config = OidcConfig {
        issuer: server.url().to_owned(),
        public_url: "https://registry.test/".to_owned(),
        client_id: CLIENT.to_owned(),
        operators: vec!["mirrors".to_owned()],
        timeout: SignedDuration::from_secs(1),
        ..OidcConfig::default()
    };
    change(&mut config);
    Provider::new(&config).unwrap().unwrap()
}

async fn receive(provider: &Provider) -> Result<Person, ProviderError> {
    receive_from(provider, None).await
}

async fn receive_from(provider: &Provider, issuer: Option<&str>) -> Result<Person, ProviderError> {
    provider.receive(&Return { code: "c+1", issuer, nonce: NONCE, verifier: "v" }).await
}

#[tokio::test]
async fn somebody_goes_and_comes_back() {
    let server = Words::good(Arc::new(Signer::new())).start().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s:1\n").unwrap();
    let provider = provider(&server, |it| it.client_secret_file = Some(secret));
    let url = provider.send(&Departure { state: "st", nonce: NONCE, verifier: "v" }).await.unwrap();
    let asked: std::collections::BTreeMap<_, _> = url.query_pairs().collect();
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", "https://registry.test/sign-in/oidc/callback"),
        ("scope", "openid profile"),
        ("state", "st"),
        ("nonce", NONCE),
        ("code_challenge", "TJRIXgwhrmxBzh3-e2v6zupato5AokdvUCCOUm9QYIA"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    let person = receive(&provider).await.unwrap();
    let expected = Person {
        issuer: server.url().to_owned(),
        subject: "248289761001".to_owned(),
        name: Some("ann".to_owned()),
        groups: vec!["mirrors".to_owned()],
    };
    assert_eq!(person, expected);
    receive(&provider).await.unwrap();
    let requests = server.requests();
    let of = |path: &str| requests.iter().filter(|it| it.path == path).collect::<Vec<_>>();
    assert_eq!((of("/.well-known/openid-configuration").len(), of("/keys").len()), (1, 1), "they are kept");
    assert_eq!(of("/token")[0].headers["authorization"], "Basic cG9ydG9sYW46cyUzQTE=", "s:1 is encoded");
    let body = "grant_type=authorization_code&code=c%2B1&\
                redirect_uri=https%3A%2F%2Fregistry.test%2Fsign-in%2Foidc%2Fcallback&code_verifier=v";
    assert_eq!(of("/token")[0].body, body);
    assert_eq!(of("/me")[0].headers["authorization"], "Bearer a");
}

#[tokio::test]
async fn a_public_client_names_itself_and_claims_of_the_token_do() {
    let signer = Arc::new(Signer::new());
    let by = signer.clone();
    let full = move |url: &str| {
        let mut claims = claims(url);
        claims["preferred_username"] = json!("bob");
        claims["groups"] = json!("one");
        token(&by.sign(&json!({"alg": "ES256"}), &claims))
    };
    let server = Words { token: Box::new(full), ..Words::good(signer) }.start().await;
    let person = receive(&provider(&server, |_| ())).await.unwrap();
    assert_eq!((person.name.as_deref(), person.groups), (Some("bob"), vec!["one".to_owned()]));
    let requests = server.requests();
    assert!(requests.iter().any(|it| it.body.ends_with("&client_id=portolan")), "{requests:?}");
    assert!(!requests.iter().any(|it| it.path == "/me"), "nothing was missing");
}

/// What is said of a token that is made like this, with the provider's key.
async fn judge(header: Value, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Option<TokenError> {
    judge_text(move |signer, url| {
        let mut claims = claims(url);
        change(&mut claims);
        signer.sign(&header, &claims)
    })
    .await
}

async fn judge_text(make: impl Fn(&Signer, &str) -> String + Send + Sync + 'static) -> Option<TokenError> {
    let signer = Arc::new(Signer::new());
    let by = signer.clone();
    let server =
        Words { token: Box::new(move |url| token(&make(&by, url))), ..Words::good(signer) }.start().await;
    match receive(&provider(&server, |_| ())).await {
        Ok(_) => None,
        Err(ProviderError::Token(error)) => Some(error),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn tokens_that_prove_nothing_are_refused() {
    use TokenError as E;
    async fn check(name: &'static str, value: Value, expected: Option<TokenError>) {
        let judged = judge(header(), move |it| it[name] = value.clone()).await;
        assert_eq!(judged, expected, "{name}");
    }
    assert_eq!(judge(header(), |_| ()).await, None);
    check("iss", json!("https://evil.test"), Some(E::Issuer("https://evil.test".into()))).await;
    check("aud", json!("other"), Some(E::Audience(vec!["other".into()]))).await;
    check("aud", json!([CLIENT, "other"]), Some(E::Audience(vec![CLIENT.into(), "other".into()]))).await;
    check("aud", json!([]), Some(E::Audience(vec![]))).await;
    check("aud", json!([CLIENT]), None).await;
    check("azp", json!("other"), Some(E::Party("other".into()))).await;
    check("azp", json!(CLIENT), None).await;
    check("exp", json!(now() - 61), Some(E::Expired)).await;
    check("exp", json!(now() - 30), None).await;
    check("iat", json!(now() - 700), Some(E::Age)).await;
    check("iat", json!(now() + 90), Some(E::Age)).await;
    check("nbf", json!(now() + 90), Some(E::Age)).await;
    check("nonce", json!("another"), Some(E::Nonce)).await;
    check("nonce", Value::Null, Some(E::Nonce)).await;
    check("sub", json!(""), Some(E::Subject)).await;
    check("sub", json!("x".repeat(256)), Some(E::Subject)).await;
    check("sub", json!("ä"), Some(E::Subject)).await;
    for (name, value) in [("exp", json!("1")), ("sub", json!(1)), ("iss", Value::Null)] {
        let judged = judge(header(), move |it| it[name] = value.clone()).await;
        assert!(matches!(judged, Some(E::Form(_))), "{name}: {judged:?}");
    }
}

#[tokio::test]
async fn signatures_that_prove_nothing_are_refused() {
    use TokenError as E;
    let of = |header: Value| judge(header, |_| ());
    assert_eq!(of(json!({"alg": "none"})).await, Some(E::Algorithm("none".into())));
    assert_eq!(
        of(json!({"alg": "RS256", "kid": "1"})).await,
        Some(E::Key("1".into())),
        "the key is none of RSA"
    );
    assert_eq!(of(json!({"alg": "ES256", "kid": "2"})).await, Some(E::Key("2".into())));
    let critical = of(json!({"alg": "ES256", "kid": "1", "crit": ["exp"]})).await;
    assert!(matches!(critical, Some(E::Form(_))), "{critical:?}");

    let unsigned = |signer: &Signer, url: &str| {
        let signed = signer.sign(&json!({"alg": "none"}), &claims(url));
        format!("{}.", signed.rsplit_once('.').unwrap().0)
    };
    assert_eq!(judge_text(unsigned).await, Some(E::Algorithm("none".into())));
    // Whoever knows the public key could make this one.
    let shared = |signer: &Signer, url: &str| {
        let signed = signer.sign(&json!({"alg": "HS256", "kid": "1"}), &claims(url));
        let text = signed.rsplit_once('.').unwrap().0;
        let key = hmac::Key::new(hmac::HMAC_SHA256, signer.0.public_key().as_ref());
        format!("{text}.{}", encode(hmac::sign(&key, text.as_bytes())))
    };
    assert_eq!(judge_text(shared).await, Some(E::Algorithm("HS256".into())));
    let stranger = |_: &Signer, url: &str| Signer::new().sign(&header(), &claims(url));
    assert_eq!(judge_text(stranger).await, Some(E::Signature));
    let changed = |signer: &Signer, url: &str| {
        let signed = signer.sign(&header(), &claims(url));
        let parts: Vec<&str> = signed.split('.').collect();
        let mut other = claims(url);
        other["sub"] = json!("root");
        format!("{}.{}.{}", parts[0], encode(other.to_string()), parts[2])
    };
    assert_eq!(judge_text(changed).await, Some(E::Signature));
    for text in ["", "a", "a.b", "....", "e30.e30.", "!.!.!"] {
        let judged = judge_text(move |_, _| text.to_owned()).await;
        assert!(matches!(judged, Some(E::Form(_))), "{text}: {judged:?}");
    }
}

#[tokio::test]
async fn what_is_told_beside_the_token_is_of_the_same_subject() {
    let userinfo = answer(&json!({"sub": "another", "preferred_username": "root"}));
    let server = Words { userinfo, ..Words::good(Arc::new(Signer::new())) }.start().await;
    let error = receive(&provider(&server, |_| ())).await.unwrap_err();
    assert!(matches!(error, ProviderError::Token(TokenError::OtherSubject)), "{error}");
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_refused_before_the_code_is_shown() {
    let server = Words::good(Arc::new(Signer::new())).start().await;
    let provider = provider(&server, |_| ());
    let error = receive_from(&provider, Some("https://evil.test")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Issuer(_)), "{error}");
    assert!(!server.requests().iter().any(|it| it.path == "/token"));
    receive_from(&provider, Some(server.url())).await.unwrap();

    let names = |url: &str| {
        let mut all = discovery(url);
        all["authorization_response_iss_parameter_supported"] = json!(true);
        answer(&all)
    };
    let server = Words { discovery: Box::new(names), ..Words::good(Arc::new(Signer::new())) }.start().await;
    let error = receive(&self::provider(&server, |_| ())).await.unwrap_err();
    assert!(matches!(error, ProviderError::Issuer(_)), "it must be named: {error}");
}

#[tokio::test]
async fn answers_that_cannot_be_used_are_told() {
    async fn check(words: Words, part: &str) -> ProviderError {
        let server = words.start().await;
        let began = std::time::Instant::now();
        let error = receive(&provider(&server, |_| ())).await.unwrap_err();
        assert!(error.to_string().contains(part), "{part} is not in {error}");
        assert!(began.elapsed().as_secs() < 5, "{part}: {:?}", began.elapsed());
        error
    }
    let good = || Words::good(Arc::new(Signer::new()));
    let found = |change: fn(&mut Value)| {
        Box::new(move |url: &str| {
            let mut all = discovery(url);
            change(&mut all);
            answer(&all)
        })
    };
    check(Words { discovery: Box::new(|_| Answer::new(200, b"x").hang()), ..good() }, "no answer in time")
        .await;
    check(Words { discovery: Box::new(|_| Answer::new(200, b"x").drip()), ..good() }, "no answer in time")
        .await;
    check(Words { keys: Box::new(|| Answer::new(200, b"x").hang()), ..good() }, "no answer in time").await;
    check(Words { discovery: Box::new(|_| Answer::new(200, b" ").endless()), ..good() }, "262144 bytes")
        .await;
    check(Words { keys: Box::new(|| Answer::new(200, b" ").endless()), ..good() }, "262144 bytes").await;
    check(Words { token: Box::new(|_| Answer::new(200, b" ").endless()), ..good() }, "262144 bytes").await;
    check(Words { userinfo: Answer::new(200, b" ").endless(), ..good() }, "262144 bytes").await;
    check(Words { userinfo: Answer::new(401, b""), ..good() }, "401").await;
    check(Words { discovery: Box::new(|_| Answer::new(500, b"")), ..good() }, "500").await;
    let away = |_: &str| Answer::new(302, b"").header("location", "http://127.0.0.1:1/");
    check(Words { discovery: Box::new(away), ..good() }, "302").await;
    check(Words { discovery: Box::new(|_| Answer::new(200, b"<html>")), ..good() }, "expected value").await;
    let foreign = found(|it| it["issuer"] = json!("https://evil.test"));
    check(Words { discovery: foreign, ..good() }, "it is of the issuer \"https://evil.test\"").await;
    let open = found(|it| it["token_endpoint"] = json!("http://id.example.org/token"));
    check(Words { discovery: open, ..good() }, "which is no https URL").await;
    let script = found(|it| it["authorization_endpoint"] = json!("javascript:alert(1)"));
    check(Words { discovery: script, ..good() }, "which is no https URL").await;
    let spent = |_: &str| Answer::new(400, br#"{"error":"invalid_grant"}"#);
    let error = check(Words { token: Box::new(spent), ..good() }, "does not take the code").await;
    assert!(matches!(error, ProviderError::Spent(_)), "{error:?}");
    let refused = |_: &str| Answer::new(401, br#"{"error":"invalid_client"}"#);
    check(Words { token: Box::new(refused), ..good() }, "check client_id and client_secret_file").await;
}

#[tokio::test]
async fn keys_are_asked_for_again_when_one_is_not_known_but_not_at_once() {
    let signer = Arc::new(Signer::new());
    let by = signer.clone();
    let strange = move |url: &str| token(&by.sign(&json!({"alg": "ES256", "kid": "2"}), &claims(url)));
    let server = Words { token: Box::new(strange), ..Words::good(signer) }.start().await;
    let provider = provider(&server, |_| ());
    for _ in 0..5 {
        receive(&provider).await.unwrap_err();
    }
    assert_eq!(server.requests().iter().filter(|it| it.path == "/keys").count(), 1);

    let kept = kept::Kept::default();
    let (hour, none) = (std::time::Duration::from_secs(3600), std::time::Duration::ZERO);
    let bring = |number: u32| async move { Ok(number) };
    assert_eq!(*kept.find(hour, bring(1)).await.unwrap(), 1);
    assert_eq!(*kept.find(hour, bring(2)).await.unwrap(), 1);
    assert_eq!(*kept.find(none, bring(3)).await.unwrap(), 3, "it is too old");
    let fails = async { Err(ProviderError::Spent("x".into())) };
    kept.find(none, fails).await.unwrap_err();
    kept.find(hour, bring(4)).await.expect_err("told the same for a while");
}
