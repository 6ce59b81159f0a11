//! `portolan host edit`.

use clap::Args;
use serde::Serialize;

use super::{Answer, argument, by_hand, find, imported, site, view};
use crate::{
    database::{
        Database,
        audit::Subject,
        host::{self, Host, HostChange},
        host_country, host_peer_asn,
    },
    mirror::{Asn, Bandwidth, Bytes, Country, HostKind, HostName, Percent, Place, SiteName},
};

/// Its form as JSON is what the API takes, but for the flags that take a value away: `no_` and the value's name.
#[derive(Args, Serialize)]
#[group(required = true, multiple = true)]
pub(in crate::cli) struct HostEdit {
    /// What to call it from now on
    #[arg(long = "name", value_name = "NAME")]
    #[serde(rename = "name")]
    new_name: Option<HostName>,
    /// Whose it is from now on
    #[arg(long)]
    site: Option<SiteName>,
    /// Where it stands: two letters of ISO 3166-1
    #[arg(long, value_parser = argument::country)]
    country: Option<Country>,
    /// Nobody knows where it stands
    #[arg(long, conflicts_with = "country")]
    no_country: bool,
    /// Where exactly it stands: latitude and longitude in degrees, such as 52.5,13.4
    #[arg(long, value_name = "LATITUDE,LONGITUDE", allow_hyphen_values = true)]
    place: Option<Place>,
    /// Nobody knows where exactly it stands
    #[arg(long, conflicts_with = "place")]
    no_place: bool,
    /// The autonomous system it stands in
    #[arg(long)]
    asn: Option<Asn>,
    /// It stands in no autonomous system that matters
    #[arg(long, conflicts_with = "asn")]
    no_asn: bool,
    /// It wants the clients of its own autonomous system first
    #[arg(long, value_name = "BOOL")]
    asn_clients: Option<bool>,
    /// Another autonomous system whose clients it wants; may be given many times
    #[arg(long = "peer-asn", value_name = "ASN")]
    peer_asns: Option<Vec<Asn>>,
    /// No other autonomous system
    #[arg(long, conflicts_with = "peer_asns")]
    #[serde(rename = "no_peer_asns")]
    no_peer_asn: bool,
    /// What it can send, in Mbit/s
    #[arg(long, value_name = "MBIT")]
    bandwidth: Option<Bandwidth>,
    /// Nobody knows what it can send
    #[arg(long, conflicts_with = "bandwidth")]
    no_bandwidth: bool,
    /// How it comes to have content: static, pull-through or cdn
    #[arg(long)]
    kind: Option<HostKind>,
    /// So many of a hundred clients may be sent to it
    #[arg(long, value_name = "PERCENT")]
    share: Option<Percent>,
    /// All clients may be sent to it
    #[arg(long, conflicts_with = "share")]
    no_share: bool,
    /// So many bytes each server may send to it in a day: 500G
    #[arg(long, value_name = "BYTES")]
    daily_bytes: Option<Bytes>,
    /// It takes any number of bytes in a day
    #[arg(long, conflicts_with = "daily_bytes")]
    no_daily_bytes: bool,
    /// The largest file that is fetched from it: 2G
    #[arg(long, value_name = "BYTES")]
    max_file_size: Option<Bytes>,
    /// Files of any size are fetched from it
    #[arg(long, conflicts_with = "max_file_size")]
    no_max_file_size: bool,
    /// Show it to nobody outside its netblocks and autonomous systems
    #[arg(long, value_name = "BOOL")]
    private: Option<bool>,
    /// Its own admins want it on
    #[arg(long, value_name = "BOOL")]
    user_active: Option<bool>,
    /// The operators want it on
    #[arg(long, value_name = "BOOL")]
    admin_active: Option<bool>,
    /// A country it serves, and no others; may be given many times
    #[arg(long = "country-allowed", value_name = "COUNTRY")]
    countries_allowed: Option<Vec<Country>>,
    /// It serves all countries
    #[arg(long, conflicts_with = "countries_allowed")]
    #[serde(rename = "no_countries_allowed")]
    no_country_allowed: bool,
    /// A country it does not serve; may be given many times
    #[arg(long = "country-denied", value_name = "COUNTRY")]
    countries_denied: Option<Vec<Country>>,
    /// There is no country it does not serve
    #[arg(long, conflicts_with = "countries_denied")]
    #[serde(rename = "no_countries_denied")]
    no_country_denied: bool,
    /// The mail address of an admin; may be given many times
    #[arg(long = "contact", value_name = "MAIL", value_parser = argument::contact)]
    contacts: Option<Vec<String>>,
    /// No mail address
    #[arg(long, conflicts_with = "contacts")]
    #[serde(rename = "no_contacts")]
    no_contact: bool,
    /// Free words
    #[arg(long, value_parser = argument::words)]
    comment: Option<String>,
}

