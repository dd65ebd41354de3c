//! Statements over a small archive: who reads what, what is refused, and what is written down.

use super::{Statements, Turns, told};
use crate::{
    extracts::tests::fixture::{DOCTOR, NOW, SCIENTIST, THEN, Ward, good, name, names, patient, pulse},
    reports::Limits,
};
use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::DataType,
};
use futures::TryStreamExt;
use model::{
    Nanos, UserId,
    access::{Identity, Principal, Subject},
};
use std::{sync::Arc, time::Duration};
use tonic::{Code, Status};
use uuid::Uuid;

fn statements(ward: &Ward) -> Statements {
    Statements {
        runner: ward.studies.runner.clone(),
        decisions: ward.studies.decisions.clone(),
        names: Some(Arc::new(names())),
        tolerance: ward.studies.tolerance,
        limits: Limits { n_rows: 100_000, memory_bytes: 64 << 20, ..Limits::default() },
        time: Duration::from_secs(20),
        turns: Turns::new(2),
    }
}

fn caller(ward: &Ward, user: Uuid) -> Principal {
    let subject = Subject::User(UserId::new(user));
    let identity = Identity { subject, scope: None, issued_at: NOW, expires_at: Nanos::MAX };
    ward.studies.decisions.directory().principal(&identity, None)
}

