use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Frame, PageError, ROWS, SharedState, apart,
    image::{largest, parse_image},
    page, parameter, promise,
};
use crate::{
    mirrorlist::{self, Snapshot, Wanted},
    oci::Reference,
    server::state::{Current, State, now},
};

#[derive(Template)]
#[template(path = "which.html")]
struct WhichPage {
    frame: Frame,
    which: Which,
}

/// Which mirrors the reader is sent to.
pub(super) struct Which {
    pub(super) image: String,
    pub(super) network: String,
    pub(super) country: String,
    pub(super) asn: String,
    /// What the name by which the reader came promises.
    pub(super) promise: Option<String>,
    /// By this name no mirror is ever named.
    is_direct: bool,
    pub(super) offers: Vec<Offer>,
    pub(super) others: Vec<Other>,
    /// So many more are left out.
    more: usize,
    pub(super) fault: Option<String>,
}

/// A mirror that the reader is sent to.
#[derive(Serialize, JsonSchema)]
pub(super) struct Offer {
    host: String,
    site: String,
    country: String,
    /// Why it is near.
    class: String,
    kilometres: String,
    /// In Mbit/s.
    bandwidth: String,
    /// How its turn was drawn.
    turn: String,
}

/// A mirror that the reader is not sent to.
#[derive(Serialize, JsonSchema)]
pub(super) struct Other {
    host: String,
    reason: String,
}

/// `GET /which?image=`: which mirrors the reader is sent to, in which order, and why others are not. Only for the reader's own
/// address, and without private hosts: neither is a stranger's business.
pub(super) async fn answer(request: HttpRequest, state: SharedState) -> Result<HttpResponse, PageError> {
    let frame = Frame::new(&request, &state, "which", "Which mirror do I get?")?;
    let which = find(&request, &state).await?;
    page(&request, &WhichPage { frame, which })
}

/// The same for whoever tells it.
pub(super) async fn find(request: &HttpRequest, state: &State) -> Result<Which, PageError> {
    let peer = state.peer(request)?;
    let current = state.current();
    let asked = parameter(request, "image").or_else(|| first_image(&current.snapshot)).unwrap_or_default();
    let trace = state.client(request, &current.snapshot, &peer);
    let (network, country, asn) = (trace.network(), trace.country, trace.asn);
    let at = now();
    let image = asked.clone();
    let endpoint = state.endpoint(&peer);
    let (policy, is_direct) = (endpoint.policy.clone(), endpoint.is_direct());
    let promise = endpoint.config.as_ref().map(|it| promise(it, &current.snapshot.hosts));
    let location = state.locate(&peer);
    let found = apart(move || {
        let hosts = &current.snapshot.hosts;
        let client = mirrorlist::Client::new(hosts, peer.address, location, peer.scheme, at, &policy);
        explain(&current, &client, &image, at)
    });
    let found = found.await?;
    let fault = found.is_none().then(|| match asked.as_str() {
        "" => "There are no images here yet.".to_owned(),
        _ => format!("There is no image {asked} here."),
    });
    let (offers, others, more) = found.filter(|_| !is_direct).unwrap_or_default();
    Ok(Which {
        image: asked,
        network: format!("{network}/{}", if network.is_ipv4() { 24 } else { 48 }),
        country: country.map_or("unknown".into(), |it| it.to_string()),
        asn: asn.map_or("unknown".into(), |it| it.to_string()),
        promise,
        is_direct,
        offers,
        others,
        more,
        fault,
    })
}

type Explained = (Vec<Offer>, Vec<Other>, usize);

fn first_image(snapshot: &Snapshot) -> Option<String> {
    let repositories = snapshot.content.list_repositories();
    repositories.iter().find_map(|it| Some(format!("{}:{}", it.name, snapshot.list_tags(it).next()?)))
}

/// The ranking for the largest layer of the image; `None` if there is no such image.
fn explain(
    current: &Current,
    client: &mirrorlist::Client<'_>,
    image: &str,
    at: i64,
) -> Result<Option<Explained>, PageError> {
    let snapshot = &current.snapshot;
    let Some((name, reference)) = parse_image(image) else { return Ok(None) };
    let reference = reference.or_else(|| Some(Reference::Tag("latest".parse().ok()?)));
    let name = snapshot.find_alias(&name, at).unwrap_or(&name);
    let manifest = reference.and_then(|it| snapshot.find_manifest(name, &it).ok());
    let Some(manifest) = manifest else { return Ok(None) };
    let blob = largest(current, manifest)?;
    let wanted = Wanted { repository: name.as_str(), number: blob.number, size: blob.size, most: usize::MAX };
    let (offers, others) = mirrorlist::explain(snapshot, client, &wanted);
    let offer = |it: &mirrorlist::Offer<'_>| Offer {
        host: it.host.name.clone(),
        site: it.host.site_name.clone(),
        country: it.host.country.map(|it| it.to_string()).unwrap_or_default(),
        class: it.class.to_string(),
        kilometres: it.distance.map(|it| format!("{it:.0}")).unwrap_or_default(),
        bandwidth: it.host.bandwidth.map(|it| it.to_string()).unwrap_or_default(),
        turn: it.turn.to_string(),
    };
    let offers = offers.iter().filter(|it| !it.host.private).take(ROWS).map(offer).collect();
    let public: Vec<_> = others.into_iter().filter(|it| !it.0.private).collect();
    let more = public.len().saturating_sub(ROWS);
    let other = |(host, reason): &(&mirrorlist::rows::HostRow, mirrorlist::Exclusion)| {
        let reason = match reason {
            // What a crawler saw is for the host's admins.
            mirrorlist::Exclusion::AutoOff(_) => "switched off by the crawler".to_owned(),
            reason => reason.to_string(),
        };
        Other { host: host.name.clone(), reason }
    };
    Ok(Some((offers, public.iter().take(ROWS).map(other).collect(), more)))
}
