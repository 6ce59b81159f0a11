//! `/metalink` and `/mirrorlist`: the whole ranking, for clients that can use it.

use std::{collections::HashSet, fmt::Write as _};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};

use super::{
    access::Decision,
    error::RegistryError,
    peer::Peer,
    question::{Asked, Question},
    registry::accepted_metalink,
    state::{Current, State, decided, now},
};
use crate::{
    metalink::{self, Document, Resource, Version, WebUrl},
    mirror::{Country, Reach, Scheme, blob_path},
    mirrorlist::{
        Class, Client, Offer, Policy, Snapshot, Wanted, rank,
        rows::{BlobRow, HostCategoryRow, HostUrlRow},
    },
    oci::{Digest, RepositoryName},
};

/// `GET /metalink?repo=&tag=|digest=|arch=`: version 3 unless 4 is named.
pub(super) async fn answer_metalink(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, RegistryError> {
    let question = Question::parse(&request)?;
    let current = state.current();
    let asked = question.find(&current, now())?;
    if asked.whole.is_some() {
        return Err(RegistryError::Query(
            "path is no blob or manifest: of other files there are mirror lists only",
        ));
    }
    let version = question.version.or_else(|| accepted_metalink(request.headers())).unwrap_or(Version::V3);
    let peer = state.peer_at(&request, question.address)?;
    let found = offers(&request, &state, &current, &peer, &question, &asked);
    let offers: Vec<_> = found.iter().filter_map(|it| it.resource(&asked.path)).collect();
    document(&request, &current, &peer, asked.repository.as_ref(), asked.blob, offers, version)
}

/// The metalink of a manifest in place of the manifest.
pub(super) fn metalink(
    request: &HttpRequest,
    state: &State,
    current: &Current,
    peer: &Peer,
    name: &RepositoryName,
    blob: &BlobRow,
    version: Version,
) -> Result<HttpResponse, RegistryError> {
    let client = state.client(request, &current.snapshot, peer);
    let most = most_hosts(state, peer);
    let wanted = Wanted { repository: name.as_str(), number: blob.number, size: blob.size, most };
    let offers = resources(&rank(&current.snapshot, &client, &wanted), &blob_path(&blob.name()));
    document(request, current, peer, Some(name), blob, offers, version)
}

/// `GET /mirrorlist?…`: a comment, and one URL a host, best first; or with `redirect` the way to the first.
pub(super) async fn answer_mirrorlist(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, RegistryError> {
    let question = Question::parse(&request)?;
    let current = state.current();
    let asked = question.find(&current, now())?;
    let peer = state.peer_at(&request, question.address)?;
    let found = offers(&request, &state, &current, &peer, &question, &asked);
    let path = &asked.path;
    decided(&request, Decision::Mirrorlist);
    if question.redirect {
        let first = found.first().ok_or(RegistryError::NoMirror)?;
        return Ok(HttpResponse::Found()
            .insert_header((header::LOCATION, format!("{}/{path}", first.url)))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish());
    }
    let client = state.client(&request, &current.snapshot, &peer);
    let mut text = head(&question, &asked, &client, &found);
    if question.time {
        let at = jiff::Timestamp::try_from(current.confirmed[2]).unwrap_or_default();
        let _ = writeln!(text, "# database creation time: {}", at.strftime("%FT%TZ"));
    }
    for found in &found {
        let _ = writeln!(text, "{}/{path}", found.url);
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text))
}

/// The comment that a list begins with: what was asked for, and by what the hosts are near.
fn head(question: &Question, asked: &Asked<'_>, client: &Client<'_>, found: &[Found<'_>]) -> String {
    let mut text = String::from("#");
    if let Some(name) = &asked.repository {
        let _ = write!(text, " repo = {name}");
    }
    if let Some((arch, _)) = &question.arch {
        let _ = write!(text, " arch = {arch}");
    }
    let _ = match asked.whole {
        Some(_) => write!(text, " path = {}/{}", asked.key, asked.path),
        None => write!(text, " digest = {}", asked.blob.name()),
    };
    let has = |class| found.iter().any(|it| it.offer.class == class);
    if has(Class::Netblock) {
        text.push_str(" Using preferred netblock");
    }
    if let Some(asn) = client.asn.filter(|_| has(Class::Asn)) {
        let _ = write!(text, " Using ASN {asn}");
    }
    let countries = client.country.into_iter().filter(|_| question.countries.is_empty());
    for country in question.countries.iter().copied().chain(countries) {
        let _ = write!(text, " country = {country}");
    }
    if question.is_global {
        text.push_str(" country = global");
    }
    for scheme in question.schemes.iter().flatten() {
        let _ = write!(text, " protocol = {scheme}");
    }
    text.push('\n');
    text
}

/// A host, and the URL of it that was asked for.
struct Found<'a> {
    offer: Offer<'a>,
    url: &'a str,
}

impl Found<'_> {
    fn resource(&self, path: &str) -> Option<Resource> {
        let url = WebUrl::below(self.url, path).ok()?;
        Some(Resource { url, country: self.offer.host.country, is_private: self.offer.host.private })
    }
}

