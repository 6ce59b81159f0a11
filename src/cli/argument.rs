//! Values of arguments that have no type of their own.

use crate::mirror::{Country, PAGE_LENGTH, Scopes, ScopesError, is_contact, is_invisible, is_page};

/// How many characters a comment, a description or a netblock's name may have.
const WORDS_LENGTH: usize = 1_000;

/// How many bytes a token's name may have.
const LABEL_LENGTH: usize = 100;

/// A page for people.
pub(super) fn page(text: &str) -> Result<String, String> {
    if is_page(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("a page looks like https://www.example.org/ and has at most {PAGE_LENGTH} characters"))
    }
}

/// A mail address. Whether somebody reads it, only a mail can tell.
pub(super) fn contact(text: &str) -> Result<String, String> {
    if is_contact(text) {
        Ok(text.to_owned())
    } else {
        Err("a contact is a mail address such as admin@example.org, without invisible characters".to_owned())
    }
}

/// Free words.
pub(super) fn words(text: &str) -> Result<String, String> {
    let plain = !text.contains(|it: char| it.is_control() && it != '\n');
    if plain && text.chars().count() <= WORDS_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(format!("at most {WORDS_LENGTH} characters, without control characters"))
    }
}

/// What a token is called.
pub(super) fn label(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && !text.chars().any(|it| it.is_control() || is_invisible(it));
    if is_plain && text.len() <= LABEL_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(format!("1 to {LABEL_LENGTH} bytes, without invisible characters"))
    }
}

/// What a token may be used for, with commas between.
pub(super) fn scopes(text: &str) -> Result<Scopes, String> {
    text.replace(',', " ").parse().map_err(|error: ScopesError| error.to_string())
}

/// A country where a host or a network can be: one that is on the map, so that UK for GB is noticed.
pub(super) fn country(text: &str) -> Result<Country, String> {
    let country: Country = text.parse().map_err(|error| format!("{error}"))?;
    let is_british = country.to_string() == "UK";
    let hint = if is_british { "; the United Kingdom is GB" } else { "" };
    country.continent().map(|_| country).ok_or_else(|| format!("ISO 3166-1 has no country {country}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_mail_addresses() {
        assert_eq!(contact("a.b+c@example.org").as_deref(), Ok("a.b+c@example.org"));
        let long = format!("{}@example.org", "a".repeat(250));
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a @b",
            "a@b\nc@d",
            "a@b\0",
            "<a@b>",
            "-oX@b",
            "a\u{202e}@b",
            "a@b\u{200b}",
            &long,
        ] {
            assert!(contact(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pages_are_on_the_web() {
        assert!(page("https://example.org/?lang=en#top").is_ok());
        for text in ["", "example.org", "ftp://example.org", "https://", "https://a@b/", "https://a/ b"] {
            assert!(page(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn tokens_have_a_name_and_scopes() {
        assert!(label("nightly job").is_ok());
        for text in ["", "a\nb", "a\u{200b}", &"a".repeat(101)] {
            assert!(label(text).is_err(), "{text:?}");
        }
        assert_eq!(scopes("mirrors,read").unwrap().to_string(), "read mirrors");
        assert!(scopes("").is_err() && scopes("root").is_err());
    }

    #[test]
    fn words_are_plain_and_bounded() {
        assert!(words("Grüße\nzwei").is_ok());
        assert!(words("\x1b[2J").is_err());
        assert!(words(&"a".repeat(1_001)).is_err());
    }

    #[test]
    fn countries_are_on_the_map() {
        assert!(country("de").is_ok());
        assert_eq!(country("UK"), Err("ISO 3166-1 has no country UK; the United Kingdom is GB".to_owned()));
        assert_eq!(country("ZZ"), Err("ISO 3166-1 has no country ZZ".to_owned()));
    }
}
