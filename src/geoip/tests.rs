use std::{collections::BTreeMap, fs, path::Path};

use mmdb_writer::{Value, Writer};
use sha2::{Digest, Sha256};

use super::{file::EMBEDDED, *};

type Fields = BTreeMap<String, Value>;

fn map(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Fields>())
}

fn iso_code(code: &str) -> Value {
    map([("iso_code", code.into())])
}

fn write(path: &Path, rows: impl IntoIterator<Item = (&'static str, Value)>) {
    let mut writer = Writer::new("Test");
    for (network, value) in rows {
        writer.insert_value(network.parse::<ipnet::IpNet>().unwrap(), value).unwrap();
    }
    fs::write(path, writer.to_bytes().unwrap()).unwrap();
}

fn find(geoip: &GeoIp, address: &str) -> (String, String, u32) {
    let found = geoip.find(address.parse().unwrap());
    let country = found.country.map(|it| it.to_string()).unwrap_or_default();
    (country, found.place.map(|it| it.to_string()).unwrap_or_default(), found.asn.unwrap_or_default())
}

fn answer(country: &str, place: &str, asn: u32) -> (String, String, u32) {
    (country.to_owned(), place.to_owned(), asn)
}

/// The outcome for the one file that has changed.
#[track_caller]
fn reload(geoip: &GeoIp) -> Result<PathBuf, String> {
    let mut outcomes = geoip.reload_if_changed();
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0).map_err(|it| it.to_string())
}

#[test]
fn maxminds_nested_records_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| Some(folder.path().join(name));
    let config = Config { country: path("country"), city: path("city"), asn: path("asn") };
    let point = map([
        ("latitude", 60.25.into()),
        ("longitude", 24.5.into()),
        ("time_zone", "Europe/Helsinki".into()),
    ]);
    let helsinki = map([("country", iso_code("FI")), ("location", point.clone()), ("city", map([]))]);
    write(
        config.city.as_ref().unwrap(),
        [
            ("198.51.100.0/25", helsinki.clone()),
            ("2001:db8::/32", helsinki),
            ("203.0.113.0/24", map([("location", point)])),
        ],
    );
    write(
        config.country.as_ref().unwrap(),
        [
            ("198.51.100.0/24", map([("country", iso_code("SE")), ("registered_country", iso_code("NO"))])),
            ("203.0.113.0/24", map([("registered_country", iso_code("DK"))])),
        ],
    );
    write(
        config.asn.as_ref().unwrap(),
        [
            ("198.51.100.0/24", map([("autonomous_system_number", 64500u32.into())])),
            ("203.0.113.0/24", map([("autonomous_system_number", 0u32.into())])),
        ],
    );
    let geoip = GeoIp::open(&config).unwrap();
    assert!(!geoip.is_default());
    assert_eq!(find(&geoip, "198.51.100.1"), answer("FI", "60.25,24.5", 64500));
    assert_eq!(find(&geoip, "::ffff:198.51.100.1"), answer("FI", "60.25,24.5", 64500));
    assert_eq!(find(&geoip, "2001:db8::1"), answer("FI", "60.25,24.5", 0));
    // Beyond the city database the country one answers; the registered country is the last resort.
    assert_eq!(find(&geoip, "198.51.100.200"), answer("SE", "", 64500));
    assert_eq!(find(&geoip, "203.0.113.1"), answer("DK", "60.25,24.5", 0));
    assert_eq!(find(&geoip, "192.0.2.1"), answer("", "", 0));
}

#[test]
fn flat_records_are_read_whatever_the_numbers_type() {
    let folder = tempfile::tempdir().unwrap();
    let city = folder.path().join("city");
    let row = |country: &str, latitude: Value, longitude: Value| {
        map([("country_code", country.into()), ("latitude", latitude), ("longitude", longitude)])
    };
    write(
        &city,
        [
            ("192.0.2.0/26", row("DE", Value::Float(52.5), Value::Float(13.5))),
            ("192.0.2.64/26", row("FR", Value::Double(48.75), Value::U16(2))),
            ("192.0.2.128/26", row("BR", Value::I32(-15), Value::I32(-47))),
            ("192.0.2.192/26", row("N/A", Value::Float(f32::NAN), Value::Float(0.0))),
        ],
    );
    let geoip = GeoIp::open(&Config { city: Some(city), ..Config::default() }).unwrap();
    assert_eq!(find(&geoip, "192.0.2.1"), answer("DE", "52.5,13.5", 0));
    assert_eq!(find(&geoip, "192.0.2.65"), answer("FR", "48.75,2", 0));
    assert_eq!(find(&geoip, "192.0.2.129"), answer("BR", "-15,-47", 0));
    assert_eq!(find(&geoip, "192.0.2.193"), answer("", "", 0));
}

#[test]
fn an_ipv4_database_knows_nothing_of_ipv6() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v4");
    let mut writer = Writer::builder("Test").ip_version(mmdb_writer::IpVersion::V4).build();
    let network: ipnet::IpNet = "192.0.2.0/24".parse().unwrap();
    writer.insert_value(network, map([("country_code", "DE".into())])).unwrap();
    fs::write(&path, writer.to_bytes().unwrap()).unwrap();
    let geoip = GeoIp::open(&Config { country: Some(path), ..Config::default() }).unwrap();
    assert_eq!(find(&geoip, "::ffff:192.0.2.1"), answer("DE", "", 0));
    assert_eq!(find(&geoip, "2001:db8::1"), answer("", "", 0));
}

