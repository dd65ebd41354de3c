//! The formats, each from the same answer.

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::tables::{Tables, limits};
use crate::reports::{
    Error,
    output::{self, Format},
};

/// Prescribers of whom one has a suppressed count, and texts that a spreadsheet would calculate.
fn tables() -> Tables {
    let prescribers = "npi|state|city|specialty|years_of_experience|n_claims|drug_cost|n_claims_65|n_claims_65_reason
        A|TX|=1+2|Neurology, adult|20|50|-0.10|7|
        B|TX|-5|\"Dr\"|20|40|12345678901234.56||fewer than 11
        C|TX|@x|+y|20|30||8|";
    Tables::of(&[("prescribers", prescribers)])
}

async fn written(tables: &Tables, report: &str, given: &[(&str, &str)], format: Format) -> Vec<u8> {
    let answer = tables.run(report, given, &limits()).await.unwrap();
    let mut bytes = Vec::new();
    output::write(answer, format, &mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn json_keeps_money_as_text_and_describes_its_columns() {
    let bytes = written(&tables(), "top_prescribers", &[("n", "2")], Format::Json).await;
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["report"], "top_prescribers");
    assert_eq!(json["parameters"], serde_json::json!({"n": 2, "state": "all"}));
    assert_eq!(json["columns"][11]["name"], "drug_cost");
    assert_eq!(json["columns"][11]["type"], "decimal(18,2)");
    assert_eq!(json["columns"][11]["unit"], "USD");
    assert_eq!(json["rows"][1]["drug_cost"], "12345678901234.56");
    assert_eq!(json["rows"][1]["specialty"], "\"Dr\"");
    assert_eq!(json["rows"][1]["n_claims"], 40);
    assert_eq!(json["rows"][1]["n_claims_65"], serde_json::Value::Null);
    assert_eq!(json["rows"][1]["n_claims_65_reason"], "fewer than 11");
    assert_eq!(json["n_rows"], 2);
}

#[tokio::test]
async fn csv_has_no_formulas_and_negative_numbers_stay_numbers() {
    let bytes = written(&tables(), "top_prescribers", &[], Format::Csv).await;
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(lines[0].starts_with("state,rank,npi,"), "{}", lines[0]);
    assert_eq!(lines[1], "TX,1,A,,,,'=1+2,\"Neurology, adult\",20,50,0,-0.10,7,");
    assert_eq!(lines[2], "TX,2,B,,,,'-5,\"\"\"Dr\"\"\",20,40,0,12345678901234.56,,fewer than 11");
    assert_eq!(lines[3], "TX,3,C,,,,'@x,'+y,20,30,0,,8,");
    assert_eq!(lines[4..], [""]);
}

#[tokio::test]
async fn a_table_for_people_says_what_is_suppressed_and_has_units_in_its_headings() {
    let bytes = written(&tables(), "top_prescribers", &[("n", "2")], Format::Text).await;
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Prescribers with the most claims by state");
    assert!(lines[2].contains("years_of_experience [a]  n_claims  "), "{text}");
    assert!(lines[2].contains("    drug_cost [USD]  n_claims_65"), "{text}");
    assert!(lines[4].contains("             -0.10            7"), "{text}");
    assert!(lines[5].contains("12345678901234.56   suppressed  fewer than 11"), "{text}");
    assert_eq!(lines[7], "2 rows");
}

#[tokio::test]
async fn made_numbers_are_called_so_where_they_are_read() {
    let mut tables = tables();
    let plain = String::from_utf8(written(&tables, "top_prescribers", &[], Format::Text).await).unwrap();
    assert!(!plain.contains("made sample data"), "{plain}");
    let files = tables.files.remove("prescribers").unwrap().made(true);
    tables.files.insert("prescribers".into(), files);
    let text = String::from_utf8(written(&tables, "top_prescribers", &[], Format::Text).await).unwrap();
    assert_eq!(text.lines().nth(1), Some("made sample data: prescribers"), "{text}");
    let bytes = written(&tables, "top_prescribers", &[], Format::Json).await;
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["made_sample_data"], serde_json::json!(["prescribers"]));
}

#[tokio::test]
async fn parquet_comes_back_with_its_types_and_units() {
    let bytes = written(&tables(), "top_prescribers", &[], Format::Parquet).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let field = reader.schema().field_with_name("drug_cost").unwrap().clone();
    assert_eq!(field.metadata()["unit"], "USD");
    assert_eq!(field.data_type(), &datafusion::arrow::datatypes::DataType::Decimal128(18, 2));
    let n_rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(n_rows, 3);
}

#[tokio::test]
async fn an_empty_result_keeps_its_columns_in_each_format() {
    let tables = tables();
    let given = [("state", "GU")];
    let csv = String::from_utf8(written(&tables, "top_prescribers", &given, Format::Csv).await).unwrap();
    assert!(csv.starts_with("state,rank,") && csv.ends_with(",n_claims_65_reason\r\n"), "{csv}");
    let json: serde_json::Value =
        serde_json::from_slice(&written(&tables, "top_prescribers", &given, Format::Json).await).unwrap();
    assert_eq!((json["rows"].as_array().unwrap().len(), &json["n_rows"]), (0, &serde_json::json!(0)));
    let text = String::from_utf8(written(&tables, "top_prescribers", &given, Format::Text).await).unwrap();
    assert!(text.contains("state  rank  npi") && text.ends_with("\n0 rows\n"), "{text}");
    let parquet = Bytes::from(written(&tables, "top_prescribers", &given, Format::Parquet).await);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    assert_eq!(reader.schema().fields().len(), 14);
}

#[tokio::test]
async fn a_writer_that_fails_is_said() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let answer = tables().run("top_prescribers", &[], &limits()).await.unwrap();
    assert!(matches!(output::write(answer, Format::Csv, &mut Full).await, Err(Error::Write(_))));
    assert!("pdf".parse::<Format>().unwrap_err().contains("json, csv, parquet or table"));
}
