//! A certificate authority for one test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// An authority that every program in the namespace trusts.
pub(crate) struct Authority {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a server's certificate.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path) -> Authority {
        fs::create_dir_all(folder).expect("the authority's folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Portolan's tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("the authority's certificate").pem();
        Authority { folder: folder.to_owned(), certificate, issuer: Issuer::new(params, key) }
    }

    /// The authority's own certificate, PEM.
    pub(crate) fn certificate(&self) -> String {
        self.certificate.clone()
    }

    /// A key that signs, and its certificate as DER.
    pub(crate) fn issue_signer(&self, name: &str) -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a certificate's name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (key, certificate.der().to_vec())
    }

    /// Issues a certificate for `names`; the file is called after the first of them.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names[0], params_of(names))
    }

    /// Issues a certificate whose time is over.
    pub(crate) fn issue_expired(&self, name: &str) -> Identity {
        let mut params = params_of(&[name]);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 12, 31);
        self.sign(&format!("{name}-expired"), params)
    }

    /// Issues a certificate that ends at midnight, so many days from today.
    pub(crate) fn issue_for_days(&self, name: &str, days: i64) -> Identity {
        let end =
            jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date() + jiff::Span::new().days(days);
        let part = |number: i8| u8::try_from(number).expect("a part of a date");
        let mut params = params_of(&[name]);
        params.not_after = rcgen::date_time_ymd(end.year().into(), part(end.month()), part(end.day()));
        self.sign(&format!("{name}-{days}"), params)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> Identity {
        let file = self.folder.join(file);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let identity =
            Identity { certificate: file.with_added_extension("crt"), key: file.with_added_extension("key") };
        fs::write(&identity.certificate, certificate).expect("the certificate's file");
        fs::write(&identity.key, key.serialize_pem()).expect("the key's file");
        identity
    }
}

fn params_of(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names of a certificate")
}
