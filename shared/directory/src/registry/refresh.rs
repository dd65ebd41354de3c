//! What a device comes back with after its token has ended: refresh tokens, each good for one use that gives the next.
//!
//! An answer can be lost on its way. So the token that was shown last stays good until the one that was given for it is shown:
//! a device that got no answer asks again with what it has. A token from before that has been copied by somebody, or the device
//! lost its memory: it opens nothing, and whoever sees it ends all that the device has (RFC 9700, 4.14.2).

use super::Hashed;
use serde::{Deserialize, Serialize};

/// Tokens that are remembered after they were used up. Older ones are refused, as any other text is.
const SPENT_MAX: usize = 16;

/// A device's refresh tokens, as hashes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// Given last; the device has not shown it yet.
    given: Hashed,
    /// What the device showed last. Good until `given` is shown: the answer with that may have been lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<Hashed>,
    /// Those before, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent: Vec<Hashed>,
}

/// Why a refresh token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The device never had it, or so long ago that it is forgotten.
    Unknown,
    /// It was used up: somebody has copied it.
    Spent,
}

impl Refresh {
    /// Of the first token of a device.
    pub fn first(given: &str) -> Self {
        Self { given: Hashed::of(given), shown: None, spent: Vec::new() }
    }

    /// A new one is given for the token that the device shows.
    pub fn next(&self, shown: &str, given: &str) -> Result<Self, Unusable> {
        let mut next = self.clone();
        if self.given.is(shown) {
            next.spent.extend(next.shown.replace(self.given.clone()));
        } else if !self.shown.as_ref().is_some_and(|last| last.is(shown)) {
            let is_spent = self.spent.iter().any(|spent| spent.is(shown));
            return Err(if is_spent { Unusable::Spent } else { Unusable::Unknown });
        } else {
            // the answer with it was lost, or went to somebody else
            next.spent.push(self.given.clone());
        }
        next.given = Hashed::of(given);
        next.spent.drain(..next.spent.len().saturating_sub(SPENT_MAX));
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_serves_once_and_the_last_again_while_its_answer_may_be_lost() {
        let first = Refresh::first("a");
        let second = first.next("a", "b").unwrap();
        // the answer with "b" was lost, and the next one, too
        let third = second.next("a", "c").unwrap().next("a", "d").unwrap();
        let fourth = third.next("d", "e").unwrap();
        for spent in ["a", "b", "c"] {
            assert_eq!(fourth.next(spent, "f").err(), Some(Unusable::Spent), "{spent}");
        }
        assert_eq!(fourth.next("x", "f").err(), Some(Unusable::Unknown));
        assert_eq!(fourth.next("", "f").err(), Some(Unusable::Unknown));
        assert!(fourth.next("d", "f").is_ok() && fourth.next("e", "f").is_ok());
    }

    #[test]
    fn who_copied_one_and_used_it_first_is_found_by_the_device() {
        let stolen = Refresh::first("a").next("a", "thief's").unwrap();
        let stolen = stolen.next("thief's", "thief's second").unwrap();
        assert_eq!(stolen.next("a", "b").err(), Some(Unusable::Spent));
        // or the device was first again: then it is the thief who shows what is spent
        let fetched = Refresh::first("a").next("a", "thief's").unwrap().next("a", "b").unwrap();
        assert_eq!(fetched.next("thief's", "c").err(), Some(Unusable::Spent));
    }

    #[test]
    fn it_is_kept_as_hashes_and_does_not_grow() {
        let mut refresh = Refresh::first("secret 0");
        for n in 0..100 {
            refresh = refresh.next(&format!("secret {n}"), &format!("secret {}", n + 1)).unwrap();
        }
        let text = serde_json::to_string(&refresh).unwrap();
        assert!(!text.contains("secret") && text.len() < 1_500, "{} bytes", text.len());
        assert_eq!(refresh.next("secret 3", "x").err(), Some(Unusable::Unknown));
        assert_eq!(refresh.next("secret 98", "x").err(), Some(Unusable::Spent));
        assert!(serde_json::from_str::<Refresh>(&text).unwrap() == refresh);
    }
}
