//! Certificates from PEM files, read again when they change.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufReader},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Why a listener has no certificate.
#[derive(Debug, thiserror::Error)]
#[error("certificate {} with key {}: {reason}", certificate.display(), key.display())]
pub struct TlsError {
    certificate: PathBuf,
    key: PathBuf,
    reason: String,
}

/// A certificate that follows its files.
pub(super) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl Certificate {
    /// Reads certificate and key.
    pub(super) fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let loaded = read(&certificate, &key, &provider);
        match loaded {
            Ok(current) => {
                Ok(Arc::new(Self { certificate, key, provider, current: ArcSwap::from_pointee(current) }))
            }
            Err(reason) => Err(TlsError { certificate, key, reason }),
        }
    }

    /// Reads the files again if one has changed. Files that do not fit each other (yet) leave the old
    /// pair in use.
    pub(super) fn reload_if_changed(&self) -> Result<bool, TlsError> {
        if modified(&[&self.certificate, &self.key]).ok() == Some(self.current.load().0) {
            return Ok(false);
        }
        let read = read(&self.certificate, &self.key, &self.provider);
        let current = read.map_err(|reason| TlsError {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            reason,
        })?;
        self.current.store(Arc::new(current));
        Ok(true)
    }

    /// What a listener needs.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            reason: error.to_string(),
        })?;
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

/// The newer time of change of the files.
fn modified(paths: &[&PathBuf]) -> io::Result<Option<SystemTime>> {
    let times: io::Result<Vec<_>> = paths.iter().map(|it| fs::metadata(it)?.modified()).collect();
    Ok(times?.into_iter().max())
}

type Loaded = (Option<SystemTime>, Arc<CertifiedKey>);

fn read(certificate: &PathBuf, key: &PathBuf, provider: &CryptoProvider) -> Result<Loaded, String> {
    let changed = modified(&[certificate, key]).map_err(|error| error.to_string())?;
    let open = |path| File::open(path).map(BufReader::new).map_err(|error| error.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(certificate)?).collect();
    let chain = chain.map_err(|error| format!("the certificate is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate file holds no certificate".to_owned());
    }
    let private = PrivateKeyDer::from_pem_reader(open(key)?);
    let private = private.map_err(|error| format!("the key is no PEM: {error}"))?;
    let signing = provider.key_provider.load_private_key(private).map_err(|error| error.to_string())?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| format!("certificate and key do not belong together: {error}"))?;
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
        assert!(!loaded.reload_if_changed().unwrap());
        write(&second.0, &first.1, 50);
        assert!(loaded.reload_if_changed().unwrap_err().to_string().contains("do not belong together"));
        assert_eq!(current(), before);
        write(&second.0, &second.1, 10);
        assert!(loaded.reload_if_changed().unwrap());
        assert_ne!(current(), before);
        write("nothing", &second.1, 5);
        assert!(loaded.reload_if_changed().unwrap_err().to_string().contains("holds no certificate"));
        let missing = Certificate::load("missing.pem".into(), key.clone()).unwrap_err().to_string();
        assert!(missing.contains("certificate missing.pem") && missing.contains("No such file"), "{missing}");
    }
}
