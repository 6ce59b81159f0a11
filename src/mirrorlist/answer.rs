use super::{
    client::Client,
    ranking::{Offer, Wanted, rank},
    repeat::Attempt,
    snapshot::Snapshot,
};

/// At most so many other hosts are named beside the first (RFC 6249 `rel=duplicate`).
const DUPLICATES: usize = 3;

/// Where a client is sent for a blob.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// To this host.
    Mirror {
        /// The one of its turn.
        offer: Offer<'a>,
        /// The next best ones.
        duplicates: Vec<Offer<'a>>,
    },
    /// To no host: none holds it, or the hosts have failed this client.
    Fallback,
}

/// Takes the host whose turn it is, round and round. `wanted.most` is not asked: what is needed is known here.
pub fn choose<'a>(
    snapshot: &'a Snapshot,
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    attempt: Attempt,
) -> Answer<'a> {
    let Attempt::Place(place) = attempt else { return Answer::Fallback };
    // If these are fewer, they are all there are.
    let most = place.saturating_add(1 + DUPLICATES);
    let mut offers = rank(snapshot, client, &Wanted { most, ..*wanted });
    if offers.is_empty() {
        return Answer::Fallback;
    }
    let offer = offers.remove(place % offers.len());
    offers.truncate(DUPLICATES);
    Answer::Mirror { offer, duplicates: offers }
}

/// The host that a client was given at a place of its ranking, as the ranking is now.
pub fn find_given<'a>(
    snapshot: &'a Snapshot,
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    place: usize,
) -> Option<Offer<'a>> {
    // If these are fewer, they are all there are.
    let most = place.saturating_add(1);
    let offers = rank(snapshot, client, &Wanted { most, ..*wanted });
    offers.get(place.checked_rem(offers.len())?).copied()
}
