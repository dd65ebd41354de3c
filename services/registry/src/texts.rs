//! What a text may be: names and other lines, and reasons of several lines. Nothing is in them that nobody sees: two names that
//! look the same are the same, no text turns those around it, and a reason is one.

use model::NoLine;
use proto::problem;
use tonic::Status;

/// A line of text of at most so many characters.
pub(crate) fn line(field: &str, text: &str, most: usize) -> Result<(), Status> {
    model::line(text, most).map_err(|wrong| bad(field, wrong.to_string()))
}

/// The same, and it must not be empty.
pub(crate) fn name(field: &str, text: &str, most: usize) -> Result<(), Status> {
    if text.is_empty() {
        return Err(bad(field, format!("1 to {most} characters")));
    }
    line(field, text, most)
}

/// A reason in words, on one line or several: so many characters, of which spaces and line breaks in a row count as one.
pub(crate) fn reason(field: &str, text: &str, least: usize, most: usize) -> Result<(), Status> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let words: Vec<_> = text.split_whitespace().collect();
    let n_seen = words.iter().map(|word| word.chars().count() + 1).sum::<usize>().saturating_sub(1);
    if text.chars().count() > most || n_seen < least || text.chars().any(is_control) {
        let allowed = format!("{least} to {most} characters for others to read, on one line or several");
        return Err(bad(field, allowed));
    }
    model::hidden(text).map_or(Ok(()), |sign| Err(bad(field, NoLine::Hidden(sign).to_string())))
}

fn bad(field: &str, allowed: String) -> Status {
    problem::invalid("INVALID_FIELD", field, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_nothing_that_nobody_sees_and_all_that_real_ones_need() {
        let real = [
            "",
            "Ada Okafor",
            "Zoë O'Neil-Łukasz",
            "Siân \u{2013} ward 7",
            // ZWNJ in Persian, ZWJ in Sinhala, a chosen variant in Japanese
            "\u{645}\u{62d}\u{645}\u{62f}\u{200c}\u{631}\u{636}\u{627}",
            "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
            "\u{845b}\u{e0100}\u{57ce}",
        ];
        for real in real {
            assert!(line("name", real, 200).is_ok(), "{real:?}");
        }
        let bad = [
            " Ada",
            "A\nB",
            "A\u{2028}B",
            "A\u{200b}da",
            "\u{202e}adA",
            "A\u{2066}B",
            "\u{feff}Ada",
            "Ada\u{ad}",
            "A\u{200d}da",
            "\u{645}\u{200c}",
            "A\u{fe0f}",
            "\u{3164}",
            "\u{2800}",
            "A\u{e0041}",
            "A\u{13430}B",
            "A\u{1343f}B",
            "\u{13441}",
            "\u{1d159}",
            "A\u{16fe4}da",
        ];
        for bad in bad {
            assert!(line("name", bad, 200).is_err(), "{bad:?}");
        }
        assert!(name("name", "", 9).is_err() && line("name", "0123456789", 9).is_err());
    }

    #[test]
    fn what_shows_nothing_is_named_by_its_number() {
        // Unicode 16, DerivedCoreProperties.txt: Default_Ignorable_Code_Point
        let ignorable = [
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x61c, 0x61c),
            (0x115f, 0x1160),
            (0x17b4, 0x17b5),
            (0x180b, 0x180f),
            (0x200b, 0x200f),
            (0x202a, 0x202e),
            (0x2060, 0x206f),
            (0x3164, 0x3164),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xffa0, 0xffa0),
            (0xfff0, 0xfff8),
            (0x1bca0, 0x1bca3),
            (0x1d173, 0x1d17a),
            (0xe0000, 0xe0fff),
        ];
        let blank = [0x2800, 0x13441, 0x13442, 0x16fe4, 0x1d159].map(|code| (code, code));
        for code in ignorable.into_iter().chain(blank).flat_map(|(first, last)| first..=last) {
            let hidden = char::from_u32(code).unwrap();
            assert_eq!(model::hidden(&hidden.to_string()), Some(hidden), "U+{code:04X}");
            let refused = reason("text", &hidden.to_string().repeat(12), 10, 500).unwrap_err();
            assert!(refused.message().contains(&format!("U+{code:04X}")), "{}", refused.message());
        }
    }

    #[test]
    fn a_reason_can_be_read_and_may_have_several_lines() {
        for good in [
            "no pulse, alone on the ward",
            "no pulse,\nalone on the ward\r\n",
            "help now!!",
            "\u{645}\u{631}\u{6cc}\u{636} \u{628}\u{6cc}\u{647}\u{648}\u{634}",
        ] {
            assert!(reason("text", good, 10, 500).is_ok(), "{good:?}");
        }
        let unseen = ["\u{200b}".repeat(20), "\u{2060}\u{feff}".repeat(10), "\u{3164}".repeat(12), "\n".repeat(12)];
        for bad in unseen.iter().map(String::as_str).chain(["a         b", "short", "no pulse \u{0} alone on the ward"])
        {
            assert!(reason("text", bad, 10, 500).is_err(), "{bad:?}");
        }
        assert!(reason("text", "", 0, 500).is_ok() && reason("text", &"a".repeat(501), 0, 500).is_err());
    }
}
