//! `portolan agent`: a registry on the engine's own machine that does for each request what a pull does.

mod answer;
mod authority;
mod config;
mod counters;
mod proxy;
pub mod setup;
mod store;

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header::CONTENT_TYPE,
    web::{self, Data},
};
use listenfd::ListenFd;

pub use authority::{Authority, AuthorityError};
pub use config::AgentConfig;

use super::{Config, RegistryName, ServiceError, service::Service};
use answer::Agent;
use proxy::Proxy;
use store::Store;

/// Threads that answer.
const WORKERS: usize = 2;

/// Connections of engines at once, a worker.
const CONNECTIONS: usize = 512;

/// How long a stop waits for downloads that run, in seconds.
const DRAIN: u64 = 10;

/// An engine has so long to send the head of its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the agent does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nothing to do.
    #[error("name the registries that the agent stands in for: `registries` in [agent]")]
    NoRegistry,
    /// The whole world could ask it.
    #[error("`{0}` in [agent] is {1}; the agent answers on loopback only, as 127.0.0.1")]
    Open(&'static str, SocketAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {0} (`{1}` in [agent]): {2}")]
    Listen(SocketAddr, &'static str, io::Error),
    /// The folder cannot be used.
    #[error("`state` in [agent]: {0}")]
    State(io::Error),
    /// A registry's name, or the files for it.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The local authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The server itself failed.
    #[error("the agent failed: {0}")]
    Server(#[from] io::Error),
}

/// Where a started agent answers.
#[derive(Clone, Debug)]
pub struct AgentAddresses {
    /// `http://…`, for containerd, podman and CRI-O, and `/metrics`.
    pub listening: String,
    /// `http://…`, as dockerd's HTTPS proxy.
    pub proxy: String,
}

/// Answers until `stop` is ready. `started` is called once, when both addresses answer.
pub async fn serve(
    config: &AgentConfig,
    client: &Config,
    started: impl FnOnce(&AgentAddresses),
    stop: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    if config.registries.is_empty() {
        return Err(AgentError::NoRegistry);
    }
    let mut handed = ListenFd::from_env();
    let listener = listen(&mut handed, 0, "listen", config.listen)?;
    let proxy = listen(&mut handed, 1, "proxy", config.proxy)?;
    let secure = bind("listen", SocketAddr::new(config.listen.ip(), 0))?;
    let authority = Authority::open(&config.state, &config.registries)?;
    let store = Store::open(config.state.join("blobs"), config.cache_bytes).map_err(AgentError::State)?;
    let store = Arc::new(store);
    let registry = |it: &RegistryName| Ok((it.clone(), Arc::new(Service::new(it, client)?)));
    let registries = config.registries.iter().map(registry).collect::<Result<_, ServiceError>>()?;
    let url = |it: &TcpListener| it.local_addr().map(|it| format!("http://{it}"));
    let addresses = AgentAddresses { listening: url(&listener)?, proxy: url(&proxy)? };

    let registries_of_proxy = config.registries.clone();
    let proxying =
        Proxy { registries: registries_of_proxy, secure: secure.local_addr()?, store: store.clone() };
    proxy.set_nonblocking(true)?;
    let proxy = tokio::spawn(proxying.run(tokio::net::TcpListener::from_std(proxy)?));
    let agent = Data::new(Agent { registries, store });
    let app = move || {
        App::new()
            .app_data(agent.clone())
            .route("/metrics", web::get().to(render_metrics))
            .default_service(web::to(answer::answer))
    };
    let server = HttpServer::new(app)
        .workers(WORKERS)
        .max_connections(CONNECTIONS)
        .client_request_timeout(REQUEST_TIMEOUT)
        .shutdown_timeout(DRAIN)
        .disable_signals()
        .listen(listener)?
        .listen_rustls_0_23(secure, authority.server_config()?)?
        .run();
    started(&addresses);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let handle = server.handle();
    tokio::pin!(server);
    let result = tokio::select! {
        result = &mut server => result,
        () = stop => {
            futures_util::future::join(handle.stop(true), &mut server).await.1
        }
    };
    proxy.abort();
    result.map_err(AgentError::Server)
}

async fn render_metrics(agent: Data<Agent>) -> HttpResponse {
    let text = agent.store.counters.render(agent.store.bytes());
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4")).body(text)
}

/// The socket that systemd has handed over in this place (`LISTEN_FDS`), else one of our own.
fn listen(
    handed: &mut ListenFd,
    place: usize,
    key: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, AgentError> {
    match handed.take_tcp_listener(place) {
        Ok(Some(listener)) => {
            let address = listener.local_addr()?;
            if address.ip().is_loopback() { Ok(listener) } else { Err(AgentError::Open(key, address)) }
        }
        Ok(None) => bind(key, address),
        Err(error) => Err(AgentError::Listen(address, key, error)),
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, AgentError> {
    if !address.ip().is_loopback() {
        return Err(AgentError::Open(key, address));
    }
    TcpListener::bind(address).map_err(|error| AgentError::Listen(address, key, error))
}
