//! Pages of a list, and the conditions of a filter.

use proto::problem;
use tonic::Status;

const PAGE: (usize, usize) = (100, 1_000);

/// How many of a list were asked for.
pub(crate) fn size(asked: i32) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE.0),
        Ok(asked) => Ok(asked.min(PAGE.1)),
        Err(_) => Err(problem::invalid("INVALID_PAGE_SIZE", "page_size", format!("0 (the default) to {}", PAGE.1))),
    }
}

/// After which id a page begins.
pub(crate) fn after<T: std::str::FromStr>(token: &str) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = |_| problem::invalid("INVALID_PAGE_TOKEN", "page_token", "must be the next_page_token of a page before");
    token.parse().map(Some).map_err(bad)
}

/// Cuts a page off what `items` gives; the token of the next one is the id of the last.
pub(crate) fn page<T>(items: impl Iterator<Item = T>, size: usize, id: impl Fn(&T) -> String) -> (Vec<T>, String) {
    let mut items: Vec<T> = items.take(size + 1).collect();
    if items.len() <= size {
        return (items, String::new());
    }
    items.truncate(size);
    let next = items.last().map(id).unwrap_or_default();
    (items, next)
}

/// Reads `key="value" AND ...`; each key is one of `known`. Values without quotes are taken, too.
pub(crate) fn filter<'a>(text: &'a str, known: &[&str]) -> Result<Vec<(&'a str, &'a str)>, Status> {
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
    use super::*;

    #[test]
    fn filters_are_read_or_refused() {
        let read = |text| filter(text, &["ward", "role"]).ok();
        assert_eq!(read("  "), Some(vec![]));
        assert_eq!(read(r#"ward="i c u" AND role = nurse"#), Some(vec![("ward", "i c u"), ("role", "nurse")]));
        for bad in ["ward", r#"ward="icu"#, r#"door="icu""#, r#"ward="a" OR role="b""#, r#"ward="a" AND "#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn pages_end() {
        let cut = |size| page(1..=4, size, ToString::to_string);
        assert_eq!(cut(3), (vec![1, 2, 3], "3".to_owned()));
        assert_eq!(cut(4), (vec![1, 2, 3, 4], String::new()));
    }
}
