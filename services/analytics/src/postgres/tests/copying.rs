//! What is in the database after each run.

use super::cluster::Cluster;
use crate::{
    catalogue::Catalogue,
    import::Import,
    jobs::{
        kinds::{Failure, Kind, Parameters, checked},
        work::Work,
    },
    objects::Objects,
    postgres::{CopyPostgres, Gone, Postgres},
    reporting::Runner,
    reports::Limits,
    sources::{Source, SourceLocation, Sources},
    uploads::Uploads,
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;

const FIRST: &[&str] = &["Location,2020,2021,2022,2023,2024", "Texas,$1,$2,$3,$4,$5", "Ohio,$10,$20,$30,$40,$50"];

/// A file of premiums that is imported, and copied from there.
struct Bench {
    _dir: TempDir,
    file: PathBuf,
    import: Import,
}

impl Bench {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("premiums.csv");
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let place = SourceLocation::Path(file.clone(), Duration::from_secs(60));
        let import = Import {
            catalogue: Catalogue::new(store, objects.clone(), guard::clock::now),
            uploads: Uploads::new(objects, guard::clock::now),
            sources: Sources(vec![Source { name: "file".to_owned(), kind: "premiums".to_owned(), place }]),
            clock: guard::clock::now,
        };
        let bench = Self { _dir: dir, file, import };
        bench.import(FIRST).await;
        bench
    }

    async fn import(&self, lines: &[&str]) {
        fs::write(&self.file, lines.join("\n") + "\n").unwrap();
        run(&self.import, &[("kind", "premiums"), ("source", "file")], true).await.unwrap();
    }

    async fn copy(&self, to: Postgres, tables: &str) -> Result<Value, Failure> {
        self.copy_if(to, tables, true).await
    }

    async fn copy_if(&self, to: Postgres, tables: &str, is_ours: bool) -> Result<Value, Failure> {
        let runner = Runner::new(self.import.catalogue.clone(), Limits { n_partitions: 1, ..Limits::default() });
        run(&CopyPostgres::new(runner, to).unwrap(), &[("tables", tables)], is_ours).await
    }
}

async fn run(kind: &dyn Kind, given: &[(&str, &str)], is_ours: bool) -> Result<Value, Failure> {
    let given: Parameters = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parameters = checked(&kind.parameters(), &given).unwrap();
    Ok(kind.run(&Work::alone(is_ours), &parameters).await?.result)
}

fn counts(table: &str, [copied, inserted, updated, gone]: [u64; 4]) -> Value {
    json!({ "table": format!("public.{table}"), "copied": copied, "inserted": inserted, "updated": updated, "gone": gone })
}

fn only(table: &str, numbers: [u64; 4]) -> Value {
    json!({ "tables": [counts(table, numbers)], "left_out": [] })
}

