//! Lists that have the newest first.

use std::{cmp::Reverse, fmt, str::FromStr};
use uuid::Uuid;

/// Page of a list that came whole before there were pages: default and most.
pub(crate) const PAGE: (usize, usize) = (1_000, 1_000);

/// Where something is in such a list. It stays there, whatever becomes of it while somebody reads the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListPosition {
    /// When it began, or the number of the change that made it.
    pub(crate) at: i64,
    /// Of several at once the one with the greater id comes first.
    pub(crate) id: Uuid,
}

impl fmt::Display for ListPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id)
    }
}

impl FromStr for ListPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        Ok(Self { at: at.parse().map_err(|_| ())?, id: model::uuid(id).map_err(|_| ())? })
    }
}

/// What comes after a place, newest first.
pub(crate) fn newest_first<T>(
    items: impl Iterator<Item = T>,
    place: impl Fn(&T) -> ListPosition,
    after: Option<ListPosition>,
) -> impl Iterator<Item = T> {
    let mut items: Vec<T> = items.filter(|item| after.is_none_or(|after| place(item) < after)).collect();
    items.sort_by_cached_key(|item| Reverse(place(item)));
    items.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard::pages::{after, page};

    #[test]
    fn pages_join_newest_first_also_of_one_instant() {
        let place = |item: &(i64, u128)| ListPosition { at: item.0, id: Uuid::from_u128(item.1) };
        let all = [(5, 1), (-7, 2), (5, 3), (9, 4), (i64::MIN, 5)];
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let from = after::<ListPosition>(&token).unwrap();
            let (some, next) =
                page(newest_first(all.into_iter(), place, from), 2, |_| 0, |item| place(item).to_string());
            seen.extend(some);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, [(9, 4), (5, 3), (5, 1), (-7, 2), (i64::MIN, 5)]);
        for bad in ["x", "1", "1.x", "9223372036854775808.00000000-0000-4000-8000-000000000001"] {
            assert!(after::<ListPosition>(bad).is_err(), "{bad}");
        }
    }
}
