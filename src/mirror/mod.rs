//! MirrorManager's nouns: sites have hosts, hosts opt in to categories and carry them under URLs.

mod account;
pub mod capture;
mod category;
mod contact;
mod crawl;
mod host;
mod invisible;
mod json_schema;
mod kind;
mod netblock;
mod place;
mod region;
mod rsync_url;
mod scope;
mod site;

pub use account::{AccountName, AccountNameError, Role, RoleError};
pub use category::{CategoryName, CategoryNameError, Serial, blob_path};
pub use contact::is_contact;
pub use crawl::{CrawlState, FileFault, MultiRange, Reach, UnknownState};
pub use host::{
    Asn, AsnError, Bandwidth, BandwidthError, HostName, HostNameError, HostUrl, HostUrlError, Scheme,
};
pub use invisible::is_invisible;
pub use kind::{Bytes, BytesError, HostKind, HostKindError, Percent, PercentError};
pub use netblock::{Netblock, NetblockError};
pub use place::{Continent, Country, Place, PlaceError, Point};
pub use region::{Region, RegionError};
pub use rsync_url::{RsyncUrl, RsyncUrlError};
pub use scope::{Scope, Scopes, ScopesError};
pub use site::{
    AccountId, CategoryId, HostCategoryId, HostCategoryUrlId, HostId, PAGE_LENGTH, SiteId, SiteName,
    SiteNameError, is_page,
};
