//! Hospitals: in pages, one by one, and as a file.

use super::{
    Dashboard,
    filters::{Filters, digest},
    of_report, report,
    token::Token,
    versions,
};
use crate::{
    answers::{failed, written},
    reporting::Snapshot,
    reports::{Row, output::Format},
    results,
};
use guard::pages;
use prost::Message;
use proto::{
    analytics::v1::{
        ExportHospitalsRequest, GetHospitalResponse, Hospital, HospitalMeasures, HospitalReadmissions,
        ListHospitalsRequest, ListHospitalsResponse,
    },
    google::api::HttpBody,
    problem,
};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use uuid::Uuid;

const LIST: &str = "hospital_list";
const MEASURES: &str = "hospital_measures";
const READMISSIONS: &str = "hospital_readmissions";
/// The kind of data set whose version a page token belongs to.
const KIND: &str = "hospitals";
/// Default and most of a page.
const PAGE: (usize, usize) = (50, 500);
/// Characters of a CMS certification number.
const CCN_CHARS: usize = 6;
/// Most types or owners that a refusal names: it has to fit into a header.
const NAMED_MAX: usize = 20;

impl Dashboard {
    pub(super) async fn list_hospitals(&self, request: ListHospitalsRequest) -> Result<ListHospitalsResponse, Status> {
        let (size, list) = (pages::size(request.page_size, PAGE)?, report(LIST)?);
        let given = Filters::from(&request).parameters(list)?;
        let filters = digest(&given);
        let token = Token::read(&request.page_token, filters)?;
        let snapshot = self.runner.snapshot(&list.tables).await.map_err(failed)?;
        let data_version = snapshot.versions().get(KIND).cloned().unwrap_or_default();
        if let Some(token) = &token {
            token.check_version(&data_version)?;
        }
        let parameters = list.check(&given).map_err(of_report)?;
        let mut answer = self.runner.run_on(&snapshot, list, parameters, None).await.map_err(of_report)?;
        // all are counted, and no more are kept than a page has
        let (mut total_size, mut page) = (0, Vec::new());
        while let Some(batch) = answer.next().await.map_err(of_report)? {
            total_size += u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
            let left = Row::all(list, &batch)
                .filter(|row| token.as_ref().is_none_or(|token| row.text("ccn") > token.after))
                .take(size + 1 - page.len());
            page.extend(left.map(|row| hospital(&row)));
        }
        if total_size == 0 {
            self.check_known(&snapshot, &given).await?;
        }
        let (hospitals, last) =
            pages::page(page.into_iter(), size, Hospital::encoded_len, |hospital| hospital.facility_id.clone());
        let next = |version: Uuid| Token { version, filters, after: last.clone() }.written();
        let next_page_token = match last.is_empty() {
            true => String::new(),
            false => data_version.parse().map(next).unwrap_or_default(),
        };
        Ok(ListHospitalsResponse { hospitals, next_page_token, total_size, data_version })
    }

