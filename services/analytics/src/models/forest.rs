//! Random forests.
//!
//! The library grows one tree at a time, each from its own seed: between two trees a training can be stopped and tells
//! how far it is, and what is kept are our own nodes, which do not change with the library's version. Trees grow on the
//! caller's thread (a blocking one): the machine's other cores belong to whoever asks meanwhile.

use super::matrix::Matrix;
use super::pipeline::Growth;
use super::random::{Purpose, seed};
use super::{Error, Report, step};
use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

/// Trees of one forest at most.
pub const MAX_TREES: usize = 500;

/// The library's forest of one tree.
type Grown = RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// A random forest; its answer is the mean of its trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    trees: Vec<Tree>,
}

/// A tree; the root is node 0, and children come after their parents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Node {
    /// Mean of the target over the rows that came here.
    value: f64,
    split: Option<Split>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Split {
    column: u16,
    /// Rows with at most this value go to `below`, the others to `above`.
    threshold: f64,
    below: u32,
    above: u32,
}

/// What the library serialises of a forest, as far as it is needed.
#[derive(Deserialize)]
struct GrownForest {
    forest_regressor: GrownTrees,
}

#[derive(Deserialize)]
struct GrownTrees {
    trees: Vec<GrownTree>,
}

#[derive(Deserialize)]
struct GrownTree {
    nodes: Vec<GrownNode>,
}

#[derive(Deserialize)]
struct GrownNode {
    output: f64,
    split_feature: u16,
    split_value: Option<f64>,
    true_child: Option<u32>,
    false_child: Option<u32>,
}

impl Forest {
    /// Grows a forest on a matrix and one target a row; the same seed grows the same forest. `report` is asked before
    /// each tree whether to go on.
    pub fn fit(x: &Matrix, y: &[f64], growth: &Growth, training_seed: u64, report: Report) -> Result<Self, Error> {
        let dense = x.dense()?;
        let target = y.to_vec();
        let mut trees = Vec::with_capacity(growth.trees);
        for index in 0..growth.trees {
            step(report, index as f64 / growth.trees as f64, "growing trees")?;
            let parameters = RandomForestRegressorParameters {
                // The library counts levels of nodes, we count splits.
                max_depth: Some(growth.max_depth + 1),
                min_samples_leaf: growth.min_leaf,
                min_samples_split: 2,
                n_trees: 1,
                m: growth.columns_per_split,
                keep_samples: false,
                seed: seed(training_seed, Purpose::Trees, index),
            };
            let grown = Grown::fit(&dense, &target, parameters).map_err(|failed| Error::Fit(failed.to_string()))?;
            trees.push(Tree::of(&grown)?);
        }
        let forest = Self { trees };
        if forest.is_whole(x.columns()) { Ok(forest) } else { Err(Error::Fit("a tree is not well formed".to_owned())) }
    }

    /// The mean of the trees for one row of the matrix.
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.trees.iter().map(|tree| tree.leaf(row).value).sum::<f64>() / self.trees.len() as f64
    }

    /// Between which values 95 % of the trees' answers lie. That is how far the trees disagree, not where the truth
    /// lies: what no tree could know is not in it.
    pub fn spread(&self, row: &[f64]) -> (f64, f64) {
        let mut answers: Vec<f64> = self.trees.iter().map(|tree| tree.leaf(row).value).collect();
        answers.sort_by(f64::total_cmp);
        (quantile(&answers, 0.025), quantile(&answers, 0.975))
    }

    /// What the forest answers without knowing anything of a row, and what each column of the matrix moves that by; all
    /// together are the prediction (A. Saabas, "Interpreting random forests", 2014).
    pub fn contributions(&self, row: &[f64]) -> (f64, Vec<f64>) {
        let mut moved = vec![0.0; row.len()];
        let mut base = 0.0;
        let n = self.trees.len() as f64;
        for tree in &self.trees {
            let mut node = tree.nodes[0];
            base += node.value / n;
            while let Some(split) = node.split {
                let next = tree.nodes[split.next(row)];
                moved[usize::from(split.column)] += (next.value - node.value) / n;
                node = next;
            }
        }
        (base, moved)
    }

    /// Whether every way from a root ends at a leaf and asks only columns that there are. Children come after their
    /// parents, so no way is a circle.
    pub(super) fn is_whole(&self, columns: usize) -> bool {
        let whole = |tree: &Tree| {
            tree.nodes.iter().enumerate().all(|(at, node)| {
                let child = |child: u32| (child as usize) > at && (child as usize) < tree.nodes.len();
                let split = |split: Split| {
                    let asked = usize::from(split.column) < columns && split.threshold.is_finite();
                    asked && child(split.below) && child(split.above)
                };
                node.value.is_finite() && node.split.is_none_or(split)
            })
        };
        let trees = (1..=MAX_TREES).contains(&self.trees.len());
        trees && self.trees.iter().all(|tree| !tree.nodes.is_empty() && whole(tree))
    }
}