#[test]
fn the_default_answers() {
    let geoip = GeoIp::open(&Config::default()).unwrap();
    assert!(geoip.is_default());
    assert!(geoip.reload_if_changed().is_empty());
    assert!(geoip.built().unwrap() > "2026-01-01T00:00:00Z".parse().unwrap(), "{:?}", geoip.built());
    for (address, country) in [
        ("193.166.3.2", "FI"),   // Funet's mirror
        ("130.89.148.12", "NL"), // University of Twente's mirror
        ("141.30.62.23", "DE"),  // Technical University of Dresden
        ("2001:708:10:8::2", "FI"),
        ("127.0.0.1", ""),
        ("10.0.0.1", ""),
    ] {
        assert_eq!(find(&geoip, address), answer(country, "", 0), "{address}");
    }
}

#[test]
fn the_readme_names_the_embedded_file() {
    let readme = include_str!("../../geoip/README.md");
    let hash = Sha256::digest(EMBEDDED).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert!(readme.contains(&hash), "geoip/README.md does not name SHA-256 {hash}");
}

#[test]
fn the_default_is_not_used_beside_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city");
    write(&path, [("192.0.2.0/24", map([("country_code", "DE".into())]))]);
    let geoip = GeoIp::open(&Config { city: Some(path), ..Config::default() }).unwrap();
    assert!(!geoip.is_default());
    assert_eq!(find(&geoip, "193.166.3.2"), answer("", "", 0));
}

#[test]
fn a_changed_file_is_read_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("country.mmdb");
    // Each content has a size of its own, so that no test waits for the clock of the file system.
    write(&path, [("192.0.2.0/24", map([("country_code", "DE".into())]))]);
    let geoip = GeoIp::open(&Config { country: Some(path.clone()), ..Config::default() }).unwrap();
    assert!(geoip.reload_if_changed().is_empty());

    write(&path, [("192.0.2.0/24", map([("country_code", "FR".into()), ("more", "text".into())]))]);
    assert_eq!(reload(&geoip), Ok(path.clone()));
    assert_eq!(find(&geoip, "192.0.2.1"), answer("FR", "", 0));

    let whole = fs::read(&path).unwrap();
    let bad: [&[u8]; 3] = [b"", b"<html>not found</html>", &whole[..whole.len() / 2]];
    for bytes in bad {
        fs::write(&path, bytes).unwrap();
        let error = reload(&geoip).unwrap_err();
        assert!(error.contains("country.mmdb") && error.contains("MaxMind DB format"), "{error}");
        assert!(geoip.reload_if_changed().is_empty(), "reported once");
        assert_eq!(find(&geoip, "192.0.2.1"), answer("FR", "", 0));
    }

    fs::remove_file(&path).unwrap();
    assert!(reload(&geoip).unwrap_err().contains("country.mmdb"));
    write(&path, [("192.0.2.0/24", map([("country_code", "IT".into())]))]);
    assert_eq!(reload(&geoip), Ok(path.clone()));
    assert_eq!(find(&geoip, "192.0.2.1"), answer("IT", "", 0));
}

#[test]
fn one_bad_file_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (country, asn) = (folder.path().join("country"), folder.path().join("asn"));
    write(&country, [("192.0.2.0/24", map([("country_code", "DE".into())]))]);
    write(&asn, [("192.0.2.0/24", map([("autonomous_system_number", 64500u32.into())]))]);
    let config = Config { country: Some(country.clone()), asn: Some(asn.clone()), ..Config::default() };
    let geoip = GeoIp::open(&config).unwrap();
    fs::write(&country, "garbage").unwrap();
    write(&asn, [("192.0.2.0/24", map([("autonomous_system_number", 4_200_000_000u32.into())]))]);
    fs::File::options().append(true).open(&asn).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let outcomes = geoip.reload_if_changed();
    assert_eq!(outcomes[0].as_ref().unwrap_err().path, country);
    assert_eq!(outcomes[1].as_ref().unwrap(), &asn);
    assert_eq!(find(&geoip, "192.0.2.1"), answer("DE", "", 4_200_000_000));
}

#[test]
fn what_is_no_such_database_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    #[track_caller]
    fn check(config: Config, error: &str) {
        let found = GeoIp::open(&config).err().unwrap().to_string();
        assert!(found.contains(error), "{found}");
    }
    let countries = folder.path().join("countries");
    write(&countries, [("192.0.2.0/24", map([("country_code", "DE".into())]))]);
    check(Config { asn: Some(countries), ..Config::default() }, "hold no AS number");
    let numbers = folder.path().join("numbers");
    write(&numbers, [("192.0.2.0/24", map([("autonomous_system_number", 64500u32.into())]))]);
    check(Config { country: Some(numbers), ..Config::default() }, "hold no country");
    check(Config { city: Some(folder.path().to_owned()), ..Config::default() }, "not a regular file");
    check(
        Config { city: Some(folder.path().join("none")), ..Config::default() },
        "none, named in [geoip]: No such file",
    );
}

#[test]
fn records_that_share_a_place_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asn");
    let mut writer = Writer::new("Test");
    let network = |number: u32| std::net::Ipv4Addr::from(0x0a00_0000 + (number << 8));
    for number in 1..9_000u32 {
        let network = ipnet::IpNet::new(network(number).into(), 24).unwrap();
        writer.insert_value(network, map([("autonomous_system_number", number.into())])).unwrap();
    }
    fs::write(&path, writer.to_bytes().unwrap()).unwrap();
    let geoip = GeoIp::open(&Config { asn: Some(path), ..Config::default() }).unwrap();
    for _ in 0..2 {
        for number in 1..9_000 {
            assert_eq!(geoip.find(network(number).into()).asn, Some(number));
        }
    }
}
