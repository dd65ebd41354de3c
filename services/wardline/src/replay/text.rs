//! Values as people and devices write them: numbers, what stands behind them, and on which side of them a value lies.

use model::Comparator;

/// Number and text of one value may differ by this part when the recording rounded one of them to 32 bits.
const ROUNDING: f64 = 1e-4;

/// The longer signs first.
const SIGNS: [(&str, Comparator); 6] = [
    ("<=", Comparator::LessOrEqual),
    ("\u{2264}", Comparator::LessOrEqual),
    (">=", Comparator::GreaterOrEqual),
    ("\u{2265}", Comparator::GreaterOrEqual),
    ("<", Comparator::Less),
    (">", Comparator::Greater),
];

/// Words that say the same before a number, alone or with "than", "or equal to".
const WORDS: [(&str, Comparator); 16] = [
    ("greater", Comparator::Greater),
    ("higher", Comparator::Greater),
    ("more", Comparator::Greater),
    ("over", Comparator::Greater),
    ("above", Comparator::Greater),
    ("beyond", Comparator::Greater),
    ("exceeds", Comparator::Greater),
    ("exceeding", Comparator::Greater),
    ("at least", Comparator::GreaterOrEqual),
    ("less", Comparator::Less),
    ("lower", Comparator::Less),
    ("fewer", Comparator::Less),
    ("under", Comparator::Less),
    ("below", Comparator::Less),
    ("at most", Comparator::LessOrEqual),
    ("up to", Comparator::LessOrEqual),
];

/// The same in short, right before a number: `Lt arm` is the left one. Not `max` and `min`, which name the ends of a time, too.
const SHORT: [(&str, Comparator); 4] = [
    ("gt", Comparator::Greater),
    ("gte", Comparator::GreaterOrEqual),
    ("lt", Comparator::Less),
    ("lte", Comparator::LessOrEqual),
];

/// On which side of a number a text says that the value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side<'a> {
    /// It says nothing of it.
    Neither,
    /// `> 500 mg/dL`, `over 500`, `500+`: with what begins with the number.
    Of(Comparator, &'a str),
    /// `LO`, `Critical High`: below or above what the device can measure, without saying what that is.
    Beyond(Comparator),
    /// It says something of it, and what that is cannot be told.
    Unclear,
}

/// What a text that is no plain number says of a side.
pub fn side(text: &str) -> Side<'_> {
    if let Some((comparator, rest)) = SIGNS.iter().find_map(|(sign, is)| Some((*is, text.strip_prefix(sign)?))) {
        return if begins_a_number(rest) { Side::Of(comparator, rest) } else { Side::Unclear };
    }
    if SIGNS.iter().any(|(sign, _)| text.contains(sign)) {
        // a score's number comes before its words, which may have signs of their own
        return if begins_a_number(text) { Side::Neither } else { Side::Unclear };
    }
    let has_digits = text.contains(|c: char| c.is_ascii_digit());
    if has_digits && begins_a_number(text) {
        return side_behind(text);
    }
    if let Some((comparator, rest)) = in_words(text) {
        return if begins_a_number(rest) { Side::Of(comparator, rest) } else { Side::Unclear };
    }
    if has_digits {
        // `not over 500`
        let mut words =
            text.match_indices(|c: char| !c.is_ascii_alphabetic()).map(|(at, between)| &text[at + between.len()..]);
        return if words.any(|rest| in_words(rest).is_some()) { Side::Unclear } else { side_before(text) };
    }
    flagged(text)
}

/// What a text says of what the device cannot measure, in words of its own.
fn flagged(text: &str) -> Side<'_> {
    let is_any = |words: [&str; 2]| runs(text).any(|word| is_one_of(word, &words));
    match (is_any(["lo", "low"]), is_any(["hi", "high"])) {
        (true, false) => Side::Beyond(Comparator::Less),
        (false, true) => Side::Beyond(Comparator::Greater),
        (true, true) => Side::Unclear,
        (false, false) => Side::Neither,
    }
}

/// The runs of letters in a text.
fn runs(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|run| !run.is_empty())
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one))
}

/// What a text says with the words before its number: `CRITICAL HIGH 600`. Other words beside these may say anything of it.
fn side_before(text: &str) -> Side<'_> {
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (said, number) = text.split_at(start);
    let is_plain = said.ends_with(|c: char| c.is_whitespace() || c == ':')
        && runs(said).all(|word| is_one_of(word, &["critical", "very", "lo", "low", "hi", "high"]))
        && number.split_whitespace().count() <= 2;
    match (flagged(said), flagged(text)) {
        (_, Side::Neither) => Side::Neither,
        (Side::Beyond(comparator), Side::Beyond(_)) if is_plain => Side::Of(comparator, number),
        _ => Side::Unclear,
    }
}

