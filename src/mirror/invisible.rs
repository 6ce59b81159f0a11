/// Characters that take no room or turn the direction of writing: with them, two names look like one, or a
/// line of a table like another. Unicode 16, section 23.2 and the general categories Cf, Zl and Zp.
const INVISIBLE: [(char, char); 12] = [
    ('\u{ad}', '\u{ad}'),       // soft hyphen
    ('\u{34f}', '\u{34f}'),     // combining grapheme joiner
    ('\u{61c}', '\u{61c}'),     // Arabic letter mark
    ('\u{115f}', '\u{1160}'),   // Hangul fillers
    ('\u{180b}', '\u{180f}'),   // Mongolian selectors and separator
    ('\u{200b}', '\u{200f}'),   // zero width, and marks of direction
    ('\u{2028}', '\u{202e}'),   // separators of lines, and overrides of direction
    ('\u{2060}', '\u{206f}'),   // word joiner, isolates of direction
    ('\u{3164}', '\u{3164}'),   // Hangul filler
    ('\u{feff}', '\u{feff}'),   // byte order mark
    ('\u{fff9}', '\u{fffb}'),   // interlinear annotation
    ('\u{e0000}', '\u{e0fff}'), // tags
];

/// Is this a control character, or one that nobody sees? Names must not hold them.
pub fn is_invisible(character: char) -> bool {
    character.is_control() || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_told_from_letters() {
        for character in "\0\n\u{7f}\u{200b}\u{200e}\u{202e}\u{2066}\u{2069}\u{feff}\u{ad}\u{e0041}".chars() {
            assert!(is_invisible(character), "{character:?}");
        }
        for character in "a é ß 山 ע ا 😀 -.".chars() {
            assert!(!is_invisible(character), "{character:?}");
        }
    }
}