    pub(super) async fn get_hospital(&self, facility_id: &str) -> Result<GetHospitalResponse, Status> {
        let ccn = facility_id.to_ascii_uppercase();
        if ccn.len() != CCN_CHARS || !ccn.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(not_found());
        }
        let (list, of_measures, of_readmissions) = (report(LIST)?, report(MEASURES)?, report(READMISSIONS)?);
        let snapshot = self.runner.snapshot(list.tables.union(&of_readmissions.tables)).await.map_err(failed)?;
        let (snapshot, not_imported) = snapshot.with_empty(&of_readmissions.tables).map_err(of_report)?;
        let given = [("ccn".to_owned(), ccn)].into();
        let hospital = self.rows(&snapshot, list, &given, hospital).await?.pop().ok_or_else(not_found)?;
        Ok(GetHospitalResponse {
            hospital: Some(hospital),
            measures: self.rows(&snapshot, of_measures, &given, measures).await?,
            readmissions: self.rows(&snapshot, of_readmissions, &given, readmissions).await?,
            data_versions: versions(&snapshot),
            not_imported,
        })
    }

    pub(super) async fn export_hospitals(&self, request: &ExportHospitalsRequest) -> Result<HttpBody, Status> {
        let (_, format) = format(request)?;
        let list = report(LIST)?;
        let given = Filters::from(request).parameters(list)?;
        let snapshot = self.runner.snapshot(&list.tables).await.map_err(failed)?;
        self.check_known(&snapshot, &given).await?;
        let parameters = list.check(&given).map_err(of_report)?;
        let answer = self.runner.run_on(&snapshot, list, parameters, None).await.map_err(of_report)?;
        let (data, _) = written(answer, format).await?;
        let content_type = results::media_type(format).to_owned();
        Ok(HttpBody { content_type, data: data.into(), extensions: Vec::new() })
    }

    /// Refuses a type and an owner that no hospital of the newest release has: a word spelled otherwise is no empty list.
    async fn check_known(&self, snapshot: &Snapshot, given: &BTreeMap<String, String>) -> Result<(), Status> {
        let mut wrong = Vec::new();
        for (field, column) in [("type", "hospital_type"), ("ownership", "ownership")] {
            let Some(asked) = given.get(column).map(|asked| asked.to_lowercase()) else { continue };
            let all = self.rows(snapshot, report(LIST)?, &BTreeMap::new(), |row: &Row<'_>| row.text(column)).await?;
            let known: BTreeSet<String> = all.into_iter().collect();
            if !known.iter().any(|known| known.to_lowercase() == asked) {
                let known: Vec<_> = known.into_iter().take(NAMED_MAX).collect();
                let text = format!("must be one that a hospital of the newest release has: {}", known.join(", "));
                wrong.push((field.to_owned(), text));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(problem::invalid_fields("INVALID_FILTER", &wrong)) }
    }
}

/// Says what the file is to be called.
pub(super) fn name_file(request: &ExportHospitalsRequest, metadata: &mut MetadataMap) {
    let named = format(request).map(|(ending, _)| format!("attachment; filename=\"hospitals.{ending}\""));
    if let Some(Ok(value)) = named.ok().map(MetadataValue::try_from) {
        metadata.insert("content-disposition", value);
    }
}

/// The ending of a file's name, and its format.
fn format(request: &ExportHospitalsRequest) -> Result<(&'static str, Format), Status> {
    match request.format.as_str() {
        "" | "csv" => Ok(("csv", Format::Csv)),
        "json" => Ok(("json", Format::Json)),
        "parquet" => Ok(("parquet", Format::Parquet)),
        _ => Err(problem::invalid("INVALID_FORMAT", "format", "must be csv, json or parquet")),
    }
}

fn not_found() -> Status {
    let text = "no hospital of the newest release has this certification number";
    problem::field(Code::NotFound, "NOT_FOUND", "facility_id", text)
}

fn hospital(row: &Row<'_>) -> Hospital {
    Hospital {
        facility_id: row.text("ccn"),
        vintage: row.text("vintage"),
        name: row.text("name"),
        address: row.known("address"),
        city: row.text("city"),
        state: row.text("state"),
        zip5: row.known("zip5"),
        county: row.known("county"),
        phone: row.known("phone"),
        r#type: row.text("hospital_type"),
        ownership: row.text("ownership"),
        emergency_services: row.flag("emergency"),
        rating: row.count("overall_rating"),
        rating_footnote: row.known("overall_rating_footnote"),
        interoperability: row.flag("interoperability"),
        birthing_friendly: row.flag("birthing_friendly"),
        latitude: row.number("latitude"),
        longitude: row.number("longitude"),
    }
}

fn measures(row: &Row<'_>) -> HospitalMeasures {
    HospitalMeasures {
        group: row.text("measures"),
        comparison: row.known("comparison"),
        n_measures: row.count("n_measures"),
        n_better: row.count("n_better"),
        n_same: row.count("n_same"),
        n_worse: row.count("n_worse"),
        footnote: row.known("footnote"),
    }
}

fn readmissions(row: &Row<'_>) -> HospitalReadmissions {
    HospitalReadmissions {
        measure: row.text("measure"),
        start_date: row.text("starts_on"),
        end_date: row.text("ends_on"),
        n_discharges: row.count("n_discharges"),
        n_readmissions: row.count("n_readmissions"),
        n_readmissions_reason: row.known("n_readmissions_reason"),
        excess_ratio: row.number("excess_ratio"),
        predicted_percent: row.number("predicted_percent"),
        expected_percent: row.number("expected_percent"),
        footnote: row.known("footnote"),
    }
}
