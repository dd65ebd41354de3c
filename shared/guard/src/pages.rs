//! Pages of a list: how long, how large, after what, and the token of the next.

use proto::problem;
use std::str::FromStr;
use tonic::Status;
use uuid::Uuid;

/// Most bytes of a page's items: with the rest of the answer they fit into the 4 MiB that gRPC's clients take when they are not told
/// otherwise.
const ITEMS_BYTES: usize = 3 << 20;

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

/// Cuts a page off what `items` gives, of at most `size` and as far as there is [`Room`] for `n_bytes` of each; the token of the
/// next one is the id of the last, and empty on the last page.
pub fn page<T>(
    items: impl Iterator<Item = T>,
    size: usize,
    n_bytes: impl Fn(&T) -> usize,
    id: impl Fn(&T) -> String,
) -> (Vec<T>, String) {
    let (mut page, mut room) = (Vec::new(), Room::default());
    for item in items {
        if page.len() >= size || !room.takes(n_bytes(&item)) {
            let next = page.last().map(id).unwrap_or_default();
            return (page, next);
        }
        page.push(item);
    }
    (page, String::new())
}

/// What a page has room for, in bytes: for lists whose items show how large they are only when they are read.
pub struct Room {
    left: usize,
    is_empty: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: ITEMS_BYTES, is_empty: true }
    }
}

impl Room {
    /// Whether one more item of so many bytes, encoded, goes into the page; the first one always does, or no page would follow.
    pub fn takes(&mut self, n_bytes: usize) -> bool {
        if n_bytes > self.left && !self.is_empty {
            return false;
        }
        self.left = self.left.saturating_sub(n_bytes);
        self.is_empty = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end() {
        let cut = |size| page(1..=4, size, |_| 1, ToString::to_string);
        assert_eq!(cut(3), (vec![1, 2, 3], "3".to_owned()));
        assert_eq!(cut(4), (vec![1, 2, 3, 4], String::new()));
    }

    #[test]
    fn a_page_ends_where_its_items_would_be_too_large_and_goes_on_behind_the_last() {
        const MIB: usize = 1 << 20;
        let sizes = [MIB, 2 * MIB, 1, 9 * MIB, MIB, MIB, MIB];
        let (mut pages, mut after) = (Vec::new(), 0);
        loop {
            let left = sizes.iter().copied().enumerate().skip(after);
            let (page, next) = page(left, 100, |(_, n_bytes)| *n_bytes, |(place, _)| (place + 1).to_string());
            pages.push(page.into_iter().map(|(place, _)| place).collect::<Vec<_>>());
            match next.parse::<usize>() {
                Ok(next) => after = next,
                Err(_) => break,
            }
        }
        assert_eq!(pages, [vec![0, 1], vec![2], vec![3], vec![4, 5, 6]], "one that is larger than a page is alone");
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