const ROWS: &str = "SELECT state, year, monthly_premium FROM premiums ORDER BY state, year";

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_gets_what_is_new_and_what_is_other() {
    let (cluster, bench) = (Cluster::start().await, Bench::new().await);
    let copy = async |gone| bench.copy(Postgres { gone, ..cluster.settings() }, "premiums").await.unwrap();
    let both = bench.copy(cluster.settings_with_tls(), "premium_trends,premiums").await.unwrap();
    let expected = ["premium_trends", "premiums"].map(|table| counts(table, [10, 10, 0, 0]));
    assert_eq!(both, json!({ "tables": expected, "left_out": [] }));
    assert_eq!(cluster.ask(ROWS).await[..2], ["OH|2020|10.00", "OH|2021|20.00"]);
    let trends = "SELECT change, change_percent, change_since_first_percent FROM premium_trends WHERE state = 'OH' \
                  ORDER BY year LIMIT 2";
    assert_eq!(cluster.ask(trends).await, ["null|null|0", "10.00|100|100"]);
    assert_eq!(copy(Gone::Keep).await, only("premiums", [10, 0, 0, 0]), "nothing has changed");
    // those of the settings: of one, nothing is imported
    let named = bench.copy(cluster.settings(), "-").await.unwrap();
    assert_eq!(named, json!({ "tables": [counts("premium_trends", [10, 0, 0, 0])], "left_out": ["quality"] }));
    // a number is another one, a state is new, a state is gone
    bench.import(&[FIRST[0], "Texas,$1,$2,$3,$4,$6", "Iowa,$7,$7,$7,$7,$7"]).await;
    assert_eq!(copy(Gone::Keep).await, only("premiums", [10, 5, 1, 0]));
    assert_eq!(cluster.ask("SELECT count(*) FROM premiums").await, ["15"]);
    assert_eq!(copy(Gone::Mark).await, only("premiums", [10, 0, 0, 5]));
    let marked = "SELECT state, count(*) FROM premiums WHERE gone_at IS NOT NULL GROUP BY state";
    assert_eq!(cluster.ask(marked).await, ["OH|5"]);
    assert_eq!(copy(Gone::Mark).await, only("premiums", [10, 0, 0, 0]), "marked once");
    bench.import(FIRST).await;
    assert_eq!(copy(Gone::Mark).await, only("premiums", [10, 0, 6, 5]), "what came back is not gone any more");
    assert_eq!(cluster.ask(marked).await, ["IA|5"]);
    assert_eq!(copy(Gone::Delete).await, only("premiums", [10, 0, 0, 5]));
    assert_eq!(cluster.ask("SELECT DISTINCT state FROM premiums ORDER BY state").await, ["OH", "TX"]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_keeps_the_old_rows_of_a_run_that_fails() {
    let (cluster, bench) = (Cluster::start().await, Bench::new().await);
    let tables = "premium_trends,premiums";
    bench.copy(cluster.settings(), tables).await.unwrap();
    bench.import(&[FIRST[0], "Texas,$1,$2,$3,$4,$999"]).await;
    let before = cluster.ask(ROWS).await;
    let after = async |failed: Result<Value, Failure>, text: &str, again: bool| {
        let error = failed.unwrap_err();
        assert!(error.to_string().contains(text) && again == matches!(error, Failure::Again(_)), "{error:?}");
        assert_eq!(cluster.ask(ROWS).await, before, "{text}");
        assert_eq!(cluster.ask("SELECT max(monthly_premium) FROM premium_trends").await, ["50.00"], "{text}");
        // nothing of the run is left
        let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'";
        while cluster.ask(open).await != ["0"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let delete = Postgres { gone: Gone::Delete, ..cluster.settings() };
    after(bench.copy_if(delete.clone(), tables, false).await, "not this worker's", true).await;
    cluster.ask("ALTER TABLE premiums ADD CHECK (monthly_premium < 900)").await;
    after(bench.copy(delete.clone(), tables).await, "23514", false).await;
    cluster.ask("ALTER TABLE premiums ADD note text, ALTER year TYPE integer").await;
    let other = "public.premiums has other columns: year is integer, not bigint; note text is too much";
    after(bench.copy(delete.clone(), tables).await, other, false).await;
    cluster
        .ask("ALTER TABLE premiums DROP note, ALTER year TYPE bigint, DROP CONSTRAINT premiums_state_year_key")
        .await;
    cluster.ask("CREATE UNIQUE INDEX ON premiums (state, year) NULLS NOT DISTINCT WHERE year > 2000").await;
    after(bench.copy(delete.clone(), tables).await, "no UNIQUE NULLS NOT DISTINCT (state, year)", false).await;
    let stranger = Postgres { password: "other".to_owned(), ..delete.clone() };
    after(bench.copy(stranger, tables).await, "28P01", false).await;
    let silent = Postgres { password: String::new(), ..delete.clone() };
    after(bench.copy(silent, tables).await, "password_file", false).await;
    let elsewhere = Postgres { host: "/nowhere".to_owned(), ..delete.clone() };
    after(bench.copy(elsewhere, tables).await, "cannot be reached", true).await;
    let unknown = Postgres { ca_file: None, ..cluster.settings_with_tls() };
    after(bench.copy(unknown, tables).await, "certificate", true).await;
    let schema = Postgres { schema: "nowhere".to_owned(), ..delete };
    after(bench.copy(schema, tables).await, "schema \"nowhere\" does not exist", false).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_takes_every_report_and_kind_that_can_be_copied() {
    use crate::postgres::table::Table;
    use crate::{datasets, reports::Reports};
    let cluster = Cluster::start().await;
    let kinds = datasets::kinds().iter().filter(|kind| !kind.key.is_empty());
    let tables = Reports::all().map(|report| Table::of_report("public", report));
    for table in tables.chain(kinds.map(|kind| Table::of_kind("public", kind))) {
        let mut connected = cluster.settings().connect().await.unwrap();
        let transaction = connected.client.transaction().await.unwrap();
        // made, and found to fit when it is there already
        for _ in 0..2 {
            for gone in [Gone::Keep, Gone::Mark, Gone::Delete] {
                crate::postgres::copy::ready(&transaction, &table, gone).await.unwrap();
                transaction.batch_execute(&table.create_staging()).await.unwrap();
                transaction.query_one(&table.duplicates(), &[]).await.unwrap();
                transaction.query_one(&table.upsert(gone), &[]).await.unwrap();
                if let Some(statement) = table.gone(gone) {
                    assert_eq!(transaction.execute(&statement, &[]).await.unwrap(), 0);
                }
                transaction.batch_execute(&format!("DROP TABLE pg_temp.\"copied_{}\"", table.name)).await.unwrap();
            }
        }
        transaction.commit().await.unwrap();
    }
}
