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

/// On which side of a number a text says that the value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side<'a> {
    /// It says nothing of it.
    Neither,
    /// `> 500 mg/dL`: with what follows the sign, which begins with a number.
    Of(Comparator, &'a str),
    /// `LO`, `Critical High`: below or above what the device can measure, without saying what that is.
    Beyond(Comparator),
    /// It says something of it, and what that is cannot be told.
    Unclear,
}

/// What a text that is no plain number says of a side.
pub fn side(text: &str) -> Side<'_> {
    let begins_a_number = |rest: &str| rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || ".+-".contains(c));
    if let Some((comparator, rest)) = SIGNS.iter().find_map(|(sign, is)| Some((*is, text.strip_prefix(sign)?))) {
        return if begins_a_number(rest) { Side::Of(comparator, rest) } else { Side::Unclear };
    }
    if SIGNS.iter().any(|(sign, _)| text.contains(sign)) {
        // a score's number comes before its words, which may have signs of their own
        return if begins_a_number(text) { Side::Neither } else { Side::Unclear };
    }
    if text.contains(|c: char| c.is_ascii_digit()) {
        return Side::Neither;
    }
    let is_any = |words: [&str; 2]| {
        let mut all = text.split(|c: char| !c.is_ascii_alphabetic());
        all.any(|word| words.iter().any(|one| word.eq_ignore_ascii_case(one)))
    };
    match (is_any(["lo", "low"]), is_any(["hi", "high"])) {
        (true, false) => Side::Beyond(Comparator::Less),
        (false, true) => Side::Beyond(Comparator::Greater),
        (true, true) => Side::Unclear,
        (false, false) => Side::Neither,
    }
}

/// The finite number that a text is.
pub fn parse(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// The number that a text begins with, and what stands behind it.
pub fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    if let Some(number) = parse(text) {
        return Some((number, ""));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && !".+-".contains(c))?;
    let (number, behind) = text.split_at(end);
    // 1,000 is not 1, and 0,5 is not 0
    if behind.starts_with(',') { None } else { Some((parse(number)?, behind.trim())) }
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
        for text in ["1,000 mg/dL", "0,5", "40-60", "", "mg/dL", "."] {
            assert_eq!(leading(text), None, "{text}");
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
