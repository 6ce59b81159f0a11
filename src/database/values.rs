//! How our values stand in columns: as text or as a number, on both engines.

use std::io::Write as _;

use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow, Queryable},
    expression::AsExpression,
    pg::{Pg, PgValue},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{BigInt, Binary, Nullable, SingleValue, Text, Timestamp},
    sqlite::Sqlite,
};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::connection::MultiBackend;
use crate::mirror::{
    AccountId, AccountName, Asn, Bandwidth, Bytes, CategoryId, CategoryName, Continent, Country, CrawlState,
    FileFault, HostCategoryId, HostCategoryUrlId, HostId, HostKind, HostName, HostUrl, MultiRange, Netblock,
    Percent, Reach, Region, Role, RsyncUrl, Scopes, SiteId, SiteName,
};
use crate::oci::{MediaType, RepositoryName, Tag};

/// A moment, to the microsecond: what both engines keep.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, AsExpression, FromSqlRow,
)]
#[diesel(sql_type = Timestamp)]
#[serde(transparent)]
pub struct Time(jiff::Timestamp);

impl From<jiff::Timestamp> for Time {
    fn from(time: jiff::Timestamp) -> Self {
        Self(jiff::Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time))
    }
}

impl From<Time> for jiff::Timestamp {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl Time {
    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// A moment so long before.
    pub fn before(self, duration: jiff::SignedDuration) -> Self {
        Self(self.0.saturating_sub(duration).unwrap_or(jiff::Timestamp::MIN))
    }

    /// A moment so long after.
    pub fn after(self, duration: jiff::SignedDuration) -> Self {
        Self(self.0.saturating_add(duration).unwrap_or(jiff::Timestamp::MAX))
    }

    fn in_utc(self) -> jiff::civil::DateTime {
        Offset::UTC.to_datetime(self.0)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl schemars::JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// What is written and read for each engine, over both.
macro_rules! over_both {
    ($type:ty, $sql:ty) => {
        impl ToSql<$sql, MultiBackend> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
                out.set_value((<$sql>::default(), self));
                Ok(IsNull::No)
            }
        }
        impl FromSql<$sql, MultiBackend> for $type {
            fn from_sql(bytes: <MultiBackend as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                bytes.from_sql::<Self, $sql>()
            }
        }
    };
}

/// The parts that are the same for every value: as a parameter and as a column.
macro_rules! value {
    ($type:ty, $sql:ty, $plain:ty, $to_plain:expr) => {
        impl AsExpression<$sql> for $type {
            type Expression = <$plain as AsExpression<$sql>>::Expression;
            fn as_expression(self) -> Self::Expression {
                AsExpression::<$sql>::as_expression($to_plain(&self))
            }
        }
        impl AsExpression<$sql> for &$type {
            type Expression = <$plain as AsExpression<$sql>>::Expression;
            fn as_expression(self) -> Self::Expression {
                AsExpression::<$sql>::as_expression($to_plain(self))
            }
        }
        impl AsExpression<Nullable<$sql>> for $type {
            type Expression = <$plain as AsExpression<Nullable<$sql>>>::Expression;
            fn as_expression(self) -> Self::Expression {
                AsExpression::<Nullable<$sql>>::as_expression($to_plain(&self))
            }
        }
        impl AsExpression<Nullable<$sql>> for &$type {
            type Expression = <$plain as AsExpression<Nullable<$sql>>>::Expression;
            fn as_expression(self) -> Self::Expression {
                AsExpression::<Nullable<$sql>>::as_expression($to_plain(self))
            }
        }
        impl<DB: Backend, ST: SingleValue> Queryable<ST, DB> for $type
        where
            Self: FromSql<ST, DB>,
        {
            type Row = Self;
            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
        over_both!($type, $sql);
    };
}

/// Values that are written with `Display` and read with `FromStr`.
macro_rules! text {
    ($($type:ty),* $(,)?) => {$(
        value!($type, Text, String, ToString::to_string);
        impl ToSql<Text, Pg> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.to_string().as_bytes())?;
                Ok(IsNull::No)
            }
        }
        impl ToSql<Text, Sqlite> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.to_string());
                Ok(IsNull::No)
            }
        }
        impl FromSql<Text, Pg> for $type {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                Ok(<String as FromSql<Text, Pg>>::from_sql(bytes)?.parse()?)
            }
        }
        impl FromSql<Text, Sqlite> for $type {
            fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(<String as FromSql<Text, Sqlite>>::from_sql(bytes)?.parse()?)
            }
        }
    )*};
}