impl Tree {
    fn of(grown: &Grown) -> Result<Self, Error> {
        // Through values, not text: no digit of a threshold is lost.
        let value = serde_json::to_value(grown).map_err(|error| Error::Fit(error.to_string()))?;
        let read: GrownForest = serde_json::from_value(value).map_err(|error| Error::Fit(error.to_string()))?;
        let tree = read.forest_regressor.trees.into_iter().next();
        let tree = tree.ok_or_else(|| Error::Fit("no tree grew".to_owned()))?;
        Ok(Self { nodes: tree.nodes.into_iter().map(Node::from).collect() })
    }

    fn leaf(&self, row: &[f64]) -> Node {
        let mut node = self.nodes[0];
        while let Some(split) = node.split {
            node = self.nodes[split.next(row)];
        }
        node
    }
}

impl Split {
    fn next(&self, row: &[f64]) -> usize {
        let below = row[usize::from(self.column)] <= self.threshold;
        if below { self.below as usize } else { self.above as usize }
    }
}

impl From<GrownNode> for Node {
    fn from(grown: GrownNode) -> Self {
        let split = match (grown.split_value, grown.true_child, grown.false_child) {
            (Some(threshold), Some(below), Some(above)) => {
                Some(Split { column: grown.split_feature, threshold, below, above })
            }
            _ => None,
        };
        Self { value: grown.output, split }
    }
}

/// A quantile of sorted values, between neighbours on a straight line (type 7 of R. J. Hyndman and Y. Fan, Am. Stat.
/// 50, 1996).
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::super::silent;
    use super::*;

    const GROWTH: Growth = Growth { trees: 12, max_depth: 4, min_leaf: 2, columns_per_split: Some(2) };

    fn data() -> (Matrix, Vec<f64>) {
        let value = |i: usize, k: usize| ((i * (37 + 11 * k) + 13 * k) % 101) as f64 / 10.0;
        let values: Vec<f64> = (0..80).flat_map(|i| (0..3).map(move |k| value(i, k))).collect();
        let x = Matrix::of(values, 3);
        let y = x.iter().map(|row| row[0] * 2.0 + if row[1] > 5.0 { 4.0 } else { 0.0 }).collect();
        (x, y)
    }

    #[test]
    fn our_trees_answer_as_the_librarys() {
        let (x, y) = data();
        let ours = Forest::fit(&x, &y, &GROWTH, 7, &silent).expect("a forest");
        let dense = x.dense().expect("a matrix");
        let mut sums = vec![0.0; x.rows()];
        for index in 0..GROWTH.trees {
            let parameters = RandomForestRegressorParameters::default()
                .with_max_depth(5)
                .with_min_samples_leaf(2)
                .with_n_trees(1)
                .with_m(2)
                .with_seed(seed(7, Purpose::Trees, index));
            let tree = Grown::fit(&dense, &y, parameters).expect("a tree");
            let answers = tree.predict(&dense).expect("answers");
            sums.iter_mut().zip(answers).for_each(|(sum, answer)| *sum += answer);
        }
        for (row, sum) in x.iter().zip(sums) {
            assert!((ours.predict(row) - sum / GROWTH.trees as f64).abs() < 1e-12);
        }
        let deepest = ours.trees.iter().map(|tree| depth(tree, 0)).max();
        assert_eq!(deepest, Some(4), "as many splits as were asked for");
    }

    fn depth(tree: &Tree, node: usize) -> u16 {
        let split = tree.nodes[node].split;
        split.map_or(0, |s| 1 + depth(tree, s.below as usize).max(depth(tree, s.above as usize)))
    }

    #[test]
    fn contributions_add_up_and_the_spread_holds_most_trees() {
        let (x, y) = data();
        let forest = Forest::fit(&x, &y, &GROWTH, 7, &silent).expect("a forest");
        for row in x.iter() {
            let (base, moved) = forest.contributions(row);
            assert!((base + moved.iter().sum::<f64>() - forest.predict(row)).abs() < 1e-9);
            let (low, high) = forest.spread(row);
            assert!(low <= high);
        }
    }

    #[test]
    fn a_training_can_be_stopped_between_trees() {
        let (x, y) = data();
        let stop = |share: f64, _: &str| match share > 0.5 {
            true => std::ops::ControlFlow::Break(()),
            false => std::ops::ControlFlow::Continue(()),
        };
        assert!(matches!(Forest::fit(&x, &y, &GROWTH, 7, &stop), Err(Error::Stopped(_))));
    }

    #[test]
    fn a_circle_is_not_whole() {
        let (x, y) = data();
        let mut forest = Forest::fit(&x, &y, &GROWTH, 7, &silent).expect("a forest");
        assert!(forest.is_whole(3) && !forest.is_whole(0));
        forest.trees[0].nodes[0].split.as_mut().expect("a split").below = 0;
        assert!(!forest.is_whole(3));
    }
}
