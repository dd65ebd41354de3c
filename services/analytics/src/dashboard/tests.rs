//! Tests of the dashboard on the samples; what pandas and SciPy make of the same files is in `tests/expected/dashboard.json`.

mod exports;
mod fixture;
mod hospitals;
mod kinds;
mod states;
