use roaring::RoaringBitmap;

use crate::{
    connector::Outcome,
    database::crawl::CategoryState,
    mirror::{HostUrl, Serial},
    tree::Head,
};

/// What a host says about itself by its `zz/serial`.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// To have all of the newest serial.
    Newest(Serial),
    /// To have all of a serial before the newest one.
    Former(Serial, RoaringBitmap),
    /// A serial that we cannot look up, or none; then it claims nothing.
    Nothing(Option<Serial>, String),
    /// No serial that we can look up, but these files, by rsync's listing.
    Listed(Option<Serial>, RoaringBitmap, String),
    /// Something other than a serial in that place; claims nothing either.
    Broken(String),
}

impl Claim {
    /// Compares what a host gave as `zz/serial` with the states that the category had, newest first.
    /// `Err` says why the question had no answer: then nothing is known of the host.
    pub fn judge(url: &HostUrl, answer: &Outcome<Vec<u8>>, states: &[CategoryState]) -> Result<Self, String> {
        let bytes = match answer {
            Outcome::Present(bytes) => bytes,
            Outcome::Absent => {
                return Ok(Self::Nothing(None, format!("there is no {url}/zz/serial")));
            }
            Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason) => {
                return Ok(Self::Broken(format!("zz/serial: {reason}")));
            }
            Outcome::Unreachable(reason) | Outcome::NoRoute(reason) => {
                return Err(format!("zz/serial: {reason}"));
            }
        };
        let head = std::str::from_utf8(bytes).ok().and_then(Head::parse);
        Ok(head.map_or_else(
            || Self::Broken("its zz/serial is not `SERIAL HEX`".into()),
            |it| Self::find(&it, states),
        ))
    }

    fn find(head: &Head, states: &[CategoryState]) -> Self {
        let serial = head.serial;
        let nothing = |reason: String| Self::Nothing(Some(serial), reason);
        let newest = states.first().map_or(0, |it| it.serial);
        match states.iter().find(|it| it.serial == serial) {
            Some(state) if head.inventory_digest != state.inventory_digest.into() => {
                nothing(format!("its inventory of serial {serial} is another than ours"))
            }
            Some(_) if serial == newest => Self::Newest(serial),
            Some(state) => Self::Former(serial, state.blobs.clone()),
            None if serial > newest => nothing(format!("its serial {serial} is not scanned yet")),
            None => nothing(format!("its serial {serial} is not one that we remember")),
        }
    }

    /// The serial that the host shows.
    pub fn serial(&self) -> Option<Serial> {
        match self {
            Self::Newest(serial) | Self::Former(serial, _) => Some(*serial),
            Self::Nothing(serial, _) | Self::Listed(serial, ..) => *serial,
            Self::Broken(_) => None,
        }
    }

    /// The same, if it is one whose files we know.
    pub fn known_serial(&self) -> Option<Serial> {
        match self {
            Self::Newest(serial) | Self::Former(serial, _) => Some(*serial),
            Self::Nothing(..) | Self::Listed(..) | Self::Broken(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{database::Sha256, oci::Digest};

    #[test]
    fn serials_are_looked_up() {
        let state = |serial: Serial| CategoryState {
            serial,
            inventory_digest: Sha256([serial as u8; 32]),
            blobs: [serial as u32].into_iter().collect(),
        };
        let states = [state(9), state(7)];
        #[track_caller]
        fn check(states: &[CategoryState], answer: Outcome<Vec<u8>>, expected: &str) {
            let claim = Claim::judge(&"https://m1".parse().unwrap(), &answer, states);
            assert!(format!("{claim:?}").contains(expected), "{claim:?}");
        }
        let line = |serial: Serial, hash: u8| {
            let inventory_digest = Digest::Sha256([hash; 32]);
            Outcome::Present(Head { serial, inventory_digest }.render().into_bytes())
        };
        check(&states, line(9, 9), "Newest(9)");
        check(&states, line(7, 7), "Former(7, RoaringBitmap<[7]>)");
        check(&states, line(9, 7), "Nothing(Some(9), \"its inventory of serial 9 is another");
        check(&states, line(10, 9), "Nothing(Some(10), \"its serial 10 is not scanned yet");
        check(&states, line(8, 9), "Nothing(Some(8), \"its serial 8 is not one that we remember");
        check(&[], line(8, 9), "Nothing(Some(8)");
        check(&states, Outcome::Absent, "Nothing(None, \"there is no https://m1/zz/serial\")");
        check(&states, Outcome::Present(b"<html>".to_vec()), "Broken");
        check(&states, Outcome::Present(vec![0xff]), "Broken");
        check(&states, Outcome::Wrong("gzip".into()), "Broken(\"zz/serial: gzip");
        check(&states, Outcome::Unreachable("503".into()), "Err(\"zz/serial: 503");
    }
}
