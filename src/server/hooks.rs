//! `POST /events`: the origin registry tells of pushes and deletions, as docker-distribution's notifications
//! do. A listener of its own, apart from those of clients.

mod config;
mod envelope;

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, ResponseError,
    http::{StatusCode, header},
    web::{self, Data},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

pub use config::{HooksConfig, Token};

use super::bearer;
use crate::oci::RepositoryName;

/// The largest notification, in bytes. A registry sends few events at once, of 1 KB each.
const BODY_LIMIT: usize = 1024 * 1024;

/// How long a notification may take to arrive; also its head alone.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Registries that are connected at once; more wait.
const CONNECTIONS: usize = 64;

/// The shortest token that is taken, in characters.
const TOKEN_MINIMUM: usize = 16;

/// Why notifications are not taken.
#[derive(Debug, thiserror::Error)]
pub enum HooksError {
    /// It could be guessed, or cannot be sent.
    #[error(
        "`token` in [hooks] has {0} characters: it needs {TOKEN_MINIMUM} or more, all letters, digits or signs; \
         `openssl rand -hex 32` makes one"
    )]
    Token(usize),
    /// The address cannot be listened on.
    #[error("cannot listen on {0} (`listen` in [hooks]): {1}")]
    Listen(SocketAddr, io::Error),
}

/// Judges the configuration, and takes no address.
pub fn check(config: &HooksConfig) -> Result<(), HooksError> {
    let token = config.token.reveal();
    let is_good = token.len() >= TOKEN_MINIMUM && token.bytes().all(|it| it.is_ascii_graphic());
    if token.is_empty() || is_good { Ok(()) } else { Err(HooksError::Token(token.chars().count())) }
}

/// An address that is listened on.
pub struct Hooks {
    socket: TcpListener,
    token: Token,
}

impl Hooks {
    /// Takes the address; `None` if no token is configured.
    pub fn bind(config: &HooksConfig) -> Result<Option<Self>, HooksError> {
        check(config)?;
        if config.token.reveal().is_empty() {
            return Ok(None);
        }
        let socket =
            TcpListener::bind(config.listen).map_err(|error| HooksError::Listen(config.listen, error))?;
        Ok(Some(Self { socket, token: config.token.clone() }))
    }

    /// Where registries send to: `http://ADDRESS/events`.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}/events", self.socket.local_addr()?))
    }

    /// Answers until `stop` is ready. `changed` is told each repository in which something was pushed or deleted,
    /// before the registry gets its answer; it must not block.
    pub async fn serve(
        self,
        changed: impl Fn(RepositoryName) + Send + Sync + 'static,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let receiver = Data::new(Receiver { token: hash(self.token.reveal()), changed: Box::new(changed) });
        let app = move || {
            let events = web::resource("/events")
                .route(web::post().to(answer))
                .default_service(web::to(async || Err::<HttpResponse, _>(Refusal::Method)));
            App::new().app_data(receiver.clone()).service(events)
        };
        let server = HttpServer::new(app)
            .workers(1)
            .max_connections(CONNECTIONS)
            .client_request_timeout(BODY_TIMEOUT)
            .shutdown_timeout(1)
            .disable_signals()
            .listen(self.socket)?
            .run();
        let handle = server.handle();
        tokio::pin!(server);
        tokio::select! {
            result = &mut server => result,
            () = stop => futures_util::future::join(handle.stop(true), &mut server).await.1,
        }
    }
}

/// What each request needs.
struct Receiver {
    token: [u8; 32],
    changed: Box<dyn Fn(RepositoryName) + Send + Sync>,
}

/// Hashes have one length, so that a comparison tells nothing of the token, nor of how long it is.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Why a notification is not taken. Registries send it again, so each says what to mend.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("notifications are sent by POST")]
    Method,
    #[error("a notification needs `Authorization: Bearer TOKEN` with the token of [hooks]")]
    Token,
    #[error("a notification has at most {BODY_LIMIT} bytes")]
    TooLarge,
    #[error("the notification did not arrive in time")]
    Slow,
    #[error("this is no notification of docker-distribution: {0}")]
    Body(String),
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Body(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn error_response(&self) -> HttpResponse {
        tracing::warn!(reason = %self, "a notification was refused");
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Method => response.insert_header((header::ALLOW, "POST")),
            Self::Token => response.insert_header((header::WWW_AUTHENTICATE, "Bearer")),
            Self::TooLarge | Self::Slow | Self::Body(_) => &mut response,
        };
        response.json(serde_json::json!({ "error": self.to_string() }))
    }
}

async fn answer(
    request: HttpRequest,
    body: web::Payload,
    receiver: Data<Receiver>,
) -> Result<HttpResponse, Refusal> {
    let sent = bearer::token(&request).map(hash).ok_or(Refusal::Token)?;
    if !bool::from(sent.ct_eq(&receiver.token)) {
        return Err(Refusal::Token);
    }
    let body = timeout(BODY_TIMEOUT, body.to_bytes_limited(BODY_LIMIT)).await;
    let body = body.map_err(|_| Refusal::Slow)?.map_err(|_| Refusal::TooLarge)?;
    let body = body.map_err(|error| Refusal::Body(error.to_string()))?;
    let changed = envelope::list_changed(&body).map_err(|error| Refusal::Body(error.to_string()))?;
    for name in changed {
        tracing::debug!(repository.name = %name, "the origin tells of a change");
        (receiver.changed)(name);
    }
    Ok(HttpResponse::Accepted().finish())
}
