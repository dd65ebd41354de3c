//! Pages of a list: how long, after what, and the token of the next.

use proto::problem;
use std::str::FromStr;
use tonic::Status;
use uuid::Uuid;

/// How many a page were asked for (`page_size`), of default and most.
///
/// # Errors
/// INVALID_ARGUMENT for less than none.
pub fn size(asked: i32, bounds: (usize, usize)) -> Result<usize, Status> {
    within("INVALID_PAGE_SIZE", "page_size", asked, bounds)
}

/// How many were asked for where there are no pages (`limit`), of default and most.
///
/// # Errors
/// As [`size`].
pub fn limit(asked: i32, bounds: (usize, usize)) -> Result<usize, Status> {
    within("INVALID_LIMIT", "limit", asked, bounds)
}

fn within(reason: &str, field: &str, asked: i32, (default, most): (usize, usize)) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(asked) => Ok(asked.min(most)),
        Err(_) => Err(problem::invalid(reason, field, format!("0 (the default) to {most}; more is cut to that"))),
    }
}

/// After which id a page begins; nothing: at the first.
///
/// # Errors
/// INVALID_ARGUMENT for what is no id.
pub fn after<T: FromStr>(token: &str) -> Result<Option<T>, Status> {
    read(token, |token| token.parse().ok())
}

/// The same for what has no type of its own, written as [`model::uuid`] says and no other way.
///
/// # Errors
/// As [`after`].
pub fn after_uuid(token: &str) -> Result<Option<Uuid>, Status> {
    read(token, |token| model::uuid(token).ok())
}

fn read<T>(token: &str, id: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || problem::invalid("INVALID_PAGE_TOKEN", "page_token", "must be the next_page_token of a page before");
    id(token).map(Some).ok_or_else(bad)
}

/// Cuts a page off what `items` gives; the token of the next one is the id of the last, and empty on the last page.
pub fn page<T>(items: impl Iterator<Item = T>, size: usize, id: impl Fn(&T) -> String) -> (Vec<T>, String) {
    let mut items: Vec<T> = items.take(size + 1).collect();
    if items.len() <= size {
        return (items, String::new());
    }
    items.truncate(size);
    let next = items.last().map(id).unwrap_or_default();
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end() {
        let cut = |size| page(1..=4, size, ToString::to_string);
        assert_eq!(cut(3), (vec![1, 2, 3], "3".to_owned()));
        assert_eq!(cut(4), (vec![1, 2, 3, 4], String::new()));
    }

    #[test]
    fn a_token_that_is_an_id_is_written_in_one_way() {
        let written = "0191c3c8-7a00-7000-8000-00000000abcd";
        assert_eq!(after_uuid(written).unwrap().map(|id| id.to_string()).as_deref(), Some(written));
        assert_eq!(after_uuid("").unwrap(), None);
        let bare = written.replace('-', "");
        let nil = Uuid::nil().to_string();
        for other in [format!("{{{written}}}"), format!("urn:uuid:{written}"), bare, nil, "x".to_owned()] {
            assert!(after_uuid(&other).is_err(), "{other}");
        }
    }
}
