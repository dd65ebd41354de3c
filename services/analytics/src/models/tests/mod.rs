//! Whole trainings, and the same numbers as scikit-learn's.

mod artefacts;
mod asking;
mod made;
mod scikit;
mod whole;