async fn asked(ward: &Ward, user: Uuid, sql: &str) -> Result<RecordBatch, Status> {
    let planned = statements(ward).plan(&caller(ward, user), sql).await?;
    let schema = planned.schema().clone();
    let batches: Vec<_> = planned.run()?.try_collect().await?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// Rows, their cells with bars between them.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let texts: Vec<_> = rows.columns().iter().map(|column| cast(column, &DataType::Utf8).unwrap()).collect();
    let cell = |column: &Arc<dyn datafusion::arrow::array::Array>, row| column.as_string::<i32>().value(row).to_owned();
    (0..rows.num_rows()).map(|row| texts.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|")).collect()
}

async fn ward() -> Ward {
    let ward = Ward::new(3);
    let first = good(&[(10, 60.0), (3_700, 61.0)]);
    ward.archive(&[
        pulse(1, (1, 1), 100_000, &first),
        pulse(2, (2, 1), 100_000, &good(&[(5, 70.0), (86_405, 71.0)])),
        pulse(3, (3, 1), 100_000, &good(&[(5, 80.0)])),
        // once more, in another stream
        pulse(1, (9, 1), 200_000, &first),
        // nobody's of the study, and nobody's patient
        pulse(4, (4, 1), 100_000, &good(&[(5, 90.0)])),
    ])
    .await;
    ward
}

#[tokio::test]
async fn a_scientist_reads_subjects_and_a_doctor_patients_each_reading_once() {
    let ward = ward().await;
    let of_study =
        "SELECT subject_id, avg(value) AS mean, count(*) AS n FROM heart.readings WHERE good GROUP BY 1 ORDER BY 1";
    let mut expected =
        vec![format!("{}|60.5|2", name(1)), format!("{}|70.5|2", name(2)), format!("{}|80.0|1", name(3))];
    expected.sort();
    assert_eq!(lines(&asked(&ward, SCIENTIST, of_study).await.unwrap()), expected);
    let at = (THEN.plus(5 * Nanos::SECOND - names().moved_by("heart", patient(3))).0 / 1_000).to_string();
    let when = format!(
        "SELECT arrow_cast(measured_at, 'Int64') = {at} AS is_then FROM heart.readings WHERE subject_id = '{}'",
        name(3)
    );
    assert_eq!(lines(&asked(&ward, SCIENTIST, &when).await.unwrap()), ["true"]);
    let of_patients = "SELECT patient_id, value FROM readings WHERE metric = '8867-4' ORDER BY measured_at";
    let id = patient(2).uuid();
    let doctors = asked(&ward, DOCTOR, of_patients).await.unwrap();
    assert_eq!(lines(&doctors), [format!("{id}|70.0"), format!("{id}|71.0")]);
    // neither reads what the other does
    for (user, sql) in [(SCIENTIST, "SELECT * FROM readings"), (DOCTOR, "SELECT * FROM heart.readings")] {
        let refused = asked(&ward, user, sql).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    }
    ward.take_part(1..=1);
    assert_eq!(asked(&ward, SCIENTIST, of_study).await.unwrap().num_rows(), 1, "who has left is gone at once");
}

#[tokio::test]
async fn only_what_the_conditions_leave_is_read_and_written_down() {
    let ward = ward().await;
    let written = |ward: &Ward| -> Vec<_> {
        let events = std::mem::take(&mut *ward.written.0.lock().unwrap());
        events.into_iter().map(|event| (event.patient, event.detail.to_string())).collect()
    };
    let sql = format!("SELECT count(*) FROM heart.readings WHERE subject_id IN ('{}', 'nobody')", name(2));
    assert_eq!(lines(&asked(&ward, SCIENTIST, &sql).await.unwrap()), ["2"]);
    let said = format!("sql {sql}");
    assert_eq!(written(&ward), [(None, said), (Some(patient(2)), "sql".to_owned())]);
    let day = "measured_at >= '2027-03-23' AND measured_at < '2027-03-24'";
    for (condition, n) in [
        ("metric = '59408-5'", 0),
        ("metric IN ('8867-4', '59408-5')", 2),
        ("value > 70.5", 1),
        ("measured_at < '1990-01-01'", 0),
        (day, 1),
    ] {
        let sql = format!("SELECT count(*) FROM readings WHERE {condition}");
        assert_eq!(lines(&asked(&ward, DOCTOR, &sql).await.unwrap()), [n.to_string()], "{condition}");
    }
    // of nothing nobody is shown
    written(&ward);
    asked(&ward, DOCTOR, "SELECT * FROM readings WHERE metric = 'no such'").await.unwrap();
    assert_eq!(written(&ward).len(), 1);
}

#[tokio::test]
async fn what_is_no_select_of_ones_own_tables_is_refused_and_written_down() {
    let ward = ward().await;
    let hostile = [
        "",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "INSERT INTO readings VALUES (1)",
        "UPDATE readings SET value = 0",
        "DELETE FROM readings",
        "DROP TABLE readings",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW v AS SELECT * FROM readings",
        "COPY (SELECT 1) TO '/tmp/out.csv'",
        "COPY readings FROM '/etc/passwd'",
        "SELECT 1 INTO t",
        "SELECT repeat('x', 800000000)",
        "SELECT length(replace(repeat('a', 100000), 'a', repeat('b', 8000)))",
        "SELECT lpad('x', 800000000, 'y')",
        "SET datafusion.execution.target_partitions = 64",
        "SHOW ALL",
        "EXPLAIN ANALYZE SELECT * FROM readings",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM pg_catalog.pg_user",
        "SELECT * FROM datafusion.public.readings",
        "SELECT * FROM counted_readings",
        "SELECT * FROM residences",
        "SELECT * FROM audit_counts",
        "SELECT * FROM other.readings",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_sleep(1000)",
        "SELECT * FROM readings FOR UPDATE",
        "WITH t AS (DELETE FROM readings RETURNING *) SELECT * FROM t",
        "LOAD 'module'",
        "CALL something()",
        "PREPARE p AS SELECT 1",
        "DO $$ BEGIN END $$",
    ];
    // of who may read nothing not even the grammar is looked at
    let stranger = caller(&ward, Uuid::from_u128(99));
    for sql in ["SELECT 1", "SELEC"] {
        let refused = statements(&ward).described(&stranger, sql).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    for sql in hostile {
        let refused = asked(&ward, DOCTOR, sql).await.unwrap_err();
        let is_refused = matches!(refused.code(), Code::InvalidArgument | Code::NotFound | Code::ResourceExhausted);
        assert!(is_refused, "{sql}: {refused:?}");
        assert!(!refused.message().is_empty(), "{sql}");
        let last = ward.written.0.lock().unwrap().pop().unwrap();
        // what fails when it is run was written down before
        let refusal = Some(&refused).filter(|refused| refused.code() != Code::ResourceExhausted);
        assert_eq!(last.detail.to_string(), told(sql, refusal), "each is in the audit log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_much_ends_at_its_limit() {
    let ward = ward().await;
    let mut statements = statements(&ward);
    statements.time = Duration::from_secs(2);
    for sql in [
        "SELECT * FROM generate_series(1, 100000000)",
        "SELECT count(*) FROM generate_series(1, 1000) a CROSS JOIN generate_series(1, 1000000000) b",
        "SELECT array_agg(repeat(CAST(value AS TEXT), 1000)) FROM generate_series(1, 10000000)",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    ] {
        let planned = statements.plan(&caller(&ward, DOCTOR), sql).await;
        let ended = match planned {
            Ok(planned) => match planned.run() {
                Ok(rows) => rows.try_for_each(|_| std::future::ready(Ok(()))).await.unwrap_err(),
                Err(status) => status,
            },
            Err(status) => status,
        };
        assert!(matches!(ended.code(), Code::ResourceExhausted | Code::DeadlineExceeded), "{sql}: {ended:?}");
    }
}
