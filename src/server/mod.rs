//! Answers container clients from the snapshot: the registry API, metalinks and mirror lists.

mod access;
mod api;
mod bearer;
mod blob_body;
mod config;
mod desk;
mod endpoint;
mod error;
mod experience;
mod fallback;
pub mod hooks;
mod lists;
mod mirrorlist;
mod notes;
mod pages;
mod peer;
mod question;
mod range;
mod refresh;
mod registry;
mod report;
mod sent;
mod serials;
mod stand_in;
mod state;
mod statistics;
mod status;
mod tls;
mod traffic;

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web::{self, Data},
};
use jiff::SignedDuration;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub use api::openapi;
pub use config::{AccountsConfig, Config, FallbackConfig, ForwardedHeader, ListenConfig, SeenConfig};
pub use desk::{
    Access, DeskRoute, api::list_operations as list_api_operations, list_routes as list_desk_routes,
};
pub use endpoint::{EndpointConfig, EndpointError};
pub use stand_in::{StandIn, StandInAnswer};
pub use tls::TlsError;

use crate::{
    connector::oidc::OidcError,
    database::{self, Database, statistics::StatisticsConfig},
    geoip::{self, GeoIp},
    mirror::HostUrl,
    mirrorlist::PublishRules,
    store::{self, Store},
    tree::Tree,
};
use error::RegistryError;
use fallback::Fallback;
use report::Reports;
use state::{Current, State};
use tls::Certificate;

/// A client has so long to send the head of its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// An idle connection is kept so long. Longer than the 60 s that proxies keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Connections of one worker at once.
const MOST_CONNECTIONS: usize = 10_000;

/// All that serving needs to know.
pub struct Settings {
    /// `[serve]`
    pub serve: Config,
    /// `[[listen]]`; empty is `127.0.0.1:5000`.
    pub listen: Vec<ListenConfig>,
    /// `[accounts]`
    pub accounts: AccountsConfig,
    /// `[[endpoint]]`
    pub endpoints: Vec<EndpointConfig>,
    /// `[fallback]`
    pub fallback: FallbackConfig,
    /// `[geoip]`
    pub geoip: geoip::Config,
    /// Where the fallback may find the tree.
    pub tree: Tree,
    /// The origin, if it needs no login.
    pub origin: Option<HostUrl>,
    /// Of each category: when a tag that moved is answered anew.
    pub publish: PublishRules,
    /// `[statistics]`
    pub statistics: StatisticsConfig,
    /// What operators see of all of it.
    pub seen: SeenConfig,
    /// Dice: makes the repeat memory unforeseeable.
    pub seed: u64,
}

