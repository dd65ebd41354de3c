//! The definitions themselves: they can be read, and hang together.

use std::collections::HashSet;

use super::super::{Error, Kind, cities, kinds, states};

#[test]
fn every_definition_is_read_and_its_references_lead_somewhere() {
    assert_eq!(kinds().len(), 24);
    for kind in kinds() {
        for reference in &kind.references {
            let other = kinds().iter().find(|other| other.name == reference.kind).expect(&reference.kind);
            assert!(
                reference.to.iter().all(|column| other.position(column).is_some()),
                "{} {:?}",
                kind.name,
                reference
            );
        }
        assert_eq!(kind.schema().fields().len(), kind.columns.len());
        assert!(kind.columns.iter().all(|column| !column.about.is_empty()), "{}", kind.name);
    }
}

/// The README's table is what reports are written against.
#[test]
fn the_readme_lists_each_kind_with_its_columns() {
    let readme = include_str!("../../../README.md");
    for kind in kinds() {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", kind.name))).expect(&kind.name);
        let listed: Vec<&str> = row.split('`').skip(3).step_by(2).collect();
        let columns: Vec<&str> = kind.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(listed, columns, "{}", kind.name);
    }
}

#[test]
fn a_definition_that_contradicts_itself_is_refused_by_name() {
    let text = include_str!("../../../datasets/premiums.toml");
    for (from, to, what) in [
        ("key = [\"state\", \"year\"]", "key = [\"county\"]", "no column `county`"),
        ("type = \"decimal(18,2)\"", "type = \"money\"", "type `money`"),
        ("year = \"Year\"", "", "does not fill the required column `year`"),
        (
            "state = { from = \"Location\", parse = \"state\" }",
            "state = { parse = \"state\" }",
            "a heading or a constant",
        ),
        ("parse = \"money\"", "parse = \"guess\"", "TOML parse error"),
        ("title =", "titel =", "TOML parse error"),
    ] {
        let broken = text.replace(from, to);
        assert_ne!(broken, text, "{from}");
        let error = Kind::read("premiums", &broken).unwrap_err();
        assert!(matches!(error, Error::Definition { .. }), "{error}");
        assert!(error.to_string().starts_with("definition of premiums: "), "{error}");
        assert!(error.to_string().contains(what) || what.starts_with("TOML"), "{error}");
    }
}

#[test]
fn states_have_their_numbers_once() {
    let mut seen = HashSet::new();
    for state in states() {
        assert!(seen.insert(&state.code));
        assert!(state.fips.is_empty() || seen.insert(&state.fips), "{}", state.name);
    }
    assert_eq!(states().iter().filter(|state| state.kind == states::StateKind::State).count(), 50);
    let find = |name| super::super::find_state(name).map(|state| state.code.as_str());
    assert_eq!(
        [find("06"), find("Guam"), find("NORTHERN MARIANAS"), find("ae"), find("XX"), find("6")],
        [Some("CA"), Some("GU"), Some("MP"), Some("AE"), None, None]
    );
}

/// An alias is needed only for what is not a city by itself, and leads to one that is.
#[test]
fn aliases_lead_from_no_city_to_a_city() {
    let (path, is_real) = super::real("prescriber/us_cities_dimension.parquet", "cities.csv.zst");
    let cities = super::file("cities", &path, None);
    let keys: HashSet<_> =
        cities.column("state").into_iter().flatten().zip(cities.column("city_key").into_iter().flatten()).collect();
    let has = |state: &str, key: &str| keys.contains(&(state.to_owned(), key.to_owned()));
    for (state, from, to) in cities::aliases() {
        assert!(!has(state, from), "{from} in {state} is a city");
        assert!(has(state, to) || !is_real, "{to} in {state} is no city");
    }
}
