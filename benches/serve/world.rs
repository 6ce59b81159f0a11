//! A world from a seed, straight into a saved snapshot.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use portolan::{
    mirror::{
        CategoryId, Country, HostCategoryId, HostCategoryUrlId, HostId, HostKind, Reach, Scheme, SiteId,
    },
    mirrorlist::rows::{
        BlobKind, BlobRow, CategoryRow, ContentRows, Hash, HoldingRow, HoldingRows, HostCategoryRow, HostRow,
        HostRows, HostUrlRow, RepositoryRow,
    },
    oci::Digest,
    store::{Bodies, Record, Store},
};
use roaring::RoaringBitmap;

/// Addresses that ask.
const ADDRESSES: usize = 10_000;

/// Where hosts stand, the more often the earlier: `shared` countries have many hosts, the last ones few.
const COUNTRIES: [&str; 20] = [
    "US", "DE", "FR", "US", "GB", "CN", "JP", "BR", "NL", "US", "SE", "PL", "CZ", "IT", "ES", "CA", "AU",
    "IN", "ZA", "KR",
];

/// The size of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) hosts: usize,
    pub(crate) blobs: usize,
    /// Of the blobs: manifests, with bodies of about 1 KiB; the first of them has 4 KiB.
    pub(crate) manifests: usize,
    /// `serve.max_urls`
    pub(crate) max_urls: usize,
}

pub(crate) const SMALL: Size = Size { hosts: 400, blobs: 100_000, manifests: 1000, max_urls: 60 };
pub(crate) const LARGE: Size = Size { hosts: 4000, blobs: 1_000_000, manifests: 150_000, max_urls: 246 };

/// A world on disk, and what can be asked there.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    size: Size,
    layers: Vec<Digest>,
    pub(crate) manifest: Digest,
    dice: Dice,
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

impl World {
    /// Makes it below `folder`.
    pub(crate) fn make(folder: &Path, name: &str, size: Size) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("the world's folder");
        let mut dice = Dice(size.blobs as u64);
        let store = Store::open(&folder.join("Plain")).expect("the state's folder");
        let manifests: Vec<Vec<u8>> =
            (0..size.manifests).map(|it| body(it, if it == 0 { 4096 } else { 1000 })).collect();
        let mut blobs: Vec<BlobRow> = manifests
            .iter()
            .map(|it| (hash(&Digest::of(it)), it.len() as u64, BlobKind::OciManifest))
            .chain((size.manifests..size.blobs).map(|_| (random_hash(&mut dice), 10_000_000, BlobKind::Blob)))
            .zip(1..)
            .map(|((digest, size, kind), number)| BlobRow { digest, number, size, kind })
            .collect();
        let rows = manifests.iter().map(|it| (Record::Body, hash(&Digest::of(it)), it.clone()));
        Bodies::open(&store)
            .expect("the bodies")
            .0
            .with(&store, |_, _| true, rows)
            .expect("the bodies are written");
        let layers = blobs.iter().filter(|it| it.kind == BlobKind::Blob).map(BlobRow::name).collect();
        let manifest = Digest::of(&manifests[0]);
        blobs.sort_unstable_by_key(|it| it.digest);
        store.save(&content(blobs, &manifests)).expect("the content is saved");
        store.save(&holdings(size, &mut dice)).expect("the holdings are saved");
        store.save(&hosts(size, &mut dice)).expect("the hosts are saved");
        Self { folder, size, layers, manifest, dice }
    }

    /// Some layer.
    pub(crate) fn draw_layer(&mut self) -> Digest {
        self.layers[self.dice.below(self.layers.len())]
    }

    /// All who ask.
    pub(crate) fn clients(&self) -> Vec<String> {
        (0..ADDRESSES).map(|it| address(it).to_string()).collect()
    }
}

/// Public addresses all over the unicast space, always the same.
fn address(number: usize) -> Ipv4Addr {
    let mut dice = Dice(number as u64);
    let mixed = dice.next();
    Ipv4Addr::new((mixed % 220 + 2) as u8, (mixed >> 8) as u8, (mixed >> 16) as u8, (mixed >> 24) as u8)
}

/// How a server of the world listens and what it logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By HTTP, with errors only in the log.
    Plain,
    /// The same, with a line for every request.
    Logged,
    /// By TLS, with errors only in the log.
    Tls,
}

impl World {
    /// Writes what `portolan serve` reads in this mode, and names the file.
    pub(crate) fn configure(&self, mode: Mode) -> PathBuf {
        let filter = if mode == Mode::Logged { "info" } else { "error" };
        let pair = match mode {
            Mode::Tls => "certificate = \"../tls.pem\"\nkey = \"../tls.key\"\n",
            Mode::Plain | Mode::Logged => "",
        };
        // The folder of a server is its own.
        let state = self.folder.join(format!("{mode:?}"));
        if mode != Mode::Plain {
            fs::create_dir_all(&state).expect("the state's folder");
            for file in fs::read_dir(self.folder.join("Plain")).expect("the first state").flatten() {
                fs::copy(file.path(), state.join(file.file_name())).expect("the copy of the state");
            }
        }
        let file = self.folder.join(format!("{mode:?}.toml"));
        let text = configuration(self.size, &format!("{mode:?}"), filter, pair);
        fs::write(&file, text).expect("the configuration");
        file
    }
}