/// The hosts for a question, best first, each with a URL that suits it.
fn offers<'a>(
    request: &HttpRequest,
    state: &'a State,
    current: &'a Current,
    peer: &Peer,
    question: &Question,
    asked: &Asked<'_>,
) -> Vec<Found<'a>> {
    let most = most_hosts(state, peer);
    let (blob, repository) = (asked.blob, asked.key.as_str());
    let client = state.client(request, &current.snapshot, peer);
    let schemes = question.schemes.as_deref();
    let takes = |scheme| schemes.is_none_or(|it| it.contains(&scheme));
    // Who names a protocol may be sent to it, however it came.
    let policy = Policy {
        https_only: client.policy.https_only || !takes(Scheme::Http),
        http_mirrors: client.policy.http_mirrors || schemes.is_some_and(|it| it.contains(&Scheme::Http)),
        ..client.policy.clone()
    };
    let client = Client { policy: &policy, by_network: !question.without_networks, ..client };
    // What is joined or left out afterwards needs all of them.
    let is_plain =
        schemes.is_none() && asked.whole.is_none() && question.countries.len() <= 1 && !question.is_global;
    let ranked = if is_plain { most } else { usize::MAX };
    let wanted = Wanted { repository, number: blob.number, size: blob.size, most: ranked };
    let ranked = rank_in(&current.snapshot, &client, &wanted, &question.countries, question.is_global);
    let found = ranked.into_iter().filter_map(|offer| {
        let category = match asked.whole {
            Some(whole) => current.snapshot.find_whole(offer.host, whole, client.at)?,
            None => offer.category,
        };
        let is_good = takes(offer.url.scheme) && category.id == offer.category.id;
        let url = if is_good { offer.url } else { other_url(category, &client, takes)? };
        Some(Found { offer, url: &url.url })
    });
    found.take(most).collect()
}

/// The first URL of an opt-in with a scheme that is wanted and suits the client, and that answers by its address family.
fn other_url<'a>(
    category: &'a HostCategoryRow,
    client: &Client<'_>,
    takes: impl Fn(Scheme) -> bool,
) -> Option<&'a HostUrlRow> {
    let answers = |it: &&HostUrlRow| (if client.address.is_ipv4() { it.ipv4 } else { it.ipv6 }) == Reach::Up;
    category.urls.iter().find(|it| takes(it.scheme) && client.takes(it.scheme) && answers(it))
}

