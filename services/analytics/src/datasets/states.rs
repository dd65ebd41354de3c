//! States, territories, associated states and military posts: codes, names, and which numbers belong to them.

use std::{collections::HashMap, sync::LazyLock};

use serde::Deserialize;

/// A state, or what addresses treat as one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Postal code of two letters: `TX`; `US` for the nation.
    pub code: String,
    /// Full name, in English: `Texas`.
    pub name: String,
    /// Other names that tables have for it; empty for most.
    #[serde(default)]
    also: Vec<String>,
    /// FIPS number, two digits; empty for military posts.
    #[serde(default)]
    pub fips: String,
    /// Whether it is a state, a district or a territory.
    pub kind: StateKind,
    /// First three digits of its ZIP codes: `100-149`.
    zips: Vec<String>,
    /// First two characters of its hospitals' certification numbers.
    #[serde(default)]
    ccns: Vec<String>,
}

/// What a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// One of the fifty.
    State,
    /// The District of Columbia.
    District,
    /// Puerto Rico, Guam and so on: often without population and cities in the tables.
    Territory,
    /// Palau and so on.
    Associated,
    /// A military post office: no place.
    Military,
    /// The nation, where a table has a row for it.
    Nation,
}

#[derive(Deserialize)]
struct Table {
    states: Vec<State>,
}

static STATES: LazyLock<Vec<State>> = LazyLock::new(|| {
    let table: Table = toml::from_str(include_str!("../../datasets/states.toml")).expect("a test reads the table");
    table.states
});

static BY_NAME: LazyLock<HashMap<String, &State>> = LazyLock::new(|| {
    let names = |state: &'static State| {
        [&state.code, &state.name, &state.fips].into_iter().chain(&state.also).map(move |name| (name, state))
    };
    STATES
        .iter()
        .flat_map(names)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, state)| (name.to_uppercase(), state))
        .collect()
});

/// Every state, district and territory, by postal code.
#[must_use]
pub fn states() -> &'static [State] {
    &STATES
}

/// The state of this postal code, name or FIPS number (two digits), in any case.
#[must_use]
pub fn find(text: &str) -> Option<&'static State> {
    match BY_NAME.get(text) {
        Some(state) => Some(state),
        None => BY_NAME.get(text.to_uppercase().as_str()).copied(),
    }
}

impl State {
    /// Whether ZIP codes with these first three digits are here.
    #[must_use]
    pub fn has_zip(&self, zip: &str) -> bool {
        let Some(prefix) = zip.get(..3) else { return false };
        self.zips.iter().any(|range| match range.split_once('-') {
            Some((from, to)) => (from..=to).contains(&prefix),
            None => range == prefix,
        })
    }

    /// Whether certification numbers that begin like this one are here.
    #[must_use]
    pub fn has_ccn(&self, ccn: &str) -> bool {
        self.ccns.iter().any(|prefix| ccn.starts_with(prefix))
    }
}
