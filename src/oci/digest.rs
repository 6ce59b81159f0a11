use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// What a blob is named by: an algorithm and the hash of its bytes.
///
/// OCI image specification, "Digests". Printed in lower-case hex of the algorithm's exact length,
/// so a path or URL made of one holds nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Digest {
    /// `sha256:` and 64 hexadecimal digits: what every registry uses.
    Sha256([u8; 32]),
    /// `sha512:` and 128 hexadecimal digits: allowed by the specification, hardly seen.
    Sha512([u8; 64]),
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// There is no `:` between algorithm and hash.
    #[error("a digest has the form sha256:HEX")]
    Form,
    /// The algorithm is neither `sha256` nor `sha512`.
    #[error("the digest's algorithm is neither sha256 nor sha512")]
    Algorithm,
    /// The hash has the wrong length or something other than lower-case hex in it.
    #[error("the digest's hash is not {0} lower-case hexadecimal digits")]
    Hash(usize),
}

/// The two digits of every byte.
static PAIRS: [[u8; 2]; 256] = {
    let (digits, mut pairs, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

impl Digest {
    /// The SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(bytes).into())
    }

    /// The 32 bytes of a SHA-256 digest; `None` for any other algorithm.
    pub fn sha256(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Sha256(bytes) => Some(bytes),
            Self::Sha512(_) => None,
        }
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The hash in lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        let mut text = vec![0; 2 * self.bytes().len()];
        let (pairs, _) = text.as_chunks_mut();
        pairs.iter_mut().zip(self.bytes()).for_each(|(pair, it)| *pair = PAIRS[usize::from(*it)]);
        String::from_utf8(text).expect("digits are ASCII")
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], DigestError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Hash(2 * N)),
    };
    if text.len() != 2 * N {
        return Err(DigestError::Hash(2 * N));
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':').ok_or(DigestError::Form)? {
            ("sha256", hash) => unhex(hash).map(Self::Sha256),
            ("sha512", hash) => unhex(hash).map(Self::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [self.algorithm(), ":", &self.hex()].iter().try_for_each(|it| f.write_str(it))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Computes the digest of bytes as they pass by, to compare with the one they were asked under.
pub struct Verifier {
    expected: Digest,
    hasher: Hasher,
}

enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Verifier {
    /// Starts a check against `expected`.
    pub fn new(expected: Digest) -> Self {
        let hasher = match expected {
            Digest::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Digest::Sha512(_) => Hasher::Sha512(Sha512::new()),
        };
        Self { expected, hasher }
    }

    /// Takes the next bytes, in order.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Ends the check: `Err` holds the digest that the bytes really have.
    pub fn finish(self) -> Result<(), Digest> {
        let found = match self.hasher {
            Hasher::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Hasher::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        };
        if found == self.expected { Ok(()) } else { Err(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_prints_as_it_was_read() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    #[test]
    fn everything_else_is_refused() {
        #[track_caller]
        fn check(text: &str, error: DigestError) {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
        check("", DigestError::Form);
        check("e3b0", DigestError::Form);
        check("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm);
        check("sha256:", DigestError::Hash(64));
        check(&EMPTY.to_uppercase().replace("SHA", "sha"), DigestError::Hash(64));
        check(&format!("{EMPTY}0"), DigestError::Hash(64));
        check(&EMPTY.replace("e3", "é"), DigestError::Hash(64));
        check(&EMPTY.replace("sha256", "sha512"), DigestError::Hash(128));
    }

    #[test]
    fn the_verifier_names_what_it_found() {
        let mut right = Verifier::new(Digest::of(b"ab"));
        right.update(b"a");
        right.update(b"b");
        assert_eq!(right.finish(), Ok(()));
        let mut wrong = Verifier::new(Digest::of(b"ab"));
        wrong.update(b"a");
        assert_eq!(wrong.finish(), Err(Digest::of(b"a")));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(bytes: [u8; 32], more: [u8; 32]) {
            let long: Vec<u8> = bytes.iter().chain(&more).copied().collect();
            for digest in [Digest::Sha256(bytes), Digest::Sha512(long.try_into().unwrap())] {
                proptest::prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            }
        }
    }
}