/// Where a started server answers.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// `http://…` or `https://…` of every listener.
    pub listening: Vec<String>,
    /// `http://…` of the management address.
    pub management: String,
}

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key} in the configuration): {source}{}", listen_advice(source))]
    Listen {
        /// `address` of a `[[listen]]` or `serve.management`.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Two keys name one address.
    #[error("{one} and {other}, named by {key}, are in each other's way: give them different ports")]
    Taken {
        /// Which key is to be changed.
        key: &'static str,
        /// An address.
        one: SocketAddr,
        /// Another one, or the same again.
        other: SocketAddr,
    },
    /// Clients would come over an open network without TLS.
    #[error(
        "the listener {0} has no TLS and is not a loopback address: give it `certificate` and `key`, or name \
         the proxies in front in `serve.trusted_proxies`"
    )]
    Open(SocketAddr),
    /// Only one of certificate and key is named.
    #[error("the listener {0} needs both `certificate` and `key`, or neither")]
    HalfTls(SocketAddr),
    /// An endpoint that cannot be meant.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Clients refuse a name that no certificate is for.
    #[error("no certificate of a [[listen]] is for the endpoint {0}; clients would refuse it")]
    Uncertified(String),
    /// No usable certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No usable GeoIP database.
    #[error(transparent)]
    Geoip(#[from] geoip::Error),
    /// Nobody can be sent to the provider of OpenID Connect.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The state folder cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// Nothing saved, and nothing to be had from the database.
    #[error("there is no snapshot to answer from: nothing usable is saved, and {0}")]
    Snapshot(String),
    /// The server itself failed.
    #[error("the server failed: {0}")]
    Server(#[from] io::Error),
}

/// Serves until `stop` is ready, then lets running downloads end. `started` is called once, when
/// all addresses answer.
pub async fn serve(
    settings: Settings,
    database: Arc<Database>,
    started: impl FnOnce(&Addresses),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    endpoint::judge(&settings.endpoints)?;
    let listeners = bind(&settings)?;
    let certificates = listeners.iter().map(|it| it.certificate.as_ref());
    if let Err(error) = judge_certificates(certificates, &settings.endpoints) {
        tracing::warn!("{error}"); // those who come by other names are served
    }
    let certificates: Vec<_> = listeners.iter().filter_map(|it| it.certificate.clone()).collect();
    let management = bind_one(MANAGEMENT_KEY, settings.serve.management)?;
    let addresses = addresses(&listeners, &management)?;

    let store = Store::open(&settings.serve.state)?;
    let geoip = GeoIp::open(&settings.geoip)?;
    warn_of_old_geoip(&geoip);
    let (mut current, store) = first(database.clone(), store).await?;
    current.snapshot.gate = refresh::decide_gate(&settings.publish, &current.snapshot);
    for (endpoint, site) in endpoint::list_strange_sites(&settings.endpoints, &current.snapshot.hosts) {
        tracing::warn!(endpoint, site, "no host is of the site that the endpoint avoids; is this its name?");
    }
    let fallback = Fallback::new(&settings.fallback, settings.tree, settings.origin);
    let config = &settings.serve;
    let oidc = desk::Oidc::new(&settings.accounts.oidc)?;
    let provider = oidc.as_ref().map(|it| it.name().to_owned()).unwrap_or_default();
    let accounts = &settings.accounts;
    let seen = settings.seen;
    let office = accounts.sign_in.then(|| desk::Office::new(database.clone(), accounts.sign_up, oidc, seen));
    let office = office.map(Data::new);
    let mut state =
        State::new(config, &settings.endpoints, fallback, geoip, settings.publish, settings.seed, current);
    state.has_desk = office.is_some();
    state.provider = provider;
    let state = Data::new(state);
    let recorder = Data::new(recorder());

    let reports = Data::new(Reports::new(database.clone(), config.report_max_age));

    let crawls = Data::new(pages::Crawls::new(database.clone()));
    let figures = Data::new(pages::Figures::new(database.clone()));
    let public = start_public(listeners, config, state.clone(), reports, crawls, figures, office)?;
    let management = start_management(management, state.clone(), recorder, settings.statistics)?;
    let (refused, refusal) = tokio::sync::oneshot::channel();
    let (stop_notes, note_keeper) =
        start_note_keeper(database.clone(), state.clone(), settings.seed.cast_signed(), accounts.log);
    let (stop_refresh, refresher) = start_refresher(database, store, state, certificates, refused);
    started(&addresses);
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd could not be told that we are ready");
    }
    let outcome = run(public, management, stop, refusal).await;
    drop((stop_refresh, stop_notes));
    let _ = tokio::task::spawn_blocking(move || (refresher.join(), note_keeper.join())).await;
    outcome
}

struct Listener {
    socket: TcpListener,
    certificate: Option<Arc<Certificate>>,
}

/// The keys of addresses, as errors name them.
const LISTEN_KEY: &str = "`address` of a [[listen]]";
const MANAGEMENT_KEY: &str = "`serve.management`";

/// Judges what [`serve`] would refuse at its start, and reads the files that are named. Takes no address.
pub fn check(settings: &Settings) -> Result<(), ServeError> {
    endpoint::judge(&settings.endpoints)?;
    let judged = judge_listeners(settings)?;
    judge_certificates(judged.iter().map(|it| it.1.as_ref()), &settings.endpoints)?;
    GeoIp::open(&settings.geoip)?;
    desk::Oidc::new(&settings.accounts.oidc)?;
    Ok(())
}

/// A listener that may be bound: its address, and its certificate if it has TLS.
type Judged = (SocketAddr, Option<Arc<Certificate>>);

