use base64::{Engine, engine::general_purpose::STANDARD};

use super::{MEDIA_TYPE_V4, Resource, WebUrl};
use crate::oci::Digest;

/// The most `rel=duplicate` links of one answer.
pub const DUPLICATES_LIMIT: usize = 3;

/// The values of `Link` headers for the first [`DUPLICATES_LIMIT`] resources, best first: RFC 6249 section 3.
///
/// Each is for a header of its own, and nothing in it is quoted: aria2 reads neither a list nor `rel="duplicate"`.
/// Without [`instance_digest`] in the same answer clients must ignore them (section 6).
pub fn duplicate_links(resources: &[Resource]) -> Vec<String> {
    let link = |(resource, priority): (&Resource, char)| {
        let (url, letters) = (resource.url.as_str(), resource.country.map(|it| it.letters()));
        let mut text = String::with_capacity(url.len() + 48);
        ["<", url, ">; rel=duplicate; pri="].iter().for_each(|it| text.push_str(it));
        text.push(priority);
        if let Some(letters) = letters {
            text.push_str("; geo=");
            text.extend(letters.map(|it| char::from(it.to_ascii_lowercase())));
        }
        text
    };
    resources.iter().take(DUPLICATES_LIMIT).zip('1'..).map(link).collect()
}

/// The value of the `Link` header that names the version 4 document at `url`: RFC 6249 section 3.
pub fn describedby_link(url: &WebUrl) -> String {
    ["<", url.as_str(), ">; rel=describedby; type=\"", MEDIA_TYPE_V4, "\""].concat()
}

/// The value of the `Digest` header (RFC 3230) that the links need; `None` if the digest is no SHA-256.
pub fn instance_digest(digest: &Digest) -> Option<String> {
    digest.sha256().map(|bytes| ["SHA-256=", &STANDARD.encode(bytes)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metalink::samples;

    #[test]
    fn links_are_one_a_header_and_unquoted() {
        let mut resources = samples::document().resources().to_vec();
        resources.push(samples::resource("https://m4.example/blob", "IT"));
        insta::assert_debug_snapshot!(duplicate_links(&resources), @r##"
        [
            "<https://m1.example/fedora/blobs/sha256/ab/x?a=1&b='2'>; rel=duplicate; pri=1; geo=de",
            "<http://m2.example/blob>; rel=duplicate; pri=2; geo=fr",
            "<https://m3.example/blob>; rel=duplicate; pri=3",
        ]
        "##);
        assert_eq!(duplicate_links(&[]), Vec::<String>::new());
    }

    #[test]
    fn the_document_is_named_with_its_type() {
        let link = describedby_link(&"https://registry.example/metalink?repo=a&tag=b".parse().unwrap());
        insta::assert_snapshot!(link, @r#"<https://registry.example/metalink?repo=a&tag=b>; rel=describedby; type="application/metalink4+xml""#);
    }

    #[test]
    fn the_digest_is_base64() {
        // What `printf '' | openssl dgst -sha256 -binary | base64` prints.
        let empty = "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(instance_digest(&Digest::of(b"")).as_deref(), Some(empty));
        assert_eq!(instance_digest(&Digest::Sha512([0; 64])), None);
    }
}