/// The ranking as if the client were in each of these countries: class by class, in each class the countries in their
/// order. `is_global` adds all other hosts.
fn rank_in<'a>(
    snapshot: &'a Snapshot,
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    countries: &[Country],
    is_global: bool,
) -> Vec<Offer<'a>> {
    let hosts = &snapshot.hosts;
    let mut lists: Vec<_> =
        countries.iter().map(|it| rank(snapshot, &client.clone().in_country(hosts, *it), wanted)).collect();
    if countries.is_empty() {
        lists.push(rank(snapshot, client, wanted));
    }
    if is_global {
        let nowhere = Client { continent: None, asn: None, by_network: false, ..client.clone() };
        let country = countries.first().copied().or(client.country);
        lists.push(rank(snapshot, &Client { country, ..nowhere }, wanted));
    }
    // One list is in that order, and has every host once.
    if let [_] = &lists[..] {
        return lists.remove(0);
    }
    let mut offers: Vec<Offer<'_>> = lists.into_iter().flatten().collect();
    // Stable: what is equal stays in the order of its list.
    offers.sort_by_key(|it| (it.turn, it.class));
    let mut seen = HashSet::new();
    offers.retain(|it| seen.insert(it.host.id));
    offers
}

/// How many hosts a list names: a direct endpoint names none.
fn most_hosts(state: &State, peer: &Peer) -> usize {
    if state.endpoint(peer).is_direct() { 0 } else { state.max_urls }
}

/// The document of these URLs, and our own.
fn document(
    request: &HttpRequest,
    current: &Current,
    peer: &Peer,
    name: Option<&RepositoryName>,
    blob: &BlobRow,
    mut resources: Vec<Resource>,
    version: Version,
) -> Result<HttpResponse, RegistryError> {
    decided(request, Decision::Metalink);
    let digest = blob.name();
    // We come last: what no mirror gives, the fallback may.
    let kind = if blob.kind.media_type().is_some() { "manifests" } else { "blobs" };
    let own = name.and_then(|name| own_url(peer, &format!("/v2/{name}/{kind}/{digest}")));
    if let Some(url) = own {
        resources.push(Resource { url, country: None, is_private: false });
    }
    if resources.is_empty() {
        return Err(if name.is_some() { RegistryError::Host } else { RegistryError::NoMirror });
    }
    let categories = current.snapshot.content.list_categories();
    let serials = categories.filter(|it| it.1.contains(blob.number)).map(|it| it.0.serial);
    let document = Document::new(
        metalink::digest_file_name(&digest),
        blob.size,
        digest,
        serials.max().unwrap_or_default(),
        name.and_then(|name| describedby(peer, name, &digest)),
        resources,
    );
    // Whoever verifies by pieces can do without them.
    let pieces = current.bodies.read_pieces(&blob.digest, blob.size).unwrap_or_else(|error| {
        tracing::warn!(%error, "a metalink goes without pieces");
        None
    });
    let document = document.and_then(|it| it.with_pieces(pieces));
    let document = document.map_err(|error| RegistryError::Internal(error.to_string()))?;
    let body = match version {
        Version::V3 => metalink::render_v3(&document),
        Version::V4 => metalink::render_v4(&document),
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, version.media_type()))
        .insert_header((header::VARY, "Accept"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body))
}

/// The URLs of a blob at some hosts.
pub(super) fn resources(offers: &[Offer<'_>], path: &str) -> Vec<Resource> {
    let resource = |offer: &Offer<'_>| {
        let url = WebUrl::below(&offer.url.url, path).ok()?;
        Some(Resource { url, country: offer.host.country, is_private: offer.host.private })
    };
    offers.iter().filter_map(resource).collect()
}

/// Where the metalink of a blob is.
pub(super) fn describedby(peer: &Peer, name: &RepositoryName, digest: &Digest) -> Option<WebUrl> {
    let (algorithm, hex) = (digest.algorithm(), digest.hex());
    own_url(
        peer,
        &["/metalink?repo=", name.as_str(), "&digest=", algorithm, ":", &hex, "&version=4"].concat(),
    )
}

/// A URL of ours, by the name the client came by. `None` if that is no name.
fn own_url(peer: &Peer, path: &str) -> Option<WebUrl> {
    let text = peer.is_named().then(|| [peer.scheme.as_str(), "://", &peer.host, path].concat())?;
    WebUrl::try_from(text).ok()
}