/// Every listener with its certificate, none of them in the way of another.
fn judge_listeners(settings: &Settings) -> Result<Vec<Judged>, ServeError> {
    let default = [ListenConfig { address: ([127, 0, 0, 1], 5000).into(), certificate: None, key: None }];
    let wanted = if settings.listen.is_empty() { &default[..] } else { &settings.listen };
    let judge = |listen: &ListenConfig| {
        let address = listen.address;
        let certificate = match (&listen.certificate, &listen.key) {
            (Some(certificate), Some(key)) => Some(Certificate::load(certificate.clone(), key.clone())?),
            (None, None) => None,
            _ => return Err(ServeError::HalfTls(address)),
        };
        if certificate.is_none() && !address.ip().is_loopback() && settings.serve.trusted_proxies.is_empty() {
            return Err(ServeError::Open(address));
        }
        Ok((address, certificate))
    };
    let judged: Vec<_> = wanted.iter().map(judge).collect::<Result<_, _>>()?;
    for (number, (one, _)) in judged.iter().enumerate() {
        if let Some((other, _)) = judged[..number].iter().find(|(other, _)| overlap(*one, *other)) {
            return Err(ServeError::Taken { key: LISTEN_KEY, one: *one, other: *other });
        }
        let other = settings.serve.management;
        if overlap(*one, other) {
            return Err(ServeError::Taken { key: MANAGEMENT_KEY, one: *one, other });
        }
    }
    Ok(judged)
}

/// Is there a certificate for every endpoint? Not asked where a listener has none: then a proxy has them.
fn judge_certificates<'a>(
    certificates: impl Iterator<Item = Option<&'a Arc<Certificate>>>,
    endpoints: &[EndpointConfig],
) -> Result<(), ServeError> {
    let Some(certificates) = certificates.collect::<Option<Vec<_>>>() else { return Ok(()) };
    let is_certified = |it: &&EndpointConfig| certificates.iter().any(|of| of.is_for(&it.host));
    match endpoints.iter().find(|it| !is_certified(it)) {
        Some(endpoint) => Err(ServeError::Uncertified(endpoint.host.clone())),
        None => Ok(()),
    }
}

/// Can only one of them be listened on? Port 0 is another one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same_family = one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || is_any && is_same_family)
}

/// Takes all addresses before anything else: a port that is taken must be told at once.
fn bind(settings: &Settings) -> Result<Vec<Listener>, ServeError> {
    let bind = |(address, certificate)| Ok(Listener { socket: bind_one(LISTEN_KEY, address)?, certificate });
    judge_listeners(settings)?.into_iter().map(bind).collect()
}

fn bind_one(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|source| ServeError::Listen { key, address, source })
}

/// What to do when an address cannot be listened on.
fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another portolan may run, or `ss -ltnp` tells what does",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

fn addresses(listeners: &[Listener], management: &TcpListener) -> io::Result<Addresses> {
    let url = |it: &Listener| {
        let scheme = if it.certificate.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", it.socket.local_addr()?))
    };
    Ok(Addresses {
        listening: listeners.iter().map(url).collect::<io::Result<_>>()?,
        management: format!("http://{}", management.local_addr()?),
    })
}

fn warn_of_old_geoip(geoip: &GeoIp) {
    if geoip.is_default() {
        let built = geoip.built().map(tracing::field::display);
        tracing::warn!(
            built,
            "countries come from the database that is built in, and its data grows old; bring your own: [geoip] country"
        );
    }
}

/// What to answer from at first: what was saved, for that is there at once, else what the database has.
async fn first(database: Arc<Database>, store: Store) -> Result<(Current, Store), ServeError> {
    let load = move || {
        let current = match refresh::load_saved(&store)? {
            Some(current) => current,
            None => {
                database.prepare().map_err(|error| ServeError::Snapshot(error.to_string()))?;
                refresh::load_all(&database, &store)?
            }
        };
        Ok((current, store))
    };
    let joined = tokio::task::spawn_blocking(load).await;
    joined.map_err(|error| ServeError::Server(io::Error::other(error)))?
}

/// One recorder for the process, whatever is started in it.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is in use; /metrics stays empty");
        }
        handle
    };
    RECORDER.get_or_init(install).clone()
}

