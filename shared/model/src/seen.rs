//! Texts that callers make up: which of them can be seen, and how they are shown.

use std::{borrow::Cow, fmt};

/// Longest text of a caller that a message shows, in bytes: codes and names that there are, are shorter.
const MAX_SHOWN_BYTES: usize = 64;

/// The beginning of a caller's text as messages show it, in ASCII: a letter that only looks like another, a mark that turns the
/// line around and a character that a terminal takes for an order are seen for what they are.
pub fn escaped(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_SHOWN_BYTES)].escape_default().to_string()
}

/// As [`escaped`], in quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A text with the letters that it has, for who can read them: what begins another line, moves the cursor, turns the text around
/// it or shows nothing is written out.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    let is_raw = |sign: char| sign.is_control() || breaks(sign);
    if !text.contains(is_raw) && hidden(text).is_none() {
        return text.into();
    }
    let mut line = String::with_capacity(text.len() + 8);
    let (mut before, mut rest) = (None, text.chars().peekable());
    while let Some(sign) = rest.next() {
        let is_shown = !is_raw(sign) && is_seen(sign, (before, rest.peek().copied()));
        if is_shown {
            line.push(sign)
        } else {
            line.extend(sign.escape_default())
        }
        before = Some(sign);
    }
    line.into()
}

/// Why a text is none that people can read on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLine {
    /// It has more than so many characters, a control character, or space around it.
    Form(usize),
    /// It has this, which shows nothing.
    Hidden(char),
}

impl fmt::Display for NoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(most) => {
                write!(f, "up to {most} characters, none of them a control character, no space around it")
            }
            Self::Hidden(sign) => {
                write!(f, "only what can be seen: leave U+{:04X} out, which shows nothing", u32::from(*sign))
            }
        }
    }
}

impl std::error::Error for NoLine {}

/// A line of at most so many characters, all of which can be seen: two that look the same are the same.
///
/// # Errors
/// Anything else.
pub fn line(text: &str, most: usize) -> Result<(), NoLine> {
    if text.chars().count() > most || text.chars().any(|c| c.is_control() || breaks(c)) || text.trim() != text {
        return Err(NoLine::Form(most));
    }
    hidden(text).map_or(Ok(()), |sign| Err(NoLine::Hidden(sign)))
}

/// The first of a text that nobody sees, but where a script is not written right without it.
pub fn hidden(text: &str) -> Option<char> {
    let (mut before, mut rest) = (None, text.chars().peekable());
    while let Some(sign) = rest.next() {
        if !is_seen(sign, (before, rest.peek().copied())) {
            return Some(sign);
        }
        before = Some(sign);
    }
    None
}

/// Whether a character shows something, or is needed between those before and after it.
fn is_seen(sign: char, (before, after): (Option<char>, Option<char>)) -> bool {
    let is_needed = match sign {
        '\u{200c}' | '\u{200d}' => before.is_some_and(joins) && after.is_some_and(joins),
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => before.is_some_and(is_ideograph),
        _ => false,
    };
    is_needed || !is_hidden(sign)
}

fn breaks(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Letters and vowel signs of scripts (Arabic to Sinhala, Myanmar, Khmer, Mongolian) whose letters may be joined or kept apart.
fn joins(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{dff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{18af}') && !is_hidden(c)
}

/// A sign of which a variant can be chosen, as in names in Japan.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Shows nothing, or only changes what is around it: Unicode's `Default_Ignorable_Code_Point`, annotations, format controls and
/// blanks of Egyptian writing, the blanks of Braille, of Khitan and of music, and what is no character. Of format characters (Cf)
/// those are not here that have a sign of their own, such as Arabic number signs.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{13430}'..='\u{1343f}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_wrote_is_shown_in_ascii_and_not_at_length() {
        assert_eq!(quoted("mm[Hg]"), "\"mm[Hg]\"");
        assert_eq!(quoted("µmol\u{202e}\n\"к"), "\"\\u{b5}mol\\u{202e}\\n\\\"\\u{43a}\"");
        assert_eq!(quoted(&"é".repeat(4_000)), format!("\"{}\"", "\\u{e9}".repeat(32)));
        assert_eq!(quoted(&format!("x{}", "é".repeat(4_000))).matches("e9").count(), 31, "cut between characters");
        assert_eq!(escaped("\u{202e}ab\u{107}\u{1b}"), "\\u{202e}ab\\u{107}\\u{1b}");
    }

    #[test]
    fn on_a_line_letters_stay_and_what_nobody_sees_is_written_out() {
        let real = ["Zoë: 7 °C, 1/2", "\u{645}\u{62d}\u{645}\u{62f}\u{200c}\u{631}\u{636}\u{627}", "\u{845b}\u{e0100}"];
        for real in real {
            assert!(matches!(on_one_line(real), Cow::Borrowed(line) if line == real), "{real:?}");
        }
        assert_eq!(on_one_line("\u{202e}ab\u{107}\u{1b}[2J\n\u{ad}"), "\\u{202e}ab\u{107}\\u{1b}[2J\\n\\u{ad}");
        assert_eq!(on_one_line("a\u{200d}b\u{2028}\u{feff}"), "a\\u{200d}b\\u{2028}\\u{feff}");
    }

    #[test]
    fn a_line_has_nothing_that_nobody_sees() {
        assert_eq!(line("job 7 of Zo\u{eb}", 16), Ok(()));
        assert_eq!(line("", 16), Ok(()));
        for wrong in [" a", "a\n", "a\u{2028}b", &"a".repeat(17)] {
            assert_eq!(line(wrong, 16), Err(NoLine::Form(16)), "{wrong:?}");
        }
        assert_eq!(line("a\u{202e}b", 16), Err(NoLine::Hidden('\u{202e}')));
        assert!(NoLine::Hidden('\u{ad}').to_string().contains("leave U+00AD out"));
    }
}
