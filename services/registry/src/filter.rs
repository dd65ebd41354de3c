//! The conditions of a list's filter.

use proto::problem;
use tonic::Status;

/// Reads `key="value" AND ...`; each key is one of `known`. Values without quotes are taken, too.
pub(crate) fn read<'a>(text: &'a str, known: &[&str]) -> Result<Vec<(&'a str, &'a str)>, Status> {
    let bad = || {
        let text = format!("conditions like key=\"value\" joined by AND; keys are {}", known.join(", "));
        problem::invalid("INVALID_FILTER", "filter", text)
    };
    let condition = |text: &'a str| {
        let (key, value) = text.split_once('=').ok_or_else(bad)?;
        let (key, value) = (key.trim(), value.trim());
        let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"')).ok_or_else(bad)?;
        if known.contains(&key) && !value.contains('"') { Ok((key, value)) } else { Err(bad()) }
    };
    match text.trim() {
        "" => Ok(Vec::new()),
        text => text.split(" AND ").map(condition).collect(),
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn filters_are_read_or_refused() {
        let read = |text| super::read(text, &["ward", "role"]).ok();
        assert_eq!(read("  "), Some(vec![]));
        assert_eq!(read(r#"ward="i c u" AND role = nurse"#), Some(vec![("ward", "i c u"), ("role", "nurse")]));
        for bad in ["ward", r#"ward="icu"#, r#"door="icu""#, r#"ward="a" OR role="b""#, r#"ward="a" AND "#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
