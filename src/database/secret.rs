//! Secrets that are shown once, and passwords. Of both only what proves them is kept.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use sha2::{Digest as _, Sha256 as Hasher};

use super::Sha256;

/// Random bytes of a secret: nobody can guess it.
const BYTES: usize = 32;

/// The fewest and most characters of a password: the least is above that of NIST SP 800-63B (5.1.1.2), and there is room
/// for phrases.
const PASSWORD: std::ops::RangeInclusive<usize> = 10..=200;

/// Why no secret could be made.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system gives no random numbers.
    #[error("the system's random numbers: {0}")]
    Dice(String),
    /// The password is too short or too long.
    #[error("{} to {} characters", PASSWORD.start(), PASSWORD.end())]
    Length,
    /// The password cannot be hashed.
    #[error("hashing the password: {0}")]
    Hash(String),
}

/// A new secret, in hexadecimal digits.
pub fn new() -> Result<String, SecretError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| SecretError::Dice(error.to_string()))?;
    Ok(bytes.iter().map(|it| format!("{it:02x}")).collect())
}

/// What is kept of a secret. It is too long to be guessed, so that a fast hash is enough.
pub fn hash(secret: &str) -> Sha256 {
    Sha256(Hasher::digest(secret.as_bytes()).into())
}

/// Is it long enough, and not too long?
pub fn check_password(password: &str) -> Result<(), SecretError> {
    if PASSWORD.contains(&password.chars().count()) { Ok(()) } else { Err(SecretError::Length) }
}

/// What is kept of a password: argon2id (RFC 9106) in the PHC format, by default with 19 MiB and two passes, as OWASP
/// recommends. Takes some ten milliseconds.
pub fn hash_password(password: &str) -> Result<String, SecretError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|it| it.to_string()).map_err(|error| SecretError::Hash(error.to_string()))
}

/// Is it the password of this hash? Without a hash it takes as long, and is not.
pub fn verify_password(password: &str, hash: Option<&str>) -> bool {
    /// Of a password that nobody knows.
    const NOBODYS: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBub2JvZHkgc2FsdA$GmiNqxc5Nyz3B3kq0IMIEkvPmGHjIYKIJXN+6EoS/Cs";
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODYS));
    let verified = parsed.is_ok_and(|it| Argon2::default().verify_password(password.as_bytes(), &it).is_ok());
    verified && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (new().unwrap(), new().unwrap());
        assert_eq!((one.len(), one == other), (64, false));
        assert_ne!(hash(&one), hash(&other));
    }

    #[test]
    fn a_password_proves_itself() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hash_password("correct horse").unwrap(), "salted");
        assert!(verify_password("correct horse", Some(&hash)));
        for (password, hash) in
            [("correct horsf", Some(&*hash)), ("correct horse", None), ("x", Some("none")), ("", None)]
        {
            assert!(!verify_password(password, hash), "{password}");
        }
    }
}
