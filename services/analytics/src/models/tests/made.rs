//! Rows for tests: made by a rule that `tests/expected/models.py` has too, and the states' public figures.

use super::super::{Column, Frame, Metric, ModelCard, Pipeline, Trained, Versions, silent, train};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What scikit-learn and SciPy say.
pub fn expected() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../tests/expected/models.json")).expect("JSON")
}

/// A list of numbers of what is expected, by its path.
pub fn numbers(expected: &serde_json::Value, path: &str) -> Vec<f64> {
    let list = expected.pointer(path).and_then(|value| value.as_array()).unwrap_or_else(|| panic!("no {path}"));
    list.iter().map(|value| value.as_f64().expect("a number")).collect()
}

/// Numbers from 0 to 1 by Knuth's 64-bit congruence.
pub struct Stream(pub u64);

impl Stream {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Rows of six numbers, and a 0 or 1 that three of them make more likely.
pub fn rows(state: u64, n: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut stream = Stream(state);
    let mut made = (Vec::new(), Vec::new());
    for _ in 0..n {
        let row: Vec<f64> = (0..6).map(|_| stream.next()).collect();
        let score = 6.0 * row[0] - 4.0 * row[1] + 8.0 * (row[2] - 0.5) * (row[3] - 0.5) - 2.4;
        made.1.push(f64::from(u8::from(stream.next() < 1.0 / (1.0 + (-score).exp()))));
        made.0.push(row);
    }
    made
}

/// Rows of three numbers around three places.
pub fn heaps(n: usize) -> Vec<Vec<f64>> {
    let mut stream = Stream(11);
    let places = [[0.0, 0.0, 0.0], [2.0, 0.5, 1.0], [0.5, 2.0, -1.0]];
    let mut row =
        |place: [f64; 3]| place.iter().map(|at| at + (stream.next() + stream.next() + stream.next() - 1.5)).collect();
    (0..n).map(|index| row(places[index % 3])).collect()
}

/// The states' public figures, a frame as the reports' table would give it.
pub fn states() -> Frame {
    let text = include_str!("../../../tests/expected/states.csv");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let cells: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let column = |name: &str| {
        let at = names.iter().position(|known| *known == name).expect("a column");
        cells.iter().map(move |row| row[at])
    };
    let units = [
        ("population", "1"),
        ("median_income", "USD"),
        ("poverty_percent", "%"),
        ("unemployment_rate", "%"),
        ("uninsured_percent", "%"),
        ("life_expectancy", "a"),
        ("preventable_stays_rate", "/100000"),
    ];
    let mut columns: Vec<Column> = units
        .iter()
        .map(|(name, unit)| Column::numbers(name, unit, column(name).map(|v| v.parse().ok()).collect()))
        .collect();
    columns.push(Column::texts("region", column("region").map(|region| Some(region.to_owned())).collect()));
    let ids: Vec<String> = column("state").map(str::to_owned).collect();
    Frame::new(ids.clone(), Some(ids), columns).expect("a frame")
}

/// Prescribers as the pipeline `high_volume_prescriber` takes them: who has many claims follows from specialty and
/// years.
pub fn prescribers(n: usize) -> Frame {
    let mut stream = Stream(5);
    let specialties = ["Internal Medicine", "Family Practice", "Dentist", "Other"];
    let (mut years, mut population, mut nearby, mut target) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut specialty, mut region, mut place) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..n {
        let city = (stream.next() * 40.0) as usize;
        let kind = (stream.next() * 4.0) as usize;
        let experience = 1.0 + (stream.next() * 50.0).floor();
        let chance = 0.05 + if kind < 2 { 0.25 } else { 0.0 } + experience / 250.0;
        target.push(Some(f64::from(u8::from(stream.next() < chance))));
        years.push(if index % 10 == 3 { None } else { Some(experience) });
        population.push(Some(1_000.0 * (city as f64 + 1.0).powi(2)));
        nearby.push(Some(city as f64 + 3.0));
        specialty.push(Some(specialties[kind].to_owned()));
        region.push(Some(if city < 1 { "AK" } else { "TX" }.to_owned()));
        place.push(format!("city {city}"));
    }
    let columns = vec![
        Column::numbers("years_of_exp", "a", years),
        Column::numbers("population", "1", population),
        Column::numbers("prescribers_nearby", "1", nearby),
        Column::numbers("high_volume", "1", target),
        Column::texts("specialty", specialty),
        Column::texts("region", region),
    ];
    Frame::new((0..n).map(|index| index.to_string()).collect(), Some(place), columns).expect("a frame")
}

/// A pipeline that is compiled in, with fewer trees: tests are quick.
pub fn quick(name: &str) -> Pipeline {
    let mut pipeline = Pipeline::named(name).expect("a pipeline");
    if let super::super::Algorithm::ForestRegression(growth) | super::super::Algorithm::ForestClassification(growth) =
        &mut pipeline.algorithm
    {
        growth.trees = 25;
    }
    pipeline
}

pub fn versions() -> Versions {
    Versions { data: BTreeMap::from([("states".to_owned(), "3".to_owned())]), code: "test".to_owned() }
}

pub fn trained(pipeline: &Pipeline, frame: &Frame) -> Trained {
    let at: Timestamp = "2026-11-28T07:00:00Z".parse().expect("a time");
    train(pipeline, frame, &versions(), at, &silent).expect("a model")
}

/// A metric of a card.
pub fn value(card: &ModelCard, metric: Metric) -> f64 {
    let found = card.evaluation.metrics.iter().find(|measured| measured.metric == metric);
    found.expect("the metric is defined").value
}
