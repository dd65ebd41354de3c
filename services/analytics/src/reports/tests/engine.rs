//! The engine's limits, and tables that are not what they should be.

use std::{fs::File, sync::Arc};

use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
use tempfile::TempDir;

use super::tables::{Tables, limits};
use crate::reports::{Cell, Error, Limits, Reports, TableFiles};

/// So many rows of prescribers, each of another, in so many files.
fn many(n_rows: usize, n_files: usize) -> Tables {
    let line = |i: usize| {
        let city = i % 300;
        [
            format!("{i:010}"),
            "TX".into(),
            format!("CITY{city}"),
            format!("CITY{city}"),
            "30".into(),
            (i % 1000).to_string(),
        ]
    };
    let lines: Vec<Vec<String>> = (0..n_rows).map(|i| line(i).to_vec()).collect();
    let mut tables = Tables::of(&[("cities", "state|city_key|city|population|n_zips\n TX|CITY7|City|1000|2")]);
    let headings = ["npi", "state", "city", "city_key", "years_of_experience", "n_claims"];
    tables.add("prescribers", &headings, &lines, n_files);
    tables
}

#[tokio::test]
async fn a_missing_table_says_what_to_import() {
    let mut tables = Tables::of(&[("cities", "state|city_key\n TX|A")]);
    let said = |error: Error| {
        assert!(matches!(error, Error::MissingTable { .. }));
        error.to_string()
    };
    let missing =
        "report `city_report` reads `prescribers`, of which nothing is imported: import a data set of this kind";
    assert_eq!(said(tables.run("city_report", &[], &limits()).await.unwrap_err()), missing);
    let empty = TempDir::new().unwrap();
    tables.files.insert("prescribers".into(), TableFiles::local([empty.path()]).unwrap());
    assert_eq!(said(tables.run("city_report", &[], &limits()).await.unwrap_err()), missing);
}

#[tokio::test]
async fn too_many_rows_are_an_error_and_no_less_is_given_out() {
    let tables = many(100, 1);
    let run = async |n_rows| {
        let answer = tables.run("top_prescribers", &[("n", "100")], &Limits { n_rows, ..limits() }).await.unwrap();
        answer.collect().await
    };
    assert_eq!(run(100).await.unwrap().iter().map(|batch| batch.num_rows()).sum::<usize>(), 100);
    let error = run(99).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRows { limit: 99 }), "{error:?}");
    assert!(error.to_string().contains("more than 99 rows: narrow it"), "{error}");
}

#[tokio::test]
async fn what_does_not_fit_into_memory_goes_to_disk_and_is_gone_when_the_answer_is() {
    let line =
        |i: usize| ["daily".into(), "TX".into(), format!("{:05} {}", i * 7919 % 60_000, "x".repeat(250)), "A".into()];
    let lines: Vec<Vec<String>> = (0..60_000).map(|i| line(i).to_vec()).collect();
    let (mut tables, spill) = (Tables::none(), TempDir::new().unwrap());
    tables.add("sites", &["vintage", "state", "name", "city"], &lines, 2);
    let small = Limits { memory_bytes: 32 << 20, spill_folder: Some(spill.path().into()), n_partitions: 1, ..limits() };
    let n_files = || walk(spill.path());

    let mut answer = tables.run("sites_by_state", &[("state", "TX")], &small).await.unwrap();
    let mut names = Vec::new();
    while let Some(batch) = answer.next().await.unwrap() {
        assert!(n_files() > 0 || !names.is_empty(), "the rows fitted into memory");
        names.extend(
            (0..batch.num_rows()).map(|row| Cell::of(&batch, row, 0).to_string()[..5].parse::<usize>().unwrap()),
        );
    }
    assert!(names.iter().copied().eq(0..60_000));

    let mut cancelled = tables.run("sites_by_state", &[("state", "TX")], &small).await.unwrap();
    assert!(cancelled.next().await.unwrap().is_some() && n_files() > 0);
    assert!(format!("{cancelled:?}").contains("sites_by_state"));
    drop((answer, cancelled));
    for _ in 0..500 {
        if n_files() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    assert_eq!(n_files(), 0, "files are left where it spilt");
}

/// Files in a folder and the folders within.
fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn too_little_memory_is_an_error_of_its_own() {
    let tables = many(60_000, 1);
    let run = async || {
        let little = Limits { memory_bytes: 64 << 10, ..limits() };
        tables.run("city_report", &[], &little).await?.collect().await
    };
    let error = run().await.unwrap_err();
    assert!(matches!(error, Error::Memory { limit_bytes: 65_536, .. }), "{error:?}");
}

#[tokio::test]
async fn twenty_five_files_give_what_one_gives() {
    let run = async |tables: Tables| tables.lines("top_prescribers", &[("n", "3")]).await;
    let one = run(many(2_000, 1)).await;
    assert_eq!(one.len(), 6);
    assert_eq!(run(many(2_000, 25)).await, one);
}

#[tokio::test]
async fn files_may_have_any_name_and_rest_in_an_object_store() {
    let mut tables = many(10, 1);
    let expected = tables.lines("city_report", &[]).await;
    let odd = tables.folder.path().join("a b%25#?[x]*");
    std::fs::rename(tables.folder.path().join("prescribers"), &odd).unwrap();
    tables.files.insert("prescribers".into(), TableFiles::local([&odd]).unwrap());
    assert_eq!(tables.lines("city_report", &[]).await, expected);
    tables.files.insert("prescribers".into(), TableFiles::local([odd.join("000.parquet")]).unwrap());
    assert_eq!(tables.lines("city_report", &[]).await, expected);

    let store = Arc::new(InMemory::new());
    let bytes = std::fs::read(odd.join("000.parquet")).unwrap();
    store.put(&Path::from("sets/prescribers/1/part.parquet"), bytes.into()).await.unwrap();
    let stored = TableFiles::stored(store, Path::from("sets/prescribers/1"));
    tables.files.insert("prescribers".into(), stored);
    assert_eq!(tables.lines("city_report", &[]).await, expected);
}

#[tokio::test]
async fn files_that_are_no_tables_are_refused() {
    let mut tables = many(10, 1);
    let damaged = tables.folder.path().join("damaged.parquet");
    std::fs::write(&damaged, b"PAR1 and nothing else").unwrap();
    tables.files.insert("prescribers".into(), TableFiles::local([&damaged]).unwrap());
    assert!(matches!(tables.run("city_report", &[], &limits()).await, Err(Error::Engine(_))));

    let text = tables.folder.path().join("table.csv");
    File::create(&text).unwrap();
    assert!(matches!(TableFiles::local([&text]), Err(Error::Files(_))));
    assert!(matches!(TableFiles::local([tables.folder.path().join("none")]), Err(Error::Files(_))));

    // A table of another kind: its columns are not those that the report reads.
    let cities = TableFiles::local([tables.folder.path().join("cities")]).unwrap();
    tables.files.insert("prescribers".into(), cities);
    let error = tables.run("city_report", &[], &limits()).await.unwrap_err();
    assert!(matches!(error, Error::Schema { .. }), "{error:?}");
}

#[test]
fn a_report_that_uses_others_reads_their_tables() {
    let profile = Reports::find("state_profile").unwrap();
    for table in ["premiums", "sites", "hospitals", "life_expectancy"] {
        assert!(profile.tables.contains(table), "{table}");
    }
    assert_eq!(Reports::find("correlations_input").unwrap().tables, profile.tables);
}
