use super::is_invisible;

/// How long a mail address may be, in bytes (RFC 5321, section 4.5.3.1.3).
const LENGTH: usize = 254;

/// Does it look like a mail address that can be printed, listed and handed to a program? Whether it is one, only mail tells.
pub fn is_contact(text: &str) -> bool {
    let plain = !text.contains(|it: char| is_invisible(it) || it.is_whitespace() || ",;<>\"".contains(it));
    let has_parts = text.split_once('@').is_some_and(|(user, at)| {
        !user.is_empty() && !user.starts_with('-') && !at.is_empty() && !at.contains('@')
    });
    plain && has_parts && text.len() <= LENGTH
}
