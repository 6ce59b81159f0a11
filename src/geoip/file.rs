use std::{
    borrow::Cow,
    fs,
    io::Read,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use maxminddb::{MaxMindDbError, WithinOptions};

use super::{Location, record::Record};

/// The largest database that is read, in bytes.
pub const FILE_LIMIT: u64 = 1 << 30;

/// How many networks of a new file are decoded before it is trusted.
const SAMPLE: usize = 1000;

/// The embedded database: `geoip/README.md` says what it is.
pub(super) static EMBEDDED: &[u8] = include_bytes!("../../geoip/iptoasn-country.mmdb");

type Reader = maxminddb::Reader<Cow<'static, [u8]>>;

/// So many records are kept decoded (400 KiB): a country database has some hundred. Of two on one place the later one is
/// decoded each time.
const DECODED: usize = 1 << 13;

/// A database in memory. Many networks share a record, and to decode one takes longer than to find it.
struct Database {
    reader: Reader,
    /// Records by their offsets in the file.
    decoded: Box<[OnceLock<(usize, Location)>]>,
}

impl Database {
    fn new(reader: Reader) -> Self {
        Self { reader, decoded: (0..DECODED).map(|_| OnceLock::new()).collect() }
    }

    /// Nothing for an address or a record that cannot be read.
    fn find(&self, address: IpAddr) -> Location {
        let Ok(found) = self.reader.lookup(address) else { return Location::default() };
        let Some(offset) = found.offset() else { return Location::default() };
        let decode = || {
            let record = found.decode::<Record<'_>>().ok().flatten();
            record.map(|it| it.location()).unwrap_or_default()
        };
        let (kept, location) = self.decoded[offset % DECODED].get_or_init(|| (offset, decode()));
        if *kept == offset { *location } else { decode() }
    }
}

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the GeoIP database {path}, named in [geoip]: {fault}")]
pub struct Error {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub fault: Fault,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read from the disk.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It is a folder, a socket or the like.
    #[error("it is not a regular file")]
    Kind,
    /// It is larger than [`FILE_LIMIT`].
    #[error("it is larger than {FILE_LIMIT} bytes")]
    Size,
    /// It is not, or not wholly, in MaxMind DB format.
    #[error("it is no whole file in MaxMind DB format: {0}")]
    Format(#[from] MaxMindDbError),
    /// It is a database of something else.
    #[error("its records hold no {0}")]
    Content(Content),
}

/// What a database is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Countries, and places perhaps.
    Country,
    /// Autonomous systems.
    Asn,
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Country => "country (`country.iso_code` or `country_code`)",
            Self::Asn => "AS number (`autonomous_system_number`)",
        })
    }
}

/// One database, from a file or embedded.
pub(super) struct File {
    database: ArcSwap<Database>,
    /// `None` for the embedded one.
    watch: Option<Watch>,
}

struct Watch {
    path: PathBuf,
    content: Content,
    /// How the file looked when it was last read, well or in vain; `None` when it could not be looked at.
    seen: Mutex<Option<Stamp>>,
}

/// What tells that a file has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
}

impl File {
    pub(super) fn open(path: PathBuf, content: Content) -> Result<Self, Error> {
        // The stamp is older than the content: what is written in between is seen as a change.
        let seen = stamp(&path);
        match load(&path, content) {
            Ok(reader) => Ok(Self {
                database: ArcSwap::from_pointee(Database::new(reader)),
                watch: Some(Watch { path, content, seen: Mutex::new(seen) }),
            }),
            Err(fault) => Err(Error { path, fault }),
        }
    }

    pub(super) fn embedded() -> Self {
        let reader =
            Reader::from_source(Cow::Borrowed(EMBEDDED)).expect("the embedded database is whole, by test");
        Self { database: ArcSwap::from_pointee(Database::new(reader)), watch: None }
    }

    pub(super) fn is_embedded(&self) -> bool {
        self.watch.is_none()
    }

    pub(super) fn built(&self) -> Option<Timestamp> {
        i64::try_from(self.database.load().reader.metadata().build_epoch)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
    }

    /// What the database says; nothing for an address or a record that it cannot read.
    pub(super) fn find(&self, address: IpAddr) -> Location {
        self.database.load().find(address)
    }

    /// `None` if the file is as it was.
    pub(super) fn reload_if_changed(&self) -> Option<Result<PathBuf, Error>> {
        let Watch { path, content, seen } = self.watch.as_ref()?;
        let mut seen = seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = stamp(path);
        if *seen == now {
            return None;
        }
        *seen = now;
        let path = path.clone();
        Some(match load(&path, *content) {
            Ok(reader) => {
                self.database.store(Database::new(reader).into());
                Ok(path)
            }
            Err(fault) => Err(Error { path, fault }),
        })
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), size: metadata.len() })
}

fn load(path: &Path, content: Content) -> Result<Reader, Fault> {
    // Asked before it is opened: opening a named pipe would wait.
    if !fs::metadata(path)?.is_file() {
        return Err(Fault::Kind);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Fault::Size);
    }
    let reader = Reader::from_source(Cow::Owned(bytes))?;
    check(&reader, content)?;
    Ok(reader)
}

/// Decodes some records: they must be readable, and one of them at least must hold what we need.
fn check(reader: &Reader, content: Content) -> Result<(), Fault> {
    let mut found = false;
    for network in reader.networks(WithinOptions::default())?.take(SAMPLE) {
        let location = network?.decode::<Record<'_>>()?.map(|it| it.location()).unwrap_or_default();
        found |= match content {
            Content::Country => location.country.is_some(),
            Content::Asn => location.asn.is_some(),
        };
    }
    if found { Ok(()) } else { Err(Fault::Content(content)) }
}
