//! Says plainly what is wrong with a mirror's certificate.

use std::{error::Error, io};

use rustls::CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
    Revoked, UnknownIssuer,
};

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
