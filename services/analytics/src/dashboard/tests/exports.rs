//! Hospitals as files, read back.

use super::fixture::{Node, expected, hospitals_named, lines};
use datafusion::arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proto::analytics::v1::ExportHospitalsRequest;
use serde_json::Value;
use tonic::{Code, metadata::MetadataMap};

fn request(format: &str) -> ExportHospitalsRequest {
    ExportHospitalsRequest { format: format.to_owned(), ..ExportHospitalsRequest::default() }
}

#[tokio::test]
async fn three_formats_hold_the_same_hospitals() {
    let node = Node::of(&["hospitals"]).await;
    let (dashboard, expected) = (node.dashboard(), expected());
    let ccns: Vec<&str> = expected["lists"][0]["ccns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let csv = dashboard.export_hospitals(&request("")).await.ok().unwrap();
    assert_eq!(csv.content_type, "text/csv; charset=utf-8");
    let text = String::from_utf8(csv.data.to_vec()).unwrap();
    let (header, rows) = text.split_once("\r\n").unwrap();
    assert!(header.starts_with("ccn,vintage,name,address,"), "{header}");
    // no cell of the samples has a line break
    let found: Vec<&str> = rows.lines().map(|line| &line[..6]).collect();
    assert_eq!(found, ccns);

    let json = dashboard.export_hospitals(&request("json")).await.ok().unwrap();
    assert_eq!(json.content_type, "application/json");
    let json: Value = serde_json::from_slice(&json.data).unwrap();
    let found: Vec<&str> = json["rows"].as_array().unwrap().iter().filter_map(|row| row["ccn"].as_str()).collect();
    assert_eq!(found, ccns);
    assert_eq!(json["rows"][0]["latitude"], Value::Null, "nothing is not 0");

    let parquet = dashboard.export_hospitals(&request("parquet")).await.ok().unwrap();
    assert_eq!(parquet.content_type, "application/vnd.apache.parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet.data).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let column = |name: &str| {
        let of = |batch: &datafusion::arrow::array::RecordBatch| {
            let texts = batch.column_by_name(name).unwrap().as_string::<i32>();
            texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of).collect::<Vec<_>>()
    };
    assert_eq!(column("ccn"), ccns);
    let names: Vec<&str> = json["rows"].as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(column("name"), names);
}

#[tokio::test]
async fn filters_are_those_of_the_list_and_the_file_has_a_name() {
    let node = Node::of(&["hospitals"]).await;
    let dashboard = node.dashboard();
    let texas = ExportHospitalsRequest { state: "TX".into(), ..request("csv") };
    let file = dashboard.export_hospitals(&texas).await.ok().unwrap();
    assert_eq!(String::from_utf8_lossy(&file.data).lines().count(), 1 + 8);
    let mut metadata = MetadataMap::new();
    super::super::hospitals::name_file(&request("parquet"), &mut metadata);
    assert_eq!(metadata.get("content-disposition").unwrap(), "attachment; filename=\"hospitals.parquet\"");
    for (request, said) in [
        (request("xlsx"), "format: must be csv, json or parquet"),
        (ExportHospitalsRequest { state: "ZZ".into(), ..request("csv") }, "state: must be"),
        (
            ExportHospitalsRequest { ownership: "foo".into(), ..request("csv") },
            "ownership: must be one that a hospital",
        ),
    ] {
        let status = dashboard.export_hospitals(&request).await.err().unwrap();
        assert!(status.code() == Code::InvalidArgument && status.message().starts_with(said), "{status}");
    }
}

#[tokio::test]
async fn formats_and_stars_are_taken_as_far_as_the_options_say() {
    let node = Node::of(&["hospitals"]).await;
    let dashboard = node.dashboard();
    let message = proto::pool().unwrap().get_message_by_name("wardline.analytics.v1.ExportHospitalsRequest").unwrap();
    let limits = |field: &str| proto::resource::limits(&message.get_field_by_name(field).unwrap());
    let formats = limits("format").one_of;
    assert_eq!(formats.len(), 3);
    for format in formats {
        assert!(dashboard.export_hospitals(&request(&format)).await.is_ok(), "{format}");
    }
    let most = limits("min_rating").most.unwrap() as i32;
    for (min_rating, is_taken) in [(0, true), (most, true), (most + 1, false)] {
        let request = ExportHospitalsRequest { min_rating, ..request("csv") };
        assert_eq!(dashboard.export_hospitals(&request).await.is_ok(), is_taken, "{min_rating}");
    }
}

#[tokio::test]
async fn a_formula_becomes_a_text_and_a_number_stays_one() {
    let node = Node::empty();
    let text = hospitals_named(&["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "PLAIN"]);
    node.add_text("hospitals", "hospitals.csv", text).await;
    let file = node.dashboard().export_hospitals(&request("csv")).await.ok().unwrap();
    let text = String::from_utf8(file.data.to_vec()).unwrap();
    let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
    assert_eq!(names, ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(A1)", "PLAIN"]);
    assert!(text.contains(",4,"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_too_large_names_the_job_to_submit() {
    let (node, (header, row)) = (Node::empty(), lines());
    let address = "1108 ROSS CLARK CIRCLE";
    assert!(row.contains(address));
    let long = row.replace(address, &"LONG STREET ".repeat(80));
    let rows: Vec<_> = (0..7_000).map(|n| long.replacen("010001", &format!("{:06}", 10_000 + n), 1)).collect();
    node.add_text("hospitals", "hospitals.csv", format!("{header}\n{}\n", rows.join("\n"))).await;
    let dashboard = node.dashboard();
    for format in ["csv", "json"] {
        let status = dashboard.export_hospitals(&request(format)).await.err().unwrap();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("submit a job of the kind hospital_list"), "{status}");
    }
    // packed, it is small
    assert!(dashboard.export_hospitals(&request("parquet")).await.is_ok());
}
