/// What is said of the usual mistakes, and what to write instead.
const HINTS: &[(&str, &str)] = &[
    ("map, expected a sequence", "there may be many of these, so the heading has two brackets: [[category]]"),
    ("expected a sequence", "this is a list: [\"…\"]"),
    (
        "invalid IP address syntax",
        "a network ends with its length: \"127.0.0.0/8\", or \"192.0.2.1/32\" for one address",
    ),
    ("socket address", "this is an IP address with a port, no name: \"127.0.0.1:5000\""),
    ("a signed duration string", "a duration has units: \"10m\""),
];

/// Adds to an error of the TOML library what to write instead, where we know.
pub(super) fn add(error: String) -> String {
    match HINTS.iter().find(|(said, _)| error.contains(said)) {
        Some((_, hint)) => format!("{}\nhint: {hint}", error.trim_end()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn the_usual_mistakes_are_told_what_to_write() {
        #[track_caller]
        fn check(text: &str, hint: &str) {
            let error = super::add(Config::parse(text).unwrap_err().to_string());
            assert!(error.contains(&format!("\nhint: {hint}")), "{error}");
        }
        check("[category]\nname = \"fedora\"", "there may be many");
        check("[listen]\naddress = \"127.0.0.1:5000\"", "there may be many");
        check("[[category]]\nname = \"fedora\"\nrepositories = \"fedora\"", "this is a list");
        check("[crawl]\nallow_networks = \"10.0.0.0/8\"", "this is a list");
        check("[crawl]\nallow_networks = [\"127.0.0.1\"]", "a network ends with");
        check("[[listen]]\naddress = \"127.0.0.1\"", "this is an IP address with a port");
        check("[[listen]]\naddress = \"localhost:5000\"", "this is an IP address with a port");
        check("[serve]\nmanagement = 5001", "this is an IP address with a port");
        check("[crawl]\ninterval = 10", "a duration has units");
        check("[export]\ninterval = 10", "a duration has units");
    }

    #[test]
    fn other_mistakes_are_told_as_they_are() {
        let error = Config::parse("[crawl]\nhosts = \"5\"").unwrap_err().to_string();
        assert_eq!(super::add(error.clone()), error);
    }
}
