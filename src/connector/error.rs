use std::path::PathBuf;

use crate::mirror::HostUrl;

/// Why the origin registry did not give what was asked for. Never holds a password or token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no origin.
    #[error("no origin registry is named; set url in [origin]")]
    NoOrigin,
    /// The URL goes on to the API.
    #[error("url of [origin], {0}: leave out `/v2`, it is added to every request")]
    ApiPath(HostUrl),
    /// A file of the configuration cannot be used.
    #[error("{option} of [origin], {}: {reason}", path.display())]
    File {
        /// `ca_file` or `auth_file`.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The authorities for the service cannot be read.
    #[error("ca_file of [client], {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Setup(String),
    /// No answer, or one that broke off.
    #[error("{method} {url}: {reason}")]
    Unreachable {
        /// GET or HEAD.
        method: &'static str,
        /// What was asked for.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// An answer with a status that does not help.
    #[error("{method} {url}: {status}: {advice}")]
    Status {
        /// GET or HEAD.
        method: &'static str,
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// An answer that cannot be right.
    #[error("{url}: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest that cannot be exported.
    #[error("{url}: {source}")]
    Manifest {
        /// What was asked for.
        url: String,
        /// Why not.
        source: crate::oci::ManifestError,
    },
}

impl Error {
    /// Would it be worth asking again later, because the network or the server failed?
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

/// What to do about a status of the origin.
pub(super) fn advice(status: u16) -> &'static str {
    match status {
        401 => {
            "check username and password (PORTOLAN_ORIGIN_USERNAME and PORTOLAN_ORIGIN_PASSWORD in the environment \
             win) or auth_file in [origin]"
        }
        403 => "the login in [origin] may not read this",
        404 => "there is nothing of this name; check url and the repositories in the configuration",
        407 => "the proxy wants a login; check HTTPS_PROXY",
        429 => "the registry asks for fewer requests; lower connections in [origin]",
        500.. => "the registry failed; look into its log",
        _ => "this is no answer of a registry; check url in [origin]",
    }
}

/// What the TLS library says of an answer that is no TLS at all.
const NOT_TLS: &str = "InvalidContentType";

/// The innermost causes of a failed request, which say more than the outermost.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    texts.dedup();
    if texts.last().is_some_and(|it| it.contains(NOT_TLS)) {
        return "no TLS there: it seems to speak plain HTTP, by a URL with http://".to_owned();
    }
    texts.pop().map_or_else(
        || error.to_string(),
        |last| match texts.pop() {
            Some(before) if !before.contains(&last) => format!("{before}: {last}"),
            Some(before) => before,
            None => last,
        },
    )
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    #[tokio::test]
    async fn https_to_a_plain_server_is_explained() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        });
        crate::connector::install_cryptography();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!(
            super::causes(&error),
            "no TLS there: it seems to speak plain HTTP, by a URL with http://"
        );
        server.abort();
    }
}