fn configuration(size: Size, state: &str, filter: &str, pair: &str) -> String {
    format!(
        "[database]\nurl = \"sqlite:none.db\"\n\
         [serve]\nstate = \"{state}\"\nmanagement = \"127.0.0.1:0\"\nworkers = 1\nmax_urls = {}\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [fallback]\nurl = \"https://cdn.example.org\"\n[log]\nfilter = \"{filter}\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n{pair}",
        size.max_urls
    )
}

fn body(number: usize, length: usize) -> Vec<u8> {
    let mut text = format!("{{\"schemaVersion\":2,\"number\":{number},\"padding\":\"");
    text.push_str(&"x".repeat(length - text.len() - 2));
    text.push_str("\"}");
    text.into_bytes()
}

fn hash(digest: &Digest) -> Hash {
    *digest.sha256().expect("SHA-256")
}

fn random_hash(dice: &mut Dice) -> Hash {
    let mut hash = [0; 32];
    hash.chunks_mut(8).for_each(|it| it.copy_from_slice(&dice.next().to_be_bytes()));
    hash
}

fn content(blobs: Vec<BlobRow>, manifests: &[Vec<u8>]) -> ContentRows {
    let newest: RoaringBitmap = blobs.iter().map(|it| it.number).collect();
    let tags = manifests.chunks(100).enumerate().map(|(repository, chunk)| {
        let tag = |(number, it): (usize, &Vec<u8>)| (format!("{number}"), hash(&Digest::of(it)));
        let name = if repository == 0 { "fedora".to_owned() } else { format!("fedora/image-{repository}") };
        RepositoryRow { name, tags: chunk.iter().enumerate().map(tag).collect() }
    });
    let category =
        CategoryRow { id: CategoryId(1), name: "all".to_owned(), serial: 1, blobs: bytes(&newest) };
    ContentRows {
        generation: 1,
        repositories: tags.collect(),
        blobs,
        referrers: Vec::new(),
        categories: vec![category],
        moved_tags: Vec::new(),
    }
}

fn bytes(set: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::new();
    set.serialize_into(&mut bytes).expect("memory takes everything");
    bytes
}

/// 90 % of the hosts are at one of 3 serials, the others lack some blobs each.
fn holdings(size: Size, dice: &mut Dice) -> HoldingRows {
    let blobs = size.blobs as u32;
    let serials = [blobs, blobs - blobs / 100, blobs - blobs / 20];
    let mut sets: Vec<RoaringBitmap> = serials.map(|it| (1..=it).collect()).to_vec();
    let crawled_at =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
            as i64;
    let mut holdings = Vec::new();
    for host in 0..size.hosts {
        let set = match dice.below(100) {
            own if own >= 90 => {
                let mut own = sets[0].clone();
                for _ in 0..100 {
                    own.remove(dice.below(size.blobs) as u32);
                }
                sets.push(own);
                sets.len() - 1
            }
            shared => shared % 3,
        };
        holdings.push(HoldingRow { host_category: HostCategoryId(host as i64), set: set as u32, crawled_at });
    }
    HoldingRows { generation: 1, sets: sets.iter().map(bytes).collect(), holdings }
}

fn hosts(size: Size, dice: &mut Dice) -> HostRows {
    let host = |host: usize, dice: &mut Dice| {
        let country: Country = COUNTRIES[dice.below(COUNTRIES.len())].parse().expect("a country");
        let url = HostUrlRow {
            id: HostCategoryUrlId(host as i64),
            url: format!("https://mirror-{host}.example.org/pub/containers"),
            scheme: Scheme::Https,
            ipv4: Reach::Up,
            ipv6: Reach::Unknown,
        };
        let category = HostCategoryRow {
            id: HostCategoryId(host as i64),
            category: CategoryId(1),
            drained: false,
            urls: vec![url],
        };
        HostRow {
            id: HostId(host as i64),
            name: format!("mirror-{host}.example.org"),
            site: SiteId(host as i64),
            site_name: format!("site {host}"),
            country: Some(country),
            place: country.place(),
            asn: Some(dice.below(60_000) as u32 + 1),
            asn_clients: true,
            peer_asns: Vec::new(),
            bandwidth: Some([100, 1000, 1000, 10_000][dice.below(4)]),
            private: false,
            user_active: true,
            admin_active: true,
            auto_disabled: None,
            drained: false,
            netblocks: vec![format!("{}/16", address(dice.below(ADDRESSES)))],
            countries_allowed: Vec::new(),
            countries_denied: Vec::new(),
            kind: HostKind::Static,
            client_share: 100,
            daily_bytes: None,
            max_file_size: None,
            clean_since: 0,
            kept: 1_000,
            demoted: Vec::new(),
            categories: vec![category],
        }
    };
    let hosts = (0..size.hosts).map(|it| host(it, dice)).collect();
    HostRows { generation: 1, hosts, ..HostRows::default() }
}
