//! Says plainly what is wrong with a mirror's certificate, and when it ends.

use std::{error::Error, io};

use reqwest::{Response, tls::TlsInfo};
use rustls::CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
    Revoked, UnknownIssuer,
};

/// When the certificate ends that the answer came under, Unix seconds.
pub(super) fn end(response: &Response) -> Option<i64> {
    end_of(response.extensions().get::<TlsInfo>()?.peer_certificate()?)
}

fn end_of(der: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// What is wrong with the certificate, if that is why the request failed.
pub(super) fn fault(error: &(dyn Error + 'static)) -> Option<String> {
    let rustls::Error::InvalidCertificate(reason) = find(error)? else { return None };
    Some(match reason {
        Expired | ExpiredContext { .. } => "its certificate has expired".to_owned(),
        NotValidYet | NotValidYetContext { .. } => "its certificate is not valid yet".to_owned(),
        NotValidForName | NotValidForNameContext { .. } => {
            "its certificate is for another host name".to_owned()
        }
        UnknownIssuer => "its certificate is by an authority that this machine does not know, \
                          or it does not send the whole chain"
            .to_owned(),
        Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate is not valid: {other}"),
    })
}

/// An I/O error hides the error it was made of from `source`.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner: &'a (dyn Error + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    find(inner)
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn the_end_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["m1.example.org".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2027, 1, 2);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let end = jiff::Timestamp::from_second(end_of(certificate.der()).unwrap()).unwrap();
        assert_eq!(end.to_string(), "2027-01-02T00:00:00Z");
        assert_eq!(end_of(b"no certificate"), None);
    }

    #[test]
    fn certificates_are_named() {
        #[track_caller]
        fn check(reason: CertificateError, expected: &str) {
            let error = io::Error::other(io::Error::other(rustls::Error::InvalidCertificate(reason)));
            assert!(fault(&error).unwrap().starts_with(expected), "{:?}", fault(&error));
        }
        check(Expired, "its certificate has expired");
        check(NotValidYet, "its certificate is not valid yet");
        check(NotValidForName, "its certificate is for another host name");
        check(UnknownIssuer, "its certificate is by an authority");
        check(CertificateError::BadSignature, "its certificate is not valid: ");
        assert_eq!(fault(&io::Error::other(rustls::Error::DecryptError)), None);
        assert_eq!(fault(&io::Error::other("x")), None);
    }
}