/// Whether `HI` or the like stands behind a number and perhaps its unit: above what can be measured, or above what is normal.
fn is_flagged_behind(text: &str) -> bool {
    let n_words = text.split_whitespace().filter(|word| !is_one_of(word, &["critical"])).count();
    let is_last = runs(text).next_back().is_some_and(|word| is_one_of(word, &["low", "high"]));
    n_words <= 3 && (is_last || runs(text).any(|word| is_one_of(word, &["lo", "hi"])))
}

fn begins_a_number(text: &str) -> bool {
    text.trim_start().starts_with(|c: char| c.is_ascii_digit() || ".+-".contains(c))
}

/// What a text that begins with a number says behind it: `500+`, `500 plus`, `20 mg/dL or less`. More than a unit between them
/// are the words of a score.
fn side_behind(text: &str) -> Side<'_> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !".,".contains(c)).unwrap_or(text.len());
    let (number, behind) = text.split_at(end);
    if let Some(unit) = plus(behind)
        && number.starts_with(|c: char| c.is_ascii_digit())
        && unit.split_whitespace().count() <= 1
        && !begins_a_number(unit)
    {
        return Side::Of(Comparator::GreaterOrEqual, text);
    }
    if is_flagged_behind(text) {
        return Side::Unclear;
    }
    let Some((before, word)) = text.trim_end().rsplit_once(char::is_whitespace) else { return Side::Neither };
    let has_room = |before: &str| before.split_whitespace().count() <= 2;
    if is_one_of(word, &["plus"]) && has_room(before) {
        return Side::Of(Comparator::GreaterOrEqual, before);
    }
    let Some((before, or)) = before.trim_end().rsplit_once(char::is_whitespace) else { return Side::Neither };
    let comparator = match in_words(word) {
        Some((comparator, "")) => or_equal(comparator),
        None if is_one_of(word, &["up", "upward", "upwards"]) => Comparator::GreaterOrEqual,
        _ => return Side::Neither,
    };
    if is_one_of(or, &["or", "and"]) && has_room(before) { Side::Of(comparator, before) } else { Side::Neither }
}

/// What follows a plus that stands behind a number, as a sign or a word.
fn plus(behind: &str) -> Option<&str> {
    let behind = behind.trim_start();
    behind.strip_prefix('+').or_else(|| after(behind, "plus"))
}

/// What a text says in the words that it begins with, and what follows them.
fn in_words(text: &str) -> Option<(Comparator, &str)> {
    let long = || WORDS.iter().find_map(|(words, is)| Some((*is, words.split(' ').try_fold(text, after)?)));
    let is_number = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let short = || SHORT.iter().find_map(|(word, is)| Some((*is, after(text, word).filter(is_number)?)));
    let (comparator, rest) = long().or_else(short)?;
    let rest = after(rest, "than").unwrap_or(rest);
    Some(match after(rest, "or").and_then(|rest| after(rest, "equal")) {
        Some(rest) => (or_equal(comparator), after(rest, "to").unwrap_or(rest)),
        None => (comparator, rest),
    })
}

/// What follows a word that a text begins with.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let ends = !rest.starts_with(char::is_alphabetic);
    (ends && first.eq_ignore_ascii_case(word)).then(|| rest.trim_start())
}

fn or_equal(comparator: Comparator) -> Comparator {
    match comparator {
        Comparator::Less | Comparator::LessOrEqual => Comparator::LessOrEqual,
        Comparator::GreaterOrEqual | Comparator::Greater => Comparator::GreaterOrEqual,
    }
}

/// The finite number that a text is.
pub fn parse(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// The number that a text begins with, and what stands behind it; a plus behind it is no part of either.
pub fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    if let Some(number) = parse(text) {
        return Some((number, ""));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && !".+-".contains(c)).unwrap_or(text.len());
    let (number, behind) = text.split_at(end);
    let number = number.strip_suffix('+').unwrap_or(number);
    // 1,000 is not 1, and 0,5 is not 0
    if behind.starts_with(',') { None } else { Some((parse(number)?, plus(behind).unwrap_or(behind).trim())) }
}