/// Values that are a number in the database.
macro_rules! number {
    ($($type:ty: $to_plain:expr, $from_plain:expr;)*) => {$(
        value!($type, BigInt, i64, $to_plain);
        impl ToSql<BigInt, Pg> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<BigInt, Pg>::to_sql(&$to_plain(self), &mut out.reborrow())
            }
        }
        impl ToSql<BigInt, Sqlite> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value($to_plain(self));
                Ok(IsNull::No)
            }
        }
        impl FromSql<BigInt, Pg> for $type {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                $from_plain(<i64 as FromSql<BigInt, Pg>>::from_sql(bytes)?)
            }
        }
        impl FromSql<BigInt, Sqlite> for $type {
            fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                $from_plain(<i64 as FromSql<BigInt, Sqlite>>::from_sql(bytes)?)
            }
        }
    )*};
}

text!(
    SiteName,
    HostName,
    CategoryName,
    HostUrl,
    Netblock,
    Country,
    Continent,
    CrawlState,
    Reach,
    Region,
    Scopes,
    FileFault,
    MultiRange,
    RsyncUrl,
    RepositoryName,
    Tag,
    MediaType,
    HostKind,
    AccountName,
    Role,
);

fn in_range<T>(value: Option<T>) -> deserialize::Result<T> {
    value.ok_or_else(|| "the number is out of its range".into())
}

number! {
    AccountId: |it: &AccountId| it.0, |it| Ok(AccountId(it));
    SiteId: |it: &SiteId| it.0, |it| Ok(SiteId(it));
    HostId: |it: &HostId| it.0, |it| Ok(HostId(it));
    CategoryId: |it: &CategoryId| it.0, |it| Ok(CategoryId(it));
    HostCategoryId: |it: &HostCategoryId| it.0, |it| Ok(HostCategoryId(it));
    HostCategoryUrlId: |it: &HostCategoryUrlId| it.0, |it| Ok(HostCategoryUrlId(it));
    Asn: |it: &Asn| i64::from(it.number()), |it| in_range(u32::try_from(it).ok().and_then(Asn::new));
    Percent: |it: &Percent| i64::from(it.number()), |it| in_range(u8::try_from(it).ok().and_then(Percent::new));
    Bytes: |it: &Bytes| it.number().cast_signed(), |it| in_range(u64::try_from(it).ok().and_then(Bytes::new));
    Bandwidth: |it: &Bandwidth| i64::from(it.megabits()), |it| in_range(u32::try_from(it).ok().and_then(Bandwidth::new));
}

type Civil = jiff_diesel::DateTime;
over_both!(Time, Timestamp);

impl ToSql<Timestamp, Pg> for Time {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Timestamp, Pg>::to_sql(&Civil::from(self.in_utc()), &mut out.reborrow())
    }
}

impl ToSql<Timestamp, Sqlite> for Time {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        // Always six digits: so the order of the texts is the order of the times.
        out.set_value(format!("{:.6}", self.in_utc()));
        Ok(IsNull::No)
    }
}

impl FromSql<Timestamp, Pg> for Time {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        let civil = <Civil as FromSql<Timestamp, Pg>>::from_sql(bytes)?;
        Ok(Self(Offset::UTC.to_timestamp(civil.to_jiff())?))
    }
}

impl FromSql<Timestamp, Sqlite> for Time {
    fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let civil = <Civil as FromSql<Timestamp, Sqlite>>::from_sql(bytes)?;
        Ok(Self(Offset::UTC.to_timestamp(civil.to_jiff())?))
    }
}

/// The SHA-256 that names a blob or an inventory, as 32 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    AsExpression,
    FromSqlRow,
    Serialize,
    Deserialize,
)]
#[diesel(sql_type = Binary)]
#[serde(into = "crate::oci::Digest", try_from = "crate::oci::Digest")]
pub struct Sha256(pub [u8; 32]);

impl From<Sha256> for crate::oci::Digest {
    fn from(hash: Sha256) -> Self {
        Self::Sha256(hash.0)
    }
}

impl TryFrom<crate::oci::Digest> for Sha256 {
    type Error = &'static str;

    fn try_from(digest: crate::oci::Digest) -> Result<Self, Self::Error> {
        digest.sha256().copied().map(Self).ok_or("not a SHA-256")
    }
}

over_both!(Sha256, Binary);

impl ToSql<Binary, Pg> for Sha256 {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0)?;
        Ok(IsNull::No)
    }
}

impl ToSql<Binary, Sqlite> for Sha256 {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(&self.0[..]);
        Ok(IsNull::No)
    }
}

impl FromSql<Binary, Pg> for Sha256 {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(bytes.as_bytes().try_into()?))
    }
}

impl FromSql<Binary, Sqlite> for Sha256 {
    fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(bytes)?;
        Ok(Self(bytes.as_slice().try_into()?))
    }
}
