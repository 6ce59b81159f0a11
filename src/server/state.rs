use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use actix_web::{HttpMessage as _, HttpRequest, http::header};
use arc_swap::ArcSwap;

use super::{
    access::{Decision, Requests, Trace},
    config::Config,
    endpoint::{Endpoint, EndpointConfig, Endpoints},
    error::RegistryError,
    fallback::Fallback,
    notes::Notes,
    peer::{Peer, Trust},
    sent::Sent,
};
use crate::{
    database::{Time, statistics::Way},
    geoip::GeoIp,
    metalink::RESOURCES_LIMIT,
    mirror::{Country, Scheme},
    mirrorlist::{Client, Location, PublishRules, Repeats, Snapshot},
    store::Bodies,
};

/// All that handlers ask. Shared by every worker.
pub(super) struct State {
    /// Swapped whole by the refresher; a handler takes it once and keeps it to its end.
    pub(super) current: ArcSwap<Current>,
    /// Held by the one thread that makes the next [`Current`] from this one.
    pub(super) taking_over: Mutex<()>,
    pub(super) geoip: GeoIp,
    pub(super) repeats: Repeats,
    pub(super) sent: Sent,
    pub(super) publish: PublishRules,
    pub(super) notes: Notes,
    pub(super) requests: Requests,
    pub(super) fallback: Fallback,
    pub(super) max_urls: usize,
    pub(super) whole_addresses: bool,
    /// Can people sign in?
    pub(super) has_desk: bool,
    /// What people call the provider at which they can sign in, too; empty if there is none.
    pub(super) provider: String,
    /// Clients in countries under embargo are refused.
    embargo_clients: bool,
    embargoed: Vec<Country>,
    trust: Trust,
    pub(super) endpoints: Endpoints,
}

/// What answers are made from at one moment.
pub(super) struct Current {
    pub(super) snapshot: Snapshot,
    pub(super) bodies: Arc<Bodies>,
    /// When each part was last known to be what the database has: content, holdings, hosts.
    pub(super) confirmed: [SystemTime; 3],
    /// Why each part cannot be confirmed now.
    pub(super) faults: [Option<String>; 3],
    /// When it was decided which tags are held back, Unix seconds.
    pub(super) gate_decided_at: i64,
    /// When the prober was last heard of; `None` when it never was, or the database was not asked yet.
    pub(super) heartbeat: Option<Time>,
}

impl Current {
    /// Why some part cannot be confirmed now.
    pub(super) fn database_fault(&self) -> Option<&str> {
        self.faults.iter().flatten().map(String::as_str).next()
    }
}

impl State {
    pub(super) fn new(
        config: &Config,
        endpoints: &[EndpointConfig],
        fallback: Fallback,
        geoip: GeoIp,
        publish: PublishRules,
        seed: u64,
        current: Current,
    ) -> Self {
        Self {
            current: ArcSwap::from_pointee(current),
            taking_over: Mutex::new(()),
            geoip,
            repeats: Repeats::new(config.repeat.clone(), seed),
            sent: Sent::default(),
            publish,
            embargo_clients: config.embargo_clients,
            embargoed: config.embargoed.clone(),
            notes: Notes::new(),
            requests: Requests::default(),
            fallback,
            // One place is ours.
            max_urls: config.max_urls.min(RESOURCES_LIMIT - 1),
            whole_addresses: config.whole_addresses,
            has_desk: false,
            provider: String::new(),
            trust: Trust { proxies: config.trusted_proxies.clone(), header: config.forwarded_header },
            endpoints: Endpoints::new(config, endpoints),
        }
    }

    /// What answers are made from now.
    pub(super) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// The same for who is asked about: a trusted proxy may name any address.
    pub(super) fn peer_at(
        &self,
        request: &HttpRequest,
        named: Option<IpAddr>,
    ) -> Result<Peer, RegistryError> {
        let peer = self.peer(request)?;
        let caller = request.peer_addr().map(|it| it.ip());
        let (Some(address), Some(caller)) = (named, caller) else { return Ok(peer) };
        if !self.trust.trusts(caller) {
            return Ok(peer);
        }
        let peer = Peer { address: address.to_canonical(), ..peer };
        trace(request, |it| it.address = Some(peer.address));
        if self.is_embargoed(&peer) { Err(RegistryError::Embargoed) } else { Ok(peer) }
    }

    /// Who asks; noted for the log. Refused if its country is under embargo and clients there are refused.
    pub(super) fn peer(&self, request: &HttpRequest) -> Result<Peer, RegistryError> {
        let scheme = if request.app_config().secure() { Scheme::Https } else { Scheme::Http };
        // A target in absolute form goes before the header (RFC 9112, section 3.2.2).
        let header = || request.headers().get(header::HOST).and_then(|it| it.to_str().ok());
        let target = request.uri().authority().map(|it| it.as_str());
        let host = target.or_else(header).unwrap_or_default();
        let address =
            request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |it| it.ip().to_canonical());
        let direct = Peer { address, scheme, host: host.to_owned() };
        let peer = self.trust.peer(direct, request.headers())?;
        trace(request, |it| it.address = Some(peer.address));
        if self.is_embargoed(&peer) { Err(RegistryError::Embargoed) } else { Ok(peer) }
    }

    fn is_embargoed(&self, peer: &Peer) -> bool {
        if !self.embargo_clients {
            return false;
        }
        let hosts = &self.current.load().snapshot.hosts;
        let country = hosts.find_country(peer.address).or_else(|| self.geoip.find(peer.address).country);
        country.is_some_and(|it| self.embargoed.contains(&it) || hosts.is_embargoed(it))
    }

    /// The endpoint by whose name the client came.
    pub(super) fn endpoint(&self, peer: &Peer) -> &Endpoint {
        self.endpoints.find(&peer.host)
    }

    /// Where the address of a client is.
    pub(super) fn locate(&self, peer: &Peer) -> Location {
        let found = self.geoip.find(peer.address);
        Location { country: found.country, place: found.place, asn: found.asn }
    }

    /// Places a client; its country is noted for the log.
    pub(super) fn client<'a>(
        &'a self,
        request: &HttpRequest,
        snapshot: &Snapshot,
        peer: &Peer,
    ) -> Client<'a> {
        let policy = &self.endpoint(peer).policy;
        let client =
            Client::new(&snapshot.hosts, peer.address, self.locate(peer), peer.scheme, now(), policy);
        trace(request, |it| it.country = client.country);
        client
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Notes something for the log.
pub(super) fn trace(request: &HttpRequest, note: impl FnOnce(&mut Trace)) {
    let mut extensions = request.extensions_mut();
    if let Some(trace) = extensions.get_mut::<Trace>() {
        note(trace);
    } else {
        let mut trace = Trace::default();
        note(&mut trace);
        extensions.insert(trace);
    }
}

/// Notes the decision for the log.
pub(super) fn decided(request: &HttpRequest, decision: Decision) {
    trace(request, |it| it.decision = Some(decision));
}

/// Notes for the statistics how the request is answered: with so many bytes, here or elsewhere.
pub(super) fn counted(request: &HttpRequest, way: Way, bytes: u64) {
    trace(request, |it| it.counted = Some((way, bytes)));
}
