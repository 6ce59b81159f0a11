//! The three parts of a snapshot as plain data: what the database loads and the store saves.

use rkyv::{Archive, Deserialize, Serialize};

use crate::mirror::{
    CategoryId, Continent, Country, HostCategoryId, HostCategoryUrlId, HostId, HostKind, Place, Reach,
    Region, Scheme, Serial, SiteId,
};

/// The SHA-256 that names a blob.
pub type Hash = [u8; 32];

/// What there is: repositories, tags, manifests and blobs.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ContentRows {
    /// Counts the changes of this part.
    pub generation: i64,
    /// All blobs, manifests among them.
    pub blobs: Vec<BlobRow>,
    /// All repositories with their tags.
    pub repositories: Vec<RepositoryRow>,
    /// Who says something about whom.
    pub referrers: Vec<ReferrerRow>,
    /// All categories that are not retired.
    pub categories: Vec<CategoryRow>,
    /// Tags that name another manifest than before, as far as that is still there.
    pub moved_tags: Vec<MovedTagRow>,
}

/// A tag that names another manifest than before.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct MovedTagRow {
    /// Of which repository.
    pub repository: String,
    /// Its name.
    pub tag: String,
    /// The manifest before.
    pub former: Hash,
    /// When it moved, Unix seconds.
    pub moved_at: i64,
    /// The category that it moved in.
    pub category: CategoryId,
    /// The numbers of what the new manifest leads to and the former one does not: a roaring bitmap in the
    /// portable format.
    pub new_blobs: Vec<u8>,
}

/// A blob.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct BlobRow {
    /// Its name.
    pub digest: Hash,
    /// Its place in every bitmap; never given to another blob.
    pub number: u32,
    /// In bytes.
    pub size: u64,
    /// What it is.
    pub kind: BlobKind,
}

/// A blob, or one of the four kinds of manifest.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// Layer, configuration, or anything else.
    Blob,
    /// A manifest of this type.
    OciManifest,
    /// A manifest of this type.
    OciIndex,
    /// A manifest of this type.
    DockerManifest,
    /// A manifest of this type.
    DockerList,
}

/// A repository.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RepositoryRow {
    /// `fedora`
    pub name: String,
    /// Tags and the manifests they name, sorted by tag.
    pub tags: Vec<(String, Hash)>,
}

/// A manifest that names another one as its subject.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ReferrerRow {
    /// What it speaks about.
    pub subject: Hash,
    /// Which it is.
    pub manifest: Hash,
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// Its descriptor in JSON, as it stands in the answer.
    pub descriptor: String,
}

/// A category.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CategoryRow {
    /// Its row.
    pub id: CategoryId,
    /// Its name.
    pub name: String,
    /// Its newest state.
    pub serial: Serial,
    /// The numbers of all its blobs: a roaring bitmap in the portable format.
    pub blobs: Vec<u8>,
}

/// Which host holds what.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct HoldingRows {
    /// Counts the changes of this part.
    pub generation: i64,
    /// Different sets of blob numbers: roaring bitmaps in the portable format. Equal ones stand here once.
    pub sets: Vec<Vec<u8>>,
    /// One per opt-in that was crawled.
    pub holdings: Vec<HoldingRow>,
}

/// What one host holds of one category.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct HoldingRow {
    /// The opt-in.
    pub host_category: HostCategoryId,
    /// Index into `sets`.
    pub set: u32,
    /// When the last crawl confirmed it, Unix seconds.
    pub crawled_at: i64,
}

/// Who could serve, and what is known of places.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct HostRows {
    /// Counts the changes of this part.
    pub generation: i64,
    /// All hosts, those that are off as well: their reasons must be told.
    pub hosts: Vec<HostRow>,
    /// Countries of networks, over GeoIP: `192.0.2.0/24`, `DE`.
    pub netblock_countries: Vec<(String, Country)>,
    /// Countries that count to another continent than the map's.
    pub continent_redirects: Vec<(Country, Continent)>,
    /// What is not answered any more. It stands here, for this part is taken over first.
    pub withdrawn: Vec<WithdrawnRow>,
    /// Countries under embargo beside those of the configuration.
    pub embargoed: Vec<Country>,
    /// Former names of repositories.
    pub aliases: Vec<AliasRow>,
}

/// A former name of a repository.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AliasRow {
    /// The former name.
    pub alias: String,
    /// What it is called now.
    pub repository: String,
    /// From then on the former name is unknown, Unix seconds.
    pub expires_at: Option<i64>,
}

/// A digest that is not answered any more.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct WithdrawnRow {
    /// Of a manifest or blob, known or not.
    pub digest: Hash,
    /// For legal reasons?
    pub legal: bool,
}

/// A host with all that ranking asks of it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct HostRow {
    /// Its row.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Its site's row.
    pub site: SiteId,
    /// Its site's name.
    pub site_name: String,
    /// Where it stands.
    pub country: Option<Country>,
    /// Where exactly.
    pub place: Option<Place>,
    /// The autonomous system it stands in.
    pub asn: Option<u32>,
    /// Does it want the clients of its own autonomous system first?
    pub asn_clients: bool,
    /// Other autonomous systems whose clients it wants.
    pub peer_asns: Vec<u32>,
    /// In Mbit/s, if known.
    pub bandwidth: Option<u32>,
    /// Host or site is private: shown to nobody outside its netblocks and autonomous systems.
    pub private: bool,
    /// Its admins have not switched host or site off.
    pub user_active: bool,
    /// The operators have not switched host or site off.
    pub admin_active: bool,
    /// Why the crawler has switched it off, if so.
    pub auto_disabled: Option<String>,
    /// Taken out of all answers for a while.
    pub drained: bool,
    /// Networks whose clients it wants first.
    pub netblocks: Vec<String>,
    /// If not empty: the only countries it serves.
    pub countries_allowed: Vec<Country>,
    /// Countries it does not serve.
    pub countries_denied: Vec<Country>,
    /// How it comes to have content.
    pub kind: HostKind,
    /// So many of a hundred clients may be sent to it.
    pub client_share: u8,
    /// What one server may send to it in a day, in bytes.
    pub daily_bytes: Option<u64>,
    /// The largest file that is fetched from it, in bytes.
    pub max_file_size: Option<u64>,
    /// Since when no crawl found a lie, Unix seconds; at first, since it was added.
    pub clean_since: i64,
    /// So many of a thousand clients that it is near to stay with it, by last hour's demand and its bandwidth.
    pub kept: u16,
    /// Whose clients are not sent to it, for it failed too many of them.
    pub demoted: Vec<Region>,
    /// What it opted in to.
    pub categories: Vec<HostCategoryRow>,
}

/// A host's opt-in to a category.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct HostCategoryRow {
    /// Its row.
    pub id: HostCategoryId,
    /// To what.
    pub category: CategoryId,
    /// Taken out of answers for a while, as far as this category goes.
    pub drained: bool,
    /// Under which URLs.
    pub urls: Vec<HostUrlRow>,
}

/// A URL under which a host carries a category.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct HostUrlRow {
    /// Its row.
    pub id: HostCategoryUrlId,
    /// Without a slash at the end.
    pub url: String,
    /// How it is fetched.
    pub scheme: Scheme,
    /// Does it answer by IPv4?
    pub ipv4: Reach,
    /// Does it answer by IPv6?
    pub ipv6: Reach,
}
