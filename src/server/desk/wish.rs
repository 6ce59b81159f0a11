//! What draws clients from elsewhere: networks, autonomous systems. An operator may have to agree.

use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Cell, Kind, Table, optional, text},
    host,
    reply::Done,
};
use crate::{
    database::{
        approval::{self, Outcome},
        audit::Subject,
        host::{Host, HostChange},
        host_netblock, host_peer_asn,
    },
    mirror::{Asn, Netblock, capture::Wish},
    server::pages::text as words,
};

/// Networks, and other autonomous systems, of one host.
const MOST: usize = 200;

/// The host's networks and autonomous systems, what waits, and the forms that change them.
pub(super) fn show(desk: &mut Desk<'_>, host: &Host, may: bool, page: &mut Page) -> Result<(), Refusal> {
    let path = host::path(host.id);
    page.heading("Whose clients come here first");
    let button =
        |action: String, about: String| may.then(|| Cell::Button(Blank::new(action, "Remove").about(about)));
    let mut rows = Vec::new();
    for it in host_netblock::list(desk.connection, host.id)? {
        let mut row = vec![text("network"), text(it.netblock), text("")];
        row.extend(button(format!("{path}/netblocks/{}/remove", it.id), it.netblock.to_string()));
        rows.push(row);
    }
    for it in host_peer_asn::list(desk.connection, host.id)? {
        let mut row = vec![text("AS"), text(it.asn), text("")];
        row.extend(button(format!("{path}/peers/{}/remove", it.asn.number()), format!("AS {}", it.asn)));
        rows.push(row);
    }
    for it in approval::list_of_host(desk.connection, host.id)? {
        let wish = it.wish().map(|it| it.to_string()).unwrap_or_default();
        let waits =
            format!("waits for an operator since {}: {}", words::time(it.asked_at.unix_seconds()), it.reason);
        let mut row = vec![text("wish"), text(&wish), text(waits)];
        row.extend(button(format!("{path}/wishes/{}/remove", it.id), wish));
        rows.push(row);
    }
    let header: &[_] = if may { &["What", "Which", "Note", "Action"] } else { &["What", "Which", "Note"] };
    page.table(Table { label: "Networks", header, rows }, "Nobody in particular: the nearest clients come.");
    if may {
        let netblock = Blank::new(format!("{path}/netblocks"), "Add the network").field(Kind::Text, "netblock", "A network of yours", "", "Such as 192.0.2.0/24. Wider than /16 (IPv6: /32), or one of another site: an operator looks at it first.");
        let asn = Blank::new(format!("{path}/asn"), "Save")
            .field(
                Kind::Text,
                "asn",
                "The AS it stands in",
                optional(host.asn),
                "A number. An operator looks at it first.",
            )
            .field(
                Kind::Check,
                "asn_clients",
                "Its clients come here first",
                super::block::tick(host.asn_clients),
                "",
            );
        let peer = Blank::new(format!("{path}/peers"), "Add the AS").field(
            Kind::Text,
            "asn",
            "Another AS whose clients come here first",
            "",
            "An operator looks at it first.",
        );
        page.form(netblock.again(desk)).form(asn.again(desk)).form(peer.again(desk));
    }
    Ok(())
}

/// Fulfils a wish, or lets it wait: then true.
pub(super) fn seek(desk: &mut Desk<'_>, host: &Host, wish: &Wish) -> Result<bool, Refusal> {
    match approval::seek(desk.connection, &desk.account, host, wish, desk.now)? {
        Outcome::Granted => Ok(false),
        Outcome::Waits(_) => Ok(true),
        Outcome::Refused(why) => Err(Refusal::Bad(format!("{wish}: {why}."))),
    }
}

/// Lets a wish wait if an operator has to agree: then true. Fulfils nothing.
pub(super) fn must_wait(desk: &mut Desk<'_>, host: &Host, wish: &Wish) -> Result<bool, Refusal> {
    if approval::find_reason(desk.connection, &desk.account, host, wish, desk.now)?.is_none() {
        return Ok(false);
    }
    seek(desk, host, wish)
}

fn go_on(host: &Host, waits: bool) -> Next {
    Next::See(host::path(host.id), if waits { Done::Waits } else { Done::Saved })
}

/// `POST /desk/hosts/{host}/netblocks`
pub(super) fn add_netblock(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&["netblock"])?;
    let netblock: Netblock = desk.form.value("netblock", "Network")?;
    let known = host_netblock::list(desk.connection, host.id)?;
    if known.len() >= MOST {
        return Err(Refusal::Bad(format!("A host has at most {MOST} networks.")));
    }
    if known.iter().any(|it| it.netblock == netblock) {
        return Err(Refusal::Bad(format!("The host has the network {netblock} already.")));
    }
    let waits = seek(desk, &host, &Wish::Netblock(netblock))?;
    Ok(go_on(&host, waits))
}

/// `POST /desk/hosts/{host}/netblocks/{item}/remove`
pub(super) fn remove_netblock(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&[])?;
    let id = desk.number()?;
    let all = host_netblock::list(desk.connection, host.id)?;
    let row = all.into_iter().find(|it| it.id == id).ok_or(Refusal::Missing)?;
    desk.noting(Subject::Host(host.id), |it| host_netblock::delete(it, row.id))?;
    Ok(Next::See(host::path(host.id), Done::Removed))
}

/// `POST /desk/hosts/{host}/asn`
pub(super) fn set_asn(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&["asn", "asn_clients"])?;
    let asn: Option<Asn> = desk.form.optional("asn", "AS")?;
    let mut change =
        HostChange { asn_clients: Some(desk.form.is_ticked("asn_clients")), ..HostChange::default() };
    let waits = match asn.filter(|it| Some(*it) != host.asn) {
        Some(asn) => seek(desk, &host, &Wish::Asn(asn))?,
        None => {
            change.asn = asn.is_none().then_some(None);
            false
        }
    };
    desk.noting(Subject::Host(host.id), |it| crate::database::host::update(it, host.id, &change))?;
    Ok(go_on(&host, waits))
}

/// `POST /desk/hosts/{host}/peers`
pub(super) fn add_peer(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&["asn"])?;
    let asn: Asn = desk.form.value("asn", "AS")?;
    let known = host_peer_asn::list(desk.connection, host.id)?;
    if known.len() >= MOST {
        return Err(Refusal::Bad(format!("A host has at most {MOST} other autonomous systems.")));
    }
    if known.iter().any(|it| it.asn == asn) {
        return Err(Refusal::Bad(format!("The host has AS {asn} already.")));
    }
    let waits = seek(desk, &host, &Wish::PeerAsn(asn))?;
    Ok(go_on(&host, waits))
}

/// `POST /desk/hosts/{host}/peers/{item}/remove`
pub(super) fn remove_peer(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&[])?;
    let asn: Asn = desk.item.parse().map_err(|_| Refusal::Missing)?;
    let removed = desk.noting(Subject::Host(host.id), |it| host_peer_asn::delete(it, host.id, asn))?;
    if removed == 0 { Err(Refusal::Missing) } else { Ok(Next::See(host::path(host.id), Done::Removed)) }
}

/// `POST /desk/hosts/{host}/wishes/{item}/remove`
pub(super) fn withdraw(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    desk.form.has_only(&[])?;
    let id = desk.number()?;
    if !approval::withdraw(desk.connection, host.id, id)? {
        return Err(Refusal::Missing);
    }
    Ok(Next::See(host::path(host.id), Done::Removed))
}
