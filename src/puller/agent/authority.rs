//! A certificate authority that only this machine's dockerd believes, and only for the registries named.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::puller::RegistryName;

/// Who may read the key: its owner, which is to be root.
const KEY_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why there is no local authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files cannot be read or written.
    #[error("the local authority in {}: {source}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read the key.
    #[error("{} can be read by others; remove it and run `portolan agent setup docker --write` again", .0.display())]
    Open(PathBuf),
    /// It cannot be made from what is there.
    #[error("the local authority cannot be used: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A key, and the certificate that says for which names it may sign.
pub struct Authority {
    key: KeyPair,
    names: Vec<String>,
    certificate: String,
}

impl Authority {
    /// The authority in `folder` for the hosts of these registries; a new one if there is none, or one for others.
    pub fn open(folder: &Path, registries: &[RegistryName]) -> Result<Self, AuthorityError> {
        let mut names: Vec<String> = registries.iter().map(|it| it.host().to_owned()).collect();
        names.dedup();
        let (key_path, path) = (folder.join("authority.key"), folder.join("authority.pem"));
        let list_path = folder.join("authority.names");
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| AuthorityError::Disk { path, source }
        };
        let wanted = names.join("\n") + "\n";
        if fs::read_to_string(&list_path).is_ok_and(|it| it == wanted) {
            let mode = fs::metadata(&key_path).map_err(at(&key_path))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(AuthorityError::Open(key_path));
            }
            let key = KeyPair::from_pem(&fs::read_to_string(&key_path).map_err(at(&key_path))?)?;
            let certificate = fs::read_to_string(&path).map_err(at(&path))?;
            return Ok(Self { key, names, certificate });
        }
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(at(folder))?;
        let key = KeyPair::generate()?;
        let certificate = params(&names).self_signed(&key)?.pem();
        // The list comes last: without it the others do not count.
        for (path, text, mode) in [
            (&key_path, key.serialize_pem(), KEY_MODE),
            (&path, certificate.clone(), 0o644),
            (&list_path, wanted, 0o644),
        ] {
            write(path, text.as_bytes(), mode).map_err(at(path))?;
        }
        Ok(Self { key, names, certificate })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What a listener for the names needs: a certificate of this authority, whose key is nowhere else.
    pub(super) fn server_config(&self) -> Result<ServerConfig, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(self.names.clone())?;
        leaf.distinguished_name.push(DnType::CommonName, "portolan agent");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let params = params(&self.names);
        let certificate = leaf.signed_by(&key, &Issuer::from_params(&params, &self.key))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)?)
    }
}

/// Critical name constraints (RFC 5280, section 4.2.1.10): these names and those below them, and no address.
fn params(names: &[String]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "portolan agent of this machine");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let addresses = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let address = |it| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(it, 0));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: addresses.map(address).into(),
    });
    params
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Made anew, so that nobody has it open and its mode is right from the start.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier as _};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

    use super::*;

    #[test]
    fn the_key_is_for_its_owner_only_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        let names = ["registry.test".parse().unwrap()];
        let first = Authority::open(&folder, &names).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("authority.key"))), (0o700, 0o600));
        let again = Authority::open(&folder, &names).unwrap();
        assert_eq!(again.certificate(), first.certificate());
        again.server_config().unwrap();
        let other = Authority::open(&folder, &["other.test".parse().unwrap()]).unwrap();
        assert_ne!(other.certificate(), first.certificate());
        fs::set_permissions(folder.join("authority.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = Authority::open(&folder, &["other.test".parse().unwrap()]).err().unwrap();
        assert!(matches!(error, AuthorityError::Open(_)), "{error}");
    }

    /// Whether who believes in the authority believes in a certificate of it for `name`.
    fn is_believed(authority: &Authority, name: &str) -> bool {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap();
        let issuer = params(&authority.names);
        let issuer = Issuer::from_params(&issuer, &authority.key);
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(leaf.der(), &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn it_can_sign_for_its_registries_only() {
        let folder = tempfile::tempdir().unwrap();
        let registries = ["registry.test", "other.test:5000"].map(|it| it.parse().unwrap());
        let authority = Authority::open(folder.path(), &registries).unwrap();
        for (name, expected) in [
            ("registry.test", true),
            ("other.test", true),
            ("bank.test", false),
            ("test", false),
            ("evilregistry.test", false),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(is_believed(&authority, name), expected, "{name}");
        }
    }
}