/// Changes a host and its lists in one transaction.
pub(super) fn change(database: &Database, host: &Host, edit: HostEdit) -> anyhow::Result<Answer> {
    let name = edit.new_name.clone().unwrap_or_else(|| host.name.clone());
    let site = edit.site.as_ref().map(|it| site::find(database, it)).transpose()?;
    let peers = list_or_none(edit.peer_asns.clone(), edit.no_peer_asn);
    let countries = list_or_none(edit.countries_allowed.clone(), edit.no_country_allowed);
    let denied = list_or_none(edit.countries_denied.clone(), edit.no_country_denied);
    let change = HostChange { site_id: site.map(|it| it.id), ..edit.into() };
    let ours = HostChange {
        contacts: change.contacts.clone(),
        // Whether it is static, MirrorManager says.
        kind: change.kind.filter(|it| ![*it, host.kind].contains(&HostKind::Static)),
        client_share: change.client_share,
        daily_bytes: change.daily_bytes,
        max_file_size: change.max_file_size,
        ..HostChange::default()
    };
    if change != ours || peers.is_some() || countries.is_some() {
        imported::refuse_host(database, host)?;
    }
    by_hand::change(database, Subject::Host(host.id), |it| {
        host::update(it, host.id, &change)?;
        if let Some(countries) = countries {
            host_country::allowed::replace(it, host.id, &countries)?;
        }
        if let Some(denied) = denied {
            host_country::denied::replace(it, host.id, &denied)?;
        }
        peers.map_or(Ok(()), |peers| host_peer_asn::replace(it, host.id, peers))
    })?;
    let view = view::load(database, &find(database, &name)?)?;
    Ok(Answer::new(&view)?.line(format_args!("changed the host {name}")))
}

impl From<HostEdit> for HostChange {
    fn from(edit: HostEdit) -> Self {
        let place = value_or_none(edit.place, edit.no_place);
        Self {
            name: edit.new_name,
            country: value_or_none(edit.country, edit.no_country),
            latitude: place.map(|it| it.map(Place::latitude)),
            longitude: place.map(|it| it.map(Place::longitude)),
            asn: value_or_none(edit.asn, edit.no_asn),
            asn_clients: edit.asn_clients,
            bandwidth: value_or_none(edit.bandwidth, edit.no_bandwidth),
            private: edit.private,
            user_active: edit.user_active,
            admin_active: edit.admin_active,
            contacts: list_or_none(edit.contacts, edit.no_contact).map(|it| it.join("\n")),
            comment: edit.comment,
            kind: edit.kind,
            client_share: value_or_none(edit.share, edit.no_share),
            daily_bytes: value_or_none(edit.daily_bytes, edit.no_daily_bytes),
            max_file_size: value_or_none(edit.max_file_size, edit.no_max_file_size),
            ..Self::default()
        }
    }
}

/// `Some(None)` takes the value away.
fn value_or_none<T>(value: Option<T>, none: bool) -> Option<Option<T>> {
    if none { Some(None) } else { value.map(Some) }
}

/// `Some` of no values empties the list.
fn list_or_none<T>(values: Option<Vec<T>>, none: bool) -> Option<Vec<T>> {
    if none { Some(Vec::new()) } else { values }
}
