//! Whole trainings, and the same numbers as scikit-learn's.

mod artefacts;
mod asking;
mod made;
mod same_rows;
mod scikit;
mod whole;
