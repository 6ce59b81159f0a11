use std::collections::BTreeMap;

/// One way to log in that a server offers in WWW-Authenticate (RFC 9110, section 11.6.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Lower-case: `basic`, `bearer`.
    pub(super) scheme: String,
    /// Names are lower-case.
    pub(super) parameters: BTreeMap<String, String>,
}

/// Reads all challenges of one header. What breaks the grammar is left out: the server then gets no
/// login, and says so itself.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|it: char| !is_token(it)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            // Nothing left, or a character that belongs nowhere.
            let mut characters = rest.chars();
            match characters.next() {
                None => return challenges,
                Some(_) => rest = characters.as_str(),
            }
            continue;
        }
        match (after.trim_start().strip_prefix('='), challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = split_value(value.trim_start());
                challenge.parameters.insert(name.to_lowercase(), value);
                rest = after;
            }
            _ => {
                challenges.push(Challenge { scheme: name.to_lowercase(), parameters: BTreeMap::new() });
                rest = after;
            }
        }
    }
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// A token or a quoted string, and what follows it.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        #[track_caller]
        fn check(header: &str, expected: &[(&str, &[(&str, &str)])]) {
            let found = parse(header);
            let found: Vec<(&str, Vec<(&str, &str)>)> = found
                .iter()
                .map(|it| {
                    (
                        it.scheme.as_str(),
                        it.parameters.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect(),
                    )
                })
                .collect();
            let expected: Vec<_> = expected.iter().map(|(scheme, list)| (*scheme, list.to_vec())).collect();
            assert_eq!(found, expected, "{header}");
        }
        check(
            r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a:pull,push""#,
            &[(
                "bearer",
                &[
                    ("realm", "https://auth.example/token"),
                    ("scope", "repository:a:pull,push"),
                    ("service", "registry"),
                ],
            )],
        );
        check(
            r#"Basic realm="a \"b\", c", Bearer realm=x"#,
            &[("basic", &[("realm", r#"a "b", c"#)]), ("bearer", &[("realm", "x")])],
        );
        check("Negotiate", &[("negotiate", &[])]);
        check(r#"BASIC Realm = "x""#, &[("basic", &[("realm", "x")])]);
        check("", &[]);
        check("\"", &[]);
    }

    proptest::proptest! {
        #[test]
        fn any_header_ends(header in "\\PC{0,60}") {
            parse(&header);
        }
    }
}
