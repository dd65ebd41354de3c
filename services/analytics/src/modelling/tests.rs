//! Models from the samples to the answer: frames, trainings by the job, versions, predictions.

mod bench;

use super::{
    frames::{self, Framed, frame_of},
    shelf::{ARTEFACT, CARD, Error, KEPT, Rule, Version},
};
use crate::{
    datasets,
    jobs::{
        job::{Job, State},
        step::Step,
    },
    models::{self, Answer, Input, ModelCard, Pipeline, Values, names},
    versions,
};
use bench::{Bench, PATIENCE, long, older, quick};
use object_store::path::Path as Key;
use std::{collections::BTreeMap, time::Instant};
use uuid::Uuid;

/// The data sets of the smallest model.
const STATES: [&str; 5] = ["coverage", "life_expectancy", "poverty_income", "state_population", "unemployment"];
const SEGMENTS: &str = "state_segments";

/// What a row of a frame would be asked with.
fn inputs(pipeline: &Pipeline, Framed { frame, .. }: &Framed, row: usize) -> Option<BTreeMap<String, Input>> {
    let input = |feature: &models::Feature| {
        let value = match &frame.column(&feature.name).unwrap().values {
            Values::Numbers(values) => Input::Number(values[row]?),
            Values::Texts(values) => Input::Text(values[row].clone().filter(|text| feature.levels.contains(text))?),
        };
        Some((feature.name.clone(), value))
    };
    pipeline.features.iter().map(input).collect()
}

/// A state as `state_segments` takes it, each value in its feature's unit.
fn state() -> BTreeMap<String, Input> {
    let values = [
        ("median_income", 62_248.0),
        ("poverty_percent", 15.7),
        ("unemployment_rate", 3.1),
        ("uninsured_percent", 9.4),
        ("life_expectancy", 72.0),
        ("population", 5_108_468.0),
    ];
    values.map(|(name, value)| (name.to_owned(), Input::Number(value))).into()
}

