use std::path::PathBuf;

/// Why nobody can be sent to the provider at all.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The program cannot ask a provider.
    #[error("`issuer` in [accounts.oidc] is set, but this program was built without oidc, the cargo feature")]
    Feature,
    /// It is no address.
    #[error(
        "`{key}` in [accounts.oidc] is no URL as https://id.example.org, by https (by http only on this machine), without \
         user, `?` and `#`: {text:?}"
    )]
    Url {
        /// Which key.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// The registry's address goes on.
    #[error("`public_url` in [accounts.oidc] has a path: leave it out, it is the registry's address alone")]
    Path,
    /// A text that must be there, and readable.
    #[error("`{key}` in [accounts.oidc] has 1 to {most} characters that can be seen: {text:?}")]
    Text {
        /// Which key.
        key: &'static str,
        /// What stands there.
        text: String,
        /// So many at most.
        most: usize,
    },
    /// Too much of something.
    #[error("`{key}` in [accounts.oidc] has more than {most} entries")]
    Many {
        /// Which key.
        key: &'static str,
        /// So many at most.
        most: usize,
    },
    /// A scope with a space would be two.
    #[error("`scopes` in [accounts.oidc]: {0:?} is no scope (RFC 6749, section 3.3)")]
    Scope(String),
    /// A file that is named cannot be used.
    #[error("`{key}` in [accounts.oidc], {}: {reason}", path.display())]
    File {
        /// Which key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client for [accounts.oidc] cannot be made: {0}")]
    Setup(String),
}

/// Why the provider did not say who somebody is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer, or a failure of its own.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What came instead.
        reason: String,
    },
    /// An answer that cannot be right.
    #[error("{url}: {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The code is not good: it was used already, or is too old.
    #[error("the provider does not take the code: {0}")]
    Spent(String),
    /// The token proves nothing.
    #[error("the token: {0}")]
    Token(#[from] TokenError),
    /// Somebody else's answer (RFC 9207).
    #[error("the answer is of another issuer: {0:?}")]
    Issuer(String),
}

/// Which check of an ID token failed (OpenID Connect Core 1.0, section 3.1.3.7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of three parts in base64url, or no JSON in them.
    #[error("it is no signed JSON Web Token: {0}")]
    Form(String),
    /// Not on the list of those that are taken.
    #[error("it is signed by {0:?}, which is not taken")]
    Algorithm(String),
    /// The provider has no such key.
    #[error("the provider has no key {0:?} that fits")]
    Key(String),
    /// Somebody else has signed it, or it was changed.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else has made it.
    #[error("it is of the issuer {0:?}")]
    Issuer(String),
    /// It is for somebody else, or not for us alone.
    #[error("it is for {0:?}")]
    Audience(Vec<String>),
    /// It was asked for by somebody else.
    #[error("it was asked for by {0:?}")]
    Party(String),
    /// Too late.
    #[error("it has expired")]
    Expired,
    /// Made in the future, or long ago.
    #[error("it was made too long ago, or in the future")]
    Age,
    /// Of another sign-in.
    #[error("its nonce is not that of this sign-in")]
    Nonce,
    /// Nobody can be called so.
    #[error("its subject is empty or longer than 255 ASCII characters")]
    Subject,
    /// What is said of somebody beside the token is of somebody else.
    #[error("what is told beside it is of another subject")]
    OtherSubject,
}