fn start_public(
    listeners: Vec<Listener>,
    config: &Config,
    state: Data<State>,
    reports: Data<Reports>,
    crawls: Data<pages::Crawls>,
    figures: Data<pages::Figures>,
    office: Option<Data<desk::Office>>,
) -> Result<Server, ServeError> {
    let overview = Data::new(pages::OverviewCache::default());
    let app = move || {
        let refuse_method = || web::to(async || Err::<HttpResponse, _>(RegistryError::Method));
        let metalink = web::resource("/metalink")
            .route(web::get().to(mirrorlist::answer_metalink))
            .route(web::head().to(mirrorlist::answer_metalink))
            .default_service(refuse_method());
        let mirrorlist = web::resource("/mirrorlist")
            .route(web::get().to(mirrorlist::answer_mirrorlist))
            .route(web::head().to(mirrorlist::answer_mirrorlist))
            .default_service(refuse_method());
        let report = web::resource("/api/v1/hosts/{host}/report")
            .route(web::post().to(report::answer))
            .default_service(web::to(report::refuse_method));
        let serials = web::resource("/api/v1/serials")
            .route(web::get().to(serials::answer))
            .route(web::head().to(serials::answer))
            .default_service(web::to(serials::refuse_method));
        let office = office.clone();
        let desk = |config: &mut web::ServiceConfig| {
            let has_desk = office.is_some();
            if let Some(office) = office {
                config.app_data(office).configure(desk::routes);
            }
            api::routes(config, has_desk);
        };
        App::new()
            .app_data(state.clone())
            .app_data(reports.clone())
            .app_data(overview.clone())
            .app_data(crawls.clone())
            .app_data(figures.clone())
            .wrap(from_fn(access::log))
            // Nearly all requests, and routes are tried in this order.
            .service(web::scope("/v2").default_service(web::to(registry::answer)))
            .service(metalink)
            .service(mirrorlist)
            .service(report)
            .service(serials)
            .configure(pages::routes)
            .configure(desk)
            .default_service(web::to(registry::answer))
    };
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let mut server = HttpServer::new(app)
        .workers(workers)
        .max_connections(MOST_CONNECTIONS)
        .client_request_timeout(REQUEST_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(u64::try_from(config.drain.as_secs()).unwrap_or_default())
        .disable_signals();
    for listener in listeners {
        server = match listener.certificate {
            Some(certificate) => server.listen_rustls_0_23(listener.socket, certificate.server_config()?)?,
            None => server.listen(listener.socket)?,
        };
    }
    Ok(server.run())
}

fn start_management(
    socket: TcpListener,
    state: Data<State>,
    recorder: Data<PrometheusHandle>,
    statistics: StatisticsConfig,
) -> Result<Server, ServeError> {
    let statistics = Data::new(statistics);
    let app = move || {
        let app = App::new().app_data(state.clone()).app_data(recorder.clone());
        app.app_data(statistics.clone()).configure(status::routes)
    };
    Ok(HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(socket)?.run())
}

/// Starts the threads that follow the database. Dropping the sender stops it.
fn start_refresher(
    database: Arc<Database>,
    store: Store,
    state: Data<State>,
    certificates: Vec<Arc<Certificate>>,
    refused: tokio::sync::oneshot::Sender<database::Error>,
) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel();
    let work = move || {
        // A database that is down is no reason to stop, one of another version is.
        if let Err(error @ database::Error::NotMigrated { .. }) = database.prepare() {
            let _ = refused.send(error);
            return;
        }
        let housekeep = || {
            for result in state.geoip.reload_if_changed() {
                match result {
                    Ok(path) => tracing::info!(path = %path.display(), "the GeoIP database was read anew"),
                    Err(error) => tracing::warn!(%error, "the old GeoIP database stays in use"),
                }
            }
            for certificate in &certificates {
                match certificate.reload_if_changed() {
                    Ok(true) => tracing::info!(?certificate, "was read anew"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "the old certificate stays in use"),
                }
            }
        };
        refresh::run(&database, &store, &state, &stopped, housekeep);
    };
    (stop, std::thread::spawn(work))
}

/// Starts the thread that stores what requests leave behind. Dropping the sender stops it.
fn start_note_keeper(
    database: Arc<Database>,
    state: Data<State>,
    server: i64,
    log: SignedDuration,
) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel();
    (stop, std::thread::spawn(move || state.notes.keep(&database, server, log, &stopped)))
}

/// Waits for whatever ends first, then lets running requests end.
async fn run(
    public: Server,
    management: Server,
    stop: impl Future<Output = ()>,
    refusal: tokio::sync::oneshot::Receiver<database::Error>,
) -> Result<(), ServeError> {
    let handles: [ServerHandle; 2] = [public.handle(), management.handle()];
    let refusal = async {
        match refusal.await {
            Ok(error) => error,
            // The refresher has begun its work and drops the sender at its end only.
            Err(_) => std::future::pending().await,
        }
    };
    let servers = futures_util::future::try_join(public, management);
    tokio::pin!(servers);
    let outcome = tokio::select! {
        result = &mut servers => return result.map(|_| ()).map_err(ServeError::Server),
        () = stop => Ok(()),
        error = refusal => Err(ServeError::Database(error)),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let stopping = futures_util::future::join_all(handles.iter().map(|it| it.stop(true)));
    let (_, result) = futures_util::future::join(stopping, servers).await;
    outcome.and(result.map(|_| ()).map_err(ServeError::Server))
}
