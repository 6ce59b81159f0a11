//! How values that are written as text stand in JSON Schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    AccountName, CategoryName, Continent, Country, HostName, HostUrl, Netblock, Place, Region, RsyncUrl,
    SiteName,
};

macro_rules! text {
    ($($type:ident: $description:literal),* $(,)?) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description })
            }
        }
    )*};
}

text! {
    AccountName: "3 to 40 of a-z, 0-9, dot, hyphen, underscore",
    CategoryName: "the name of a category",
    Continent: "AF, AN, AS, EU, NA, OC or SA",
    Country: "two letters of ISO 3166-1",
    HostName: "the name of a host",
    HostUrl: "an HTTP or HTTPS URL of a folder",
    Netblock: "a network: 192.0.2.0/24",
    Place: "latitude and longitude in degrees: 52.5,13.4",
    Region: "a country or autonomous system",
    RsyncUrl: "an rsync URL of a folder",
    SiteName: "the name of a site",
}
