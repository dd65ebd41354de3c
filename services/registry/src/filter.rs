//! The conditions of a list's filter.

use proto::problem;
use tonic::Status;

/// A key, and what is allowed for its value where that is not: a value that nothing can have would find nothing, as if there were
/// nothing.
pub(crate) type Key<'a> = (&'a str, &'a dyn Fn(&str) -> Result<(), String>);

/// Reads `key="value" AND ...`. In quotes a value may have anything, `\"` for a quote and `\\` for a backslash; without them it
/// ends at the next space.
pub(crate) fn read(text: &str, known: &[Key<'_>]) -> Result<Vec<(String, String)>, Status> {
    let bad = || {
        let keys: Vec<_> = known.iter().map(|(key, _)| *key).collect();
        let what = r#"conditions like key="value" joined by AND, in quotes \" for a quote and \\ for a backslash"#;
        problem::invalid("INVALID_FILTER", "filter", format!("{what}; keys are {}", keys.join(", ")))
    };
    let mut conditions = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if !conditions.is_empty() {
            rest = rest.strip_prefix("AND").filter(|rest| rest.starts_with(char::is_whitespace)).ok_or_else(bad)?;
        }
        let (key, after) = rest.split_once('=').ok_or_else(bad)?;
        let (name, allowed) = known.iter().find(|(name, _)| *name == key.trim()).ok_or_else(bad)?;
        let (value, after) = value(after.trim_start()).ok_or_else(bad)?;
        allowed(&value).map_err(|what| problem::invalid("INVALID_FILTER", "filter", format!("{name}: {what}")))?;
        conditions.push(((*name).to_owned(), value));
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return Err(bad());
        }
        rest = after.trim_start();
        // a joint that joins nothing
        if rest.is_empty() || rest == "AND" {
            return if rest.is_empty() { Ok(conditions) } else { Err(bad()) };
        }
    }
    Ok(conditions)
}

/// A value off the begin of a text, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        return (!value.is_empty() && !value.contains(['"', '\\'])).then(|| (value.to_owned(), rest));
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[place + 1..])),
            '\\' => value.push(chars.next().map(|(_, c)| c).filter(|c| matches!(c, '"' | '\\'))?),
            other => value.push(other),
        }
    }
    None
}

/// One of these words, spelled as here.
pub(crate) fn one_of(value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value) { Ok(()) } else { Err(format!("one of {}", words.join(", "))) }
}

#[cfg(test)]
mod tests {

    #[test]
    fn filters_are_read_or_refused() {
        let any = |_: &str| Ok(());
        let flag = |value: &str| super::one_of(value, &["true", "false"]);
        let read = |text| super::read(text, &[("ward", &any), ("role", &any), ("patient", &flag)]).ok();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read("  "), Some(vec![]));
        assert_eq!(read(r#"ward="i c u" AND role = nurse"#), Some(vec![pair("ward", "i c u"), pair("role", "nurse")]));
        assert_eq!(
            read(r#"ward="5\" AND role=\\" AND patient=true"#),
            Some(vec![pair("ward", r#"5" AND role=\"#), pair("patient", "true")])
        );
        for bad in [
            "ward",
            r#"ward="icu"#,
            r#"colour="icu""#,
            r#"ward="a" OR role="b""#,
            r#"ward="a" AND "#,
            r#"ward="a" and role="b""#,
            r#"ward="a"role="b""#,
            r#"ward="a" ANDrole="b""#,
            r#"ward="\n""#,
            "ward=",
            "ward=M 7",
            "patient=True",
            "patient=yes",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