/// Whether two numbers are the same but for rounding.
pub fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * b.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_where_its_unit_begins() {
        assert_eq!(leading(" 500 mg/dL "), Some((500.0, "mg/dL")));
        assert_eq!(leading("70%"), Some((70.0, "%")));
        assert_eq!(leading("-1.5e1"), Some((-15.0, "")));
        assert_eq!([leading("500+"), leading("500+ mg/dL")], [Some((500.0, "")), Some((500.0, "mg/dL"))]);
        for text in ["500 +", "500 plus"] {
            assert_eq!(leading(text), Some((500.0, "")), "{text}");
        }
        for text in ["500 + mg/dL", "500 plus mg/dL"] {
            assert_eq!(leading(text), Some((500.0, "mg/dL")), "{text}");
        }
        for text in ["1,000 mg/dL", "0,5", "40-60", "", "mg/dL", "."] {
            assert_eq!(leading(text), None, "{text}");
        }
    }

    #[test]
    fn a_side_is_told_in_words_too() {
        for (text, comparator, rest) in [
            ("greater than 500", Comparator::Greater, "500"),
            ("More than 500 mg/dL", Comparator::Greater, "500 mg/dL"),
            ("Greater than or equal to 500", Comparator::GreaterOrEqual, "500"),
            ("over 600", Comparator::Greater, "600"),
            ("ABOVE 1,000", Comparator::Greater, "1,000"),
            ("exceeds 500", Comparator::Greater, "500"),
            ("Exceeding 500", Comparator::Greater, "500"),
            ("beyond 500", Comparator::Greater, "500"),
            ("HI 500", Comparator::Greater, "500"),
            ("LO: 20 mg/dL", Comparator::Less, "20 mg/dL"),
            ("CRITICAL HIGH 600", Comparator::Greater, "600"),
            ("at least 9", Comparator::GreaterOrEqual, "9"),
            ("BELOW 20", Comparator::Less, "20"),
            ("Less than 20", Comparator::Less, "20"),
            ("under .5", Comparator::Less, ".5"),
            ("At  most 5", Comparator::LessOrEqual, "5"),
            ("up to 5", Comparator::LessOrEqual, "5"),
            ("500+", Comparator::GreaterOrEqual, "500+"),
            ("1,000+ mg/dL", Comparator::GreaterOrEqual, "1,000+ mg/dL"),
            ("20 mg/dL or less", Comparator::LessOrEqual, "20 mg/dL"),
            ("500 and above", Comparator::GreaterOrEqual, "500"),
            ("500 +", Comparator::GreaterOrEqual, "500 +"),
            ("500 + mg/dL", Comparator::GreaterOrEqual, "500 + mg/dL"),
            ("500 plus", Comparator::GreaterOrEqual, "500 plus"),
            ("500 mg/dL plus", Comparator::GreaterOrEqual, "500 mg/dL"),
            ("500 and up", Comparator::GreaterOrEqual, "500"),
            ("gt 500", Comparator::Greater, "500"),
            ("GT500 mg/dL", Comparator::Greater, "500 mg/dL"),
            ("gte 9", Comparator::GreaterOrEqual, "9"),
            ("LT 40", Comparator::Less, "40"),
            ("lte .5", Comparator::LessOrEqual, ".5"),
        ] {
            assert_eq!(side(text), Side::Of(comparator, rest), "{text}");
        }
        for text in
            ["not gt 500", "not over 500", "no more than 500", "reads over 600", "over range", "greater than >500"]
        {
            assert_eq!(side(text), Side::Unclear, "{text}");
        }
        for text in [
            "500 HI",
            "500HI",
            "20 mg/dL (low)",
            "500 HI mg/dL",
            "500 mg/dL CRITICAL HIGH",
            "not HI 500",
            "HI at 8",
            "HI -5",
            "HI 500 LO",
        ] {
            assert_eq!(side(text), Side::Unclear, "{text}");
        }
        for text in [
            "4 Spontaneously",
            "4 High pitched cry",
            "1 + 1",
            "2 Opens eyes and looks up",
            "5 Localizes Pain",
            "1+1",
            "-5 Awakens no more",
            "4 Alert, obeys and more",
            "Moreover 5",
            "Lt arm 5",
            "GT-tube 30",
        ] {
            assert_eq!(side(text), Side::Neither, "{text}");
        }
    }

    #[test]
    fn a_side_is_told_by_a_sign_before_a_number_or_by_a_word_without_one() {
        assert_eq!(side(">= 9 %"), Side::Of(Comparator::GreaterOrEqual, " 9 %"));
        for (text, comparator) in [
            ("LO", Comparator::Less),
            ("Critical-Low", Comparator::Less),
            ("CRITICAL HI", Comparator::Greater),
            ("reads high", Comparator::Greater),
            ("- low -", Comparator::Less),
        ] {
            assert_eq!(side(text), Side::Beyond(comparator), "{text}");
        }
        for text in ["=<70", "HI >600", "> = 5", "<", "high to low"] {
            assert_eq!(side(text), Side::Unclear, "{text}");
        }
        for text in ["500 mg/dL", "-1 Awakens to voice (contact) > 10 sec", "Slow", "Localizes Pain", ""] {
            assert_eq!(side(text), Side::Neither, "{text}");
        }
    }
}
