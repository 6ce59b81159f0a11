//! Certificates from PEM files, read again when they change.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::CryptoProvider,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

/// Why a listener has no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{option} of a [[listen]], {}: {reason}{}", path.display(), where_from(path))]
pub struct TlsError {
    /// `certificate` or `key`.
    option: &'static str,
    path: PathBuf,
    reason: String,
}

impl TlsError {
    fn new(option: &'static str, path: &Path, reason: impl ToString) -> Self {
        Self { option, path: path.to_owned(), reason: reason.to_string() }
    }
}

/// A file that is not found is often looked for in the wrong folder.
fn where_from(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(folder) if path.is_relative() => {
            format!("; relative paths count from the current folder, {}", folder.display())
        }
        _ => String::new(),
    }
}

/// A certificate that follows its files.
pub(super) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Loaded>,
}

impl Certificate {
    /// Reads certificate and key.
    pub(super) fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = ArcSwap::from_pointee(read(&certificate, &key, &provider)?);
        Ok(Arc::new(Self { certificate, key, provider, current }))
    }

    /// Reads the files again if one has changed. Files that do not fit each other (yet) leave the old
    /// pair in use.
    pub(super) fn reload_if_changed(&self) -> Result<bool, TlsError> {
        if let (Ok(certificate), Ok(key)) = (modified(&self.certificate), modified(&self.key))
            && certificate.max(key) == self.current.load().0
        {
            return Ok(false);
        }
        let current = read(&self.certificate, &self.key, &self.provider)?;
        self.current.store(Arc::new(current));
        Ok(true)
    }

    /// Is it for this name?
    pub(super) fn is_for(&self, host: &str) -> bool {
        let current = self.current.load();
        let Ok(name) = ServerName::try_from(host) else { return false };
        let parsed = current.1.end_entity_cert().and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|it| verify_server_name(&it, &name).is_ok())
    }

    /// What a listener needs.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::new("certificate", &self.certificate, error))?;
        Ok(builder.with_no_client_auth().with_cert_resolver(self.clone()))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().1.clone())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}", self.certificate.display())
    }
}

/// When the file was changed.
fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// A pair, and when the newer of its files was changed.
type Loaded = (SystemTime, Arc<CertifiedKey>);

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Loaded, TlsError> {
    let bad_certificate = |reason: String| TlsError::new("certificate", certificate, reason);
    let bad_key = |reason: String| TlsError::new("key", key, reason);
    // The times are older than the content: what is written in between is seen as a change.
    let changed = modified(certificate).map_err(|error| bad_certificate(error.to_string()))?;
    let changed = changed.max(modified(key).map_err(|error| bad_key(error.to_string()))?);

    let file = File::open(certificate).map_err(|error| bad_certificate(error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(BufReader::new(file)).collect();
    let chain = chain.map_err(|error| bad_certificate(format!("it is no PEM: {error}")))?;
    if chain.is_empty() {
        return Err(bad_certificate("it holds no certificate in PEM form".to_owned()));
    }
    let file = File::open(key).map_err(|error| bad_key(error.to_string()))?;
    let private = PrivateKeyDer::from_pem_reader(BufReader::new(file));
    let private =
        private.map_err(|error| bad_key(format!("it holds no private key in PEM form: {error}")))?;
    let signing = provider.key_provider.load_private_key(private);
    let signing = signing.map_err(|error| bad_key(error.to_string()))?;
    let certified = CertifiedKey::new(chain, signing);
    let other =
        |error| bad_key(format!("it does not belong to the certificate {}: {error}", certificate.display()));
    certified.keys_match().map_err(other)?;
    Ok((changed, Arc::new(certified)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_pair_is_taken_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let write = |cert: &str, private: &str, age: u64| {
            fs::write(&certificate, cert).unwrap();
            fs::write(&key, private).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&certificate).unwrap().set_modified(time).unwrap();
            File::options().write(true).open(&key).unwrap().set_modified(time).unwrap();
        };
        let make = || {
            let made = rcgen::generate_simple_self_signed(["registry.test".to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let (first, second) = (make(), make());
        write(&first.0, &first.1, 100);
        let loaded = Certificate::load(certificate.clone(), key.clone()).unwrap();
        let current = || loaded.current.load().1.end_entity_cert().unwrap().to_vec();
        let before = current();
        let is_for = |it: &&str| loaded.is_for(it);
        let names = ["registry.test", "REGISTRY.test", "eu.registry.test", "192.0.2.1", "h@x"];
        assert_eq!(names.iter().copied().filter(is_for).count(), 2);
        assert!(!loaded.reload_if_changed().unwrap());
        write(&second.0, &first.1, 50);
        assert!(
            loaded
                .reload_if_changed()
                .unwrap_err()
                .to_string()
                .contains("key.pem: it does not belong to the certificate")
        );
        assert_eq!(current(), before);
        write(&second.0, &second.1, 10);
        assert!(loaded.reload_if_changed().unwrap());
        assert_ne!(current(), before);
        write("nothing", &second.1, 5);
        assert!(loaded.reload_if_changed().unwrap_err().to_string().contains("holds no certificate"));
        let missing = |certificate: &Path, key: &Path| {
            let error = Certificate::load(certificate.to_owned(), key.to_owned()).unwrap_err().to_string();
            assert!(error.contains("No such file"), "{error}");
            error
        };
        let folder = format!(
            "relative paths count from the current folder, {}",
            std::env::current_dir().unwrap().display()
        );
        let error = missing(Path::new("missing.pem"), &key);
        assert!(
            error.starts_with("certificate of a [[listen]], missing.pem: ") && error.contains(&folder),
            "{error}"
        );
        let error = missing(&certificate, &certificate.with_file_name("missing.pem"));
        assert!(error.starts_with("key of a [[listen]], /") && !error.contains("relative"), "{error}");
    }
}
