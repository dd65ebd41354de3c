//! Why a reading is refused, and how what a device wrote is shown in that.

/// Longest text of a device that is shown, in bytes; the catalogue's codes are shorter.
const MAX_SHOWN_BYTES: usize = 64;

/// Field (empty: the reading as a whole), reason, description.
pub(crate) struct Fault(pub(crate) &'static str, pub(crate) &'static str, pub(crate) String);

impl Fault {
    pub(crate) fn new(field: &'static str, reason: &'static str, description: impl Into<String>) -> Self {
        Self(field, reason, description.into())
    }
}

/// A device's text in quotes, its beginning at least, in ASCII: a letter that only looks like another, a mark that turns the
/// line around and a character that a terminal takes for an order are seen for what they are.
pub(crate) fn quoted(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)];
    format!("\"{}\"", shown.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_wrote_is_shown_in_ascii_and_not_at_length() {
        assert_eq!(quoted("mm[Hg]"), "\"mm[Hg]\"");
        assert_eq!(quoted("µmol\u{202e}\n\"к"), "\"\\u{b5}mol\\u{202e}\\n\\\"\\u{43a}\"");
        assert_eq!(quoted(&"é".repeat(4_000)), format!("\"{}\"", "\\u{e9}".repeat(32)));
        assert_eq!(quoted(&format!("x{}", "é".repeat(4_000))).matches("e9").count(), 31, "cut between characters");
    }
}