fn succeeded(job: Job) -> serde_json::Value {
    assert_eq!(job.state, State::Succeeded, "{}", job.error);
    job.result.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_model_learns_from_the_samples_and_answers() {
    let bench = Bench::with(&[]).await;
    let stop = bench.worker(quick);
    for name in names() {
        let pipeline = Pipeline::named(name).unwrap();
        let framed = frame_of(&bench.runner, &pipeline).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let asked: Vec<_> = (0..framed.frame.rows()).filter_map(|row| inputs(&pipeline, &framed, row)).collect();
        assert!(asked.len() >= 50, "{name}: {} of {} rows are whole", asked.len(), framed.frame.rows());
        assert_eq!(framed.data_versions.len(), pipeline.sources.len());
        let job = bench.train(name, "always").await;
        let run = job.run.clone().unwrap();
        assert_eq!((run.seed, run.rows_in), (pipeline.seed, framed.frame.rows() as u64), "{name}");
        assert!(run.data_versions == framed.data_versions && run.rows_out >= 50, "{name}: {run:?}");
        let result = succeeded(job);
        assert!(result["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty()), "{name}: {result}");
        let (answer, version) = bench.shelf.predict(&pipeline, &asked[0]).await.unwrap();
        assert_eq!(result["version_id"], version.id.to_string());
        let has_target = pipeline.target.is_some();
        assert_eq!(answer.contributions.len(), if has_target { pipeline.features.len() } else { 0 }, "{name}");
        let told = match answer.answer {
            Answer::Number { value, .. } => value,
            Answer::Probability { value, .. } => value,
            Answer::Segment { segment, .. } => segment as f64,
        };
        assert!(told.is_finite() && answer.base.is_some() == has_target, "{name}: {told}");
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_better_is_promoted_and_what_is_not_is_kept() {
    let bench = Bench::with(&STATES).await;
    let stop = bench.worker(quick);
    let pipeline = Pipeline::named(SEGMENTS).unwrap();
    let none = bench.shelf.predict(&pipeline, &state()).await.unwrap_err();
    assert!(none.to_string().ends_with("submit the job train with model=state_segments"), "{none}");
    let never = succeeded(bench.train(SEGMENTS, "never").await);
    let none = bench.shelf.predict(&pipeline, &state()).await.unwrap_err().to_string();
    assert!(never["promoted"] == false && none.contains("of the newest: the training was told"), "{none}");
    let first = succeeded(bench.train(SEGMENTS, "better").await);
    assert!(first["promoted"] == true, "{first}");
    let same = succeeded(bench.train(SEGMENTS, "better").await);
    assert!(same["promoted"] == false && same["reason"].as_str().unwrap().starts_with("not better"), "{same}");
    // as another process sees it
    let shelf = bench.other_shelf();
    let history = shelf.get(SEGMENTS).await.unwrap();
    let ids: Vec<_> = history.versions.iter().map(|version| version.id.to_string()).collect();
    assert_eq!(ids, [&never, &first, &same].map(|result| result["version_id"].as_str().unwrap().to_owned()));
    assert_eq!(history.current(), Some(&history.versions[1]));
    assert_eq!(history.versions[2].decision.reason, same["reason"].as_str().unwrap());
    let card: ModelCard = serde_json::from_str(&shelf.card(&history.versions[2]).await.unwrap()).unwrap();
    assert!(card.versions.data.len() == 5 && card.evaluation.metrics == history.versions[2].metrics, "{card}");
    // forth and back
    let [never, first, same] = [0, 1, 2].map(|n: usize| history.versions[n].id);
    shelf.set_current(&pipeline, same, "user:b").await.unwrap();
    assert_eq!(bench.shelf.predict(&pipeline, &state()).await.unwrap().1.id, same);
    shelf.set_current(&pipeline, first, "user:b").await.unwrap();
    assert_eq!(bench.shelf.predict(&pipeline, &state()).await.unwrap().1.id, first);
    let refused = shelf.delete(SEGMENTS, first, "user:b").await;
    assert!(matches!(refused, Err(versions::Error::IsCurrent)));
    let history = shelf.delete(SEGMENTS, never, "user:b").await.unwrap();
    assert_eq!(history.versions.len(), 2);
    let gone = shelf.set_current(&pipeline, never, "user:b").await;
    assert!(matches!(gone, Err(Error::Versions(versions::Error::NoVersion))));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_of_other_data_are_compared_on_the_same_rows() {
    let bench = Bench::with(&STATES).await;
    let stop = bench.worker(quick);
    let first = succeeded(bench.train(SEGMENTS, "better").await);
    assert!(first["promoted"] == true, "{first}");
    bench.import("coverage").await;
    let next = succeeded(bench.train(SEGMENTS, "better").await);
    let reason = next["reason"].as_str().unwrap();
    assert!(next["promoted"] == false && reason.contains("may have seen some of them"), "{next}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_takes_other_features_is_refused_by_name_and_replaced_by_what_is_better_than_nothing() {
    let bench = Bench::with(&STATES).await;
    let (stop, pipeline) = (bench.worker(older), Pipeline::named(SEGMENTS).unwrap());
    let old = succeeded(bench.train(SEGMENTS, "always").await);
    stop.cancel();
    let refused = bench.shelf.predict(&pipeline, &state()).await.unwrap_err();
    assert!(matches!(refused, Error::Outdated { .. }));
    let text = refused.to_string();
    let id = old["version_id"].as_str().unwrap();
    assert!(
        text.contains(id) && text.contains("5 features then, 6 now") && text.contains("model=state_segments"),
        "{text}"
    );
    let stop = bench.worker(quick);
    let new = succeeded(bench.train(SEGMENTS, "better").await);
    assert!(new["promoted"] == true && new["reason"].as_str().unwrap().ends_with("takes other features)"), "{new}");
    assert!(bench.shelf.predict(&pipeline, &state()).await.is_ok());
    // nor does it come back
    let back = bench.shelf.set_current(&pipeline, id.parse().unwrap(), "user:b").await;
    assert!(matches!(back, Err(Error::Outdated { .. })));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_inputs_are_all_named() {
    let bench = Bench::with(&STATES).await;
    let (stop, pipeline) = (bench.worker(quick), Pipeline::named(SEGMENTS).unwrap());
    succeeded(bench.train(SEGMENTS, "always").await);
    let mut asked = state();
    asked.remove("median_income");
    asked.insert("poverty_percent".to_owned(), Input::Text("much".to_owned()));
    asked.insert("mood".to_owned(), Input::Number(1.0));
    let Err(Error::Model(models::Error::Inputs(wrong))) = bench.shelf.predict(&pipeline, &asked).await else {
        panic!("it was answered");
    };
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_sets_of_which_nothing_is_imported_are_named_with_the_command() {
    let bench = Bench::with(&["hospitals", "coverage"]).await;
    let stop = bench.worker(quick);
    let job = bench.train("hospital_rating", "better").await;
    assert_eq!((job.state, job.attempt), (State::Failed, 1));
    for said in ["hospital_rating", "`wardline import readmissions FILE`", "`wardline import poverty_income FILE`"] {
        assert!(job.error.contains(said), "{}", job.error);
    }
    assert!(!job.error.contains("hospitals FILE"), "{}", job.error);
    assert_eq!(bench.shelf.get("hospital_rating").await.unwrap().versions, []);
    stop.cancel();
}

#[test]
fn each_source_is_a_data_set_that_its_query_reads() {
    for name in names() {
        let pipeline = Pipeline::named(name).unwrap();
        for source in &pipeline.sources {
            assert!(datasets::kind(source).is_ok() && pipeline.query.contains(source.as_str()), "{name}: {source}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_does_not_give_what_the_pipeline_says_is_refused() {
    let bench = Bench::with(&STATES).await;
    let ask = async |change: (&str, &str)| {
        let mut pipeline = Pipeline::named(SEGMENTS).unwrap();
        assert!(pipeline.query.contains(change.0), "{}", pipeline.query);
        pipeline.query = pipeline.query.replace(change.0, change.1);
        frame_of(&bench.runner, &pipeline).await.map(|framed| framed.frame.rows())
    };
    assert_eq!(ask(("p.population,", "p.population, 1 AS more,")).await.unwrap(), 51);
    let text = async |from: &'static str, to| ask((from, to)).await.unwrap_err().to_string();
    assert_eq!(text("i.poverty_percent,", "").await, "the frame has no column poverty_percent");
    let named = text("i.poverty_percent,", "'x' AS poverty_percent,").await;
    assert_eq!(named, "column poverty_percent must be numbers, and is text");
    let nameless = text("people p", "(SELECT nullif(state, 'AL') AS state, population FROM people) p").await;
    assert!(
        nameless.starts_with("row ") && nameless.ends_with("of the model state_segments has no state"),
        "{nameless}"
    );
    let none = text("ORDER BY p.state", "WHERE p.population < 0").await;
    assert!(none.contains("have no row for it"), "{none}");
    let infinite = text("i.poverty_percent,", "i.poverty_percent / 0 AS poverty_percent,").await;
    assert!(infinite.starts_with("column poverty_percent, row AK: not a finite number"), "{infinite}");
    let unknown = ask(("i.poverty_percent,", "i.poor,")).await.unwrap_err();
    assert!(matches!(&unknown, frames::Error::Query(_)) && unknown.to_string().contains("poor"), "{unknown}");
}

#[test]
fn a_training_that_is_cancelled_ends_and_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::with(&["hospitals", "readmissions", "poverty_income", "coverage"]).await;
        let stop = bench.worker(long);
        let id = bench.submit("hospital_rating", "always").await.id;
        let mut job = bench.until(id, |job| job.progress.total > 0).await;
        assert!(!job.progress.stage.is_empty(), "{:?}", job.progress);
        let cancelled = || Step::Cancelled { at: bench.board.now(), by: "user:a".to_owned() };
        while bench.board.put(&job, cancelled()).await.unwrap().is_none() {
            job = bench.board.get(id).await.unwrap().unwrap();
        }
        stop.cancel();
        assert_eq!(bench.until(id, |job| job.state.has_ended()).await.state, State::Cancelled);
        assert_eq!(bench.shelf.get("hospital_rating").await.unwrap().versions, []);
        let left = bench.shelf.objects().folders(&Key::from("models")).await.unwrap();
        assert_eq!(left, Vec::<String>::new());
    });
    // it waits for the thread that trains
    let began = Instant::now();
    runtime.shutdown_timeout(PATIENCE);
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}

/// The same artefact and card once more, as another version.
async fn copied(bench: &Bench, version: &Version) -> Uuid {
    let (objects, id) = (bench.shelf.objects(), Uuid::now_v7());
    let [from, to] = [version.prefix.clone(), format!("models/{SEGMENTS}/{id}")].map(Key::from);
    for name in [ARTEFACT, CARD] {
        let bytes = objects.get(&from.clone().join(name)).await.unwrap();
        objects.put(&to.clone().join(name), bytes).await.unwrap();
    }
    let card: ModelCard = serde_json::from_str(&bench.shelf.card(version).await.unwrap()).unwrap();
    let copy = Version { id, prefix: to.to_string(), ..version.clone() };
    bench.shelf.add(copy, &card, Rule::Always, None).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_and_what_is_kept_is_bounded() {
    let bench = Bench::with(&STATES).await;
    let (stop, pipeline) = (bench.worker(quick), Pipeline::named(SEGMENTS).unwrap());
    succeeded(bench.train(SEGMENTS, "always").await);
    let first = bench.shelf.get(SEGMENTS).await.unwrap().versions[0].clone();
    for _ in 1..KEPT {
        let id = copied(&bench, &first).await;
        assert_eq!(bench.shelf.predict(&pipeline, &state()).await.unwrap().1.id, id);
    }
    assert_eq!(bench.shelf.n_loaded().await, 8);
    bench.shelf.set_current(&pipeline, first.id, "user:a").await.unwrap();
    let second = bench.shelf.get(SEGMENTS).await.unwrap().versions[1].clone();
    succeeded(bench.train(SEGMENTS, "never").await);
    let history = bench.shelf.get(SEGMENTS).await.unwrap();
    assert_eq!((history.versions.len(), history.current()), (KEPT, Some(&first)), "the one in use is never pruned");
    assert_eq!(history.version(second.id), None);
    assert!(bench.shelf.card(&second).await.is_err(), "its objects are gone");
    stop.cancel();
}
