//! A token server (Docker's "Token Authentication Specification"), at `https://token.test`. It knows one user.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};
use url::Url;

use super::namespace::Namespace;
use super::origin::{PASSWORD, USERNAME};
use super::server::{Reply, Request, Server};

/// Where tokens are asked for.
pub(crate) const REALM: &str = "https://token.test/token";

/// For whom they are.
pub(crate) const SERVICE: &str = "origin.test";

/// Who makes them.
pub(crate) const ISSUER: &str = "token.test";

/// How long a token is good, in seconds.
const LIFETIME: u64 = 300;

pub(crate) struct TokenServer {
    /// The certificates that a token's signature must lead to, PEM.
    pub(crate) roots: PathBuf,
    server: Server,
}

impl TokenServer {
    pub(crate) fn start(namespace: &Namespace) -> TokenServer {
        let roots = namespace.folder.join("token-roots.pem");
        std::fs::write(&roots, namespace.authority.certificate()).expect("the roots' file");
        let identity = namespace.authority.issue(&["token.test"]);
        let (key, certificate) = namespace.authority.issue_signer("token.test");
        let server = Server::start("token.test:443", Some(&identity), move |request| {
            answer(request, &key, &certificate)
        });
        TokenServer { roots, server }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

fn answer(request: &Request, key: &KeyPair, certificate: &[u8]) -> Reply {
    let login = BASE64_STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    if request.authorization != Some(format!("Basic {login}")) {
        return Reply::new(401, "application/json", "{}");
    }
    let url = Url::parse("https://token.test").expect("a URL").join(&request.path).expect("a path");
    let scopes: Vec<String> =
        url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, value)| value.into_owned()).collect();
    let token = sign(&claims(&scopes), key, certificate);
    Reply::new(200, "application/json", json!({"token": token, "expires_in": LIFETIME}).to_string())
}

/// Grants what is asked for.
fn claims(scopes: &[String]) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    let access = scopes.iter().filter_map(|scope| {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
    });
    json!({
        "iss": ISSUER,
        "sub": USERNAME,
        "aud": SERVICE,
        "exp": now + LIFETIME,
        "nbf": now - 10,
        "iat": now,
        "jti": "1",
        "access": access.collect::<Vec<_>>(),
    })
}

/// A JSON Web Token (RFC 7519), with its signer's certificate in it.
fn sign(claims: &Value, key: &KeyPair, certificate: &[u8]) -> String {
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(certificate)]});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let signature = fixed(&key.sign(text.as_bytes()).expect("a signature"));
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// An ECDSA signature as JSON Web Signatures have it (RFC 7518, section 3.4: two numbers of 32 bytes), from DER:
/// `30 LENGTH 02 LENGTH NUMBER 02 LENGTH NUMBER`.
fn fixed(der: &[u8]) -> Vec<u8> {
    let (first, second) = der[4..].split_at(usize::from(der[3]));
    [first, &second[2..]].into_iter().flat_map(number).collect()
}

/// A number of 32 bytes, which DER writes without zeros before it, or with one more.
fn number(bytes: &[u8]) -> [u8; 32] {
    let mut number = [0; 32];
    let bytes = &bytes[bytes.len().saturating_sub(32)..];
    number[32 - bytes.len()..].copy_from_slice(bytes);
    number
}
