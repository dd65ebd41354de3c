//! Folds of a cross-validation in which a group is never on both sides.

use super::Error;
use super::Rows;
use super::random::{Purpose, generator};
use rand::seq::SliceRandom;
use std::collections::HashMap;

/// One split: positions (not row numbers) of the training part and of the held-out part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// What is learnt from.
    pub train: Rows,
    /// What is asked afterwards.
    pub held_out: Rows,
}

/// The group of each row as a number, counted from 0 in the order of their first rows; without groups each row is its
/// own.
pub fn group_numbers(groups: Option<&[String]>, rows: &[usize]) -> Vec<usize> {
    let Some(groups) = groups else { return (0..rows.len()).collect() };
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let number = |row: &usize| {
        let next = numbers.len();
        *numbers.entry(groups[*row].as_str()).or_insert(next)
    };
    rows.iter().map(number).collect()
}

/// Splits positions 0 to n into folds by their groups: groups are shuffled by the seed, and the largest go first, each
/// into the fold that has the fewest rows. Every position is held out exactly once. There must be as many groups as
/// folds.
pub fn folds(groups: &[usize], n_folds: usize, seed: u64) -> Result<Vec<Fold>, Error> {
    let n_groups = groups.iter().max().map_or(0, |greatest| greatest + 1);
    let mut sizes = vec![0_usize; n_groups];
    groups.iter().for_each(|group| sizes[*group] += 1);
    let mut order: Vec<usize> = (0..n_groups).filter(|group| sizes[*group] > 0).collect();
    if order.len() < n_folds {
        return Err(Error::TooFew { what: "groups to hold out", found: order.len(), needed: n_folds });
    }
    order.shuffle(&mut generator(seed, Purpose::Folds, 0));
    order.sort_by_key(|group| std::cmp::Reverse(sizes[*group]));
    let mut fold_of = vec![0; n_groups];
    let mut rows = vec![0_usize; n_folds];
    for group in order {
        let least = (0..n_folds).min_by_key(|fold| rows[*fold]).unwrap_or(0);
        fold_of[group] = least;
        rows[least] += sizes[group];
    }
    let part = |fold: usize, held_out: bool| {
        let in_part = |position: &usize| (fold_of[groups[*position]] == fold) == held_out;
        (0..groups.len()).filter(in_part).collect()
    };
    Ok((0..n_folds).map(|fold| Fold { train: part(fold, false), held_out: part(fold, true) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn too_few_groups_are_refused() {
        assert!(matches!(folds(&[0, 0, 1, 1], 3, 1), Err(Error::TooFew { found: 2, needed: 3, .. })));
    }

    #[test]
    fn rows_without_groups_are_spread_evenly_and_by_seed() {
        let groups = group_numbers(None, &(0..100).collect::<Rows>());
        let one = folds(&groups, 5, 1).expect("folds");
        assert!(one.iter().all(|fold| fold.held_out.len() == 20));
        assert_eq!(one, folds(&groups, 5, 1).expect("folds"));
        assert_ne!(one, folds(&groups, 5, 2).expect("folds"));
    }

    proptest! {
        #[test]
        fn a_group_is_never_on_both_sides(
            names in prop::collection::vec(0..12_u8, 6..120), n_folds in 2..6_usize, seed in any::<u64>(),
        ) {
            let names: Vec<String> = names.iter().map(u8::to_string).collect();
            let rows: Rows = (0..names.len()).collect();
            let groups = group_numbers(Some(&names), &rows);
            let distinct: HashSet<_> = names.iter().collect();
            let found = folds(&groups, n_folds, seed);
            if distinct.len() < n_folds {
                prop_assert!(found.is_err());
                return Ok(());
            }
            let found = found.expect("enough groups");
            let mut held_out = vec![0; names.len()];
            for fold in &found {
                let train: HashSet<_> = fold.train.iter().map(|position| &names[*position]).collect();
                let other: HashSet<_> = fold.held_out.iter().map(|position| &names[*position]).collect();
                prop_assert!(train.is_disjoint(&other));
                prop_assert!(!fold.train.is_empty() && !fold.held_out.is_empty());
                prop_assert_eq!(fold.train.len() + fold.held_out.len(), names.len());
                fold.held_out.iter().for_each(|position| held_out[*position] += 1);
            }
            prop_assert!(held_out.iter().all(|times| *times == 1));
        }
    }
}
