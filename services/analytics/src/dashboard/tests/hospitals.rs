//! Hospitals: what filters leave, pages, one by one.

use super::{
    super::Dashboard,
    fixture::{Node, close, expected, hospitals_named},
};
use proto::analytics::v1::{Hospital, ListHospitalsRequest};
use serde_json::Value;
use std::collections::BTreeSet;
use tonic::{Code, Status};

/// A request with these filters.
fn request(filters: &Value) -> ListHospitalsRequest {
    let text = |name: &str| filters[name].as_str().unwrap_or_default().to_owned();
    ListHospitalsRequest {
        state: text("state"),
        r#type: text("type"),
        ownership: text("ownership"),
        min_rating: filters["min_rating"].as_i64().unwrap_or_default().try_into().unwrap(),
        emergency_services: filters["emergency_services"].as_bool(),
        name_contains: text("name_contains"),
        ..ListHospitalsRequest::default()
    }
}

/// Every page, and the number that each of them says there are in all.
async fn pages(dashboard: &Dashboard, mut request: ListHospitalsRequest) -> (Vec<Vec<Hospital>>, BTreeSet<u32>) {
    let (mut pages, mut totals) = (Vec::new(), BTreeSet::new());
    loop {
        let page = dashboard.list_hospitals(request.clone()).await.map_err(|status| status.to_string()).unwrap();
        totals.insert(page.total_size);
        pages.push(page.hospitals);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (pages, totals);
        }
    }
}

async fn refused(dashboard: &Dashboard, request: ListHospitalsRequest) -> Status {
    dashboard.list_hospitals(request).await.err().expect("it is not refused")
}

#[tokio::test]
async fn each_filter_leaves_what_it_should_and_pages_have_all_of_it_once() {
    let (node, expected) = (Node::of(&["hospitals"]).await, expected());
    let dashboard = node.dashboard();
    for case in expected["lists"].as_array().unwrap() {
        let (filters, ccns) = (&case["filters"], case["ccns"].as_array().unwrap());
        for page_size in [500, 50, 7] {
            let (pages, totals) = pages(&dashboard, ListHospitalsRequest { page_size, ..request(filters) }).await;
            let all: Vec<Value> = pages.concat().iter().map(|hospital| hospital.facility_id.clone().into()).collect();
            assert_eq!((&all, totals), (ccns, BTreeSet::from([ccns.len() as u32])), "{filters} by {page_size}");
            let full = pages.iter().rev().skip(1).all(|page| page.len() == page_size as usize);
            assert!(full && pages.iter().all(|page| page.len() <= page_size as usize), "{filters} by {page_size}");
        }
    }
    let first = dashboard.list_hospitals(ListHospitalsRequest::default()).await.ok().unwrap();
    assert_eq!(first.hospitals.len(), 50, "the default");
    let current = node.catalogue.get("hospitals").await.unwrap().current().unwrap().id;
    assert_eq!(first.data_version, current.to_string());
    assert!(first.hospitals.iter().all(|hospital| hospital.vintage == "2025"));
}

#[tokio::test]
async fn a_value_that_cannot_be_is_refused_by_its_field() {
    let node = Node::of(&["hospitals"]).await;
    let dashboard = node.dashboard();
    let base = ListHospitalsRequest::default;
    for (request, said) in [
        (
            ListHospitalsRequest { state: "ZZ".into(), ..base() },
            "state: must be the postal code of a state or territory, such as TX",
        ),
        (ListHospitalsRequest { state: "all".into(), ..base() }, "state: leave it out for all"),
        (ListHospitalsRequest { r#type: "x".repeat(101), ..base() }, "type: must be a text of 1 to 100 characters"),
        (ListHospitalsRequest { ownership: "a\nb".into(), ..base() }, "ownership: must be a text"),
        (ListHospitalsRequest { min_rating: 6, ..base() }, "min_rating: must be a whole number from 0 to 5"),
        (ListHospitalsRequest { min_rating: -1, ..base() }, "min_rating: must be a whole number from 0 to 5"),
        (ListHospitalsRequest { name_contains: "x".repeat(101), ..base() }, "name_contains: must be a text"),
        (ListHospitalsRequest { name_contains: "a\u{202e}b".into(), ..base() }, "name_contains: must be a text"),
        (ListHospitalsRequest { r#type: "acute".into(), ..base() }, "type: must be one that a hospital"),
        (ListHospitalsRequest { ownership: "foo".into(), ..base() }, "ownership: must be one that a hospital"),
        (ListHospitalsRequest { page_size: -1, ..base() }, "page_size: "),
        (ListHospitalsRequest { page_token: "010001".into(), ..base() }, "page_token: must be the next_page_token"),
    ] {
        let status = refused(&dashboard, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{said}");
        assert!(status.message().starts_with(said), "{}", status.message());
    }
    let two = ListHospitalsRequest { state: "Texas".into(), min_rating: 9, ..base() };
    let status = refused(&dashboard, two).await;
    assert!(status.message().contains("state: ") && status.message().contains("; min_rating: "), "{status}");
    let unknown = ListHospitalsRequest { r#type: "acute".into(), ownership: "PROPRIETARY".into(), ..base() };
    let status = refused(&dashboard, unknown).await;
    assert!(
        status.message().contains("Acute Care Hospitals, ") && !status.message().contains("ownership: "),
        "{status}"
    );
    let none =
        ListHospitalsRequest { r#type: "Acute Care Hospitals".into(), name_contains: "no such name".into(), ..base() };
    assert_eq!(dashboard.list_hospitals(none).await.ok().unwrap().total_size, 0, "known, and none is left");
}

#[tokio::test]
async fn a_part_of_a_name_is_taken_as_it_is_written() {
    let node = Node::empty();
    let text = hospitals_named(&["A_B", "AXB", "50% CARE", "50X CARE", "A\\B", "ST. \u{c9}LOI'S"]);
    node.add_text("hospitals", "hospitals.csv", text).await;
    let dashboard = node.dashboard();
    for (part, name) in
        [("a_b", "A_B"), ("0%", "50% CARE"), ("\\", "A\\B"), ("\u{e9}loi's", "ST. \u{c9}LOI'S"), (" CARE", "50% CARE")]
    {
        let request = ListHospitalsRequest { name_contains: part.into(), ..Default::default() };
        let found = dashboard.list_hospitals(request).await.ok().unwrap();
        assert_eq!(found.hospitals.first().map(|hospital| hospital.name.as_str()), Some(name), "{part}");
        assert_eq!(found.total_size, if part == " CARE" { 2 } else { 1 }, "{part}");
    }
}

#[tokio::test]
async fn a_page_goes_on_only_in_its_own_version_and_with_its_own_filters() {
    let node = Node::of(&["hospitals"]).await;
    let dashboard = node.dashboard();
    let texas = ListHospitalsRequest { state: "TX".into(), page_size: 3, ..Default::default() };
    let page_token = dashboard.list_hospitals(texas.clone()).await.ok().unwrap().next_page_token;
    let other = ListHospitalsRequest { page_token: page_token.clone(), page_size: 3, ..Default::default() };
    let status = refused(&dashboard, other).await;
    assert!(status.code() == Code::InvalidArgument && status.message().contains("other filters"), "{status}");
    // another size of page is no other list
    let rest = ListHospitalsRequest { page_token: page_token.clone(), page_size: 500, ..texas.clone() };
    assert_eq!(dashboard.list_hospitals(rest.clone()).await.ok().unwrap().hospitals.len(), 5);
    let older = node.catalogue.get("hospitals").await.unwrap().current().unwrap().id;
    node.add_samples("hospitals").await;
    let status = refused(&dashboard, rest.clone()).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains(&older.to_string()) && status.message().contains("begin anew"), "{status}");
    node.catalogue.set_current("hospitals", older, "user:a").await.unwrap();
    assert_eq!(dashboard.list_hospitals(rest).await.ok().unwrap().hospitals.len(), 5);
}

#[tokio::test]
async fn one_hospital_has_its_measures_and_its_readmissions() {
    let node = Node::of(&["hospitals", "readmissions"]).await;
    let (dashboard, expected) = (node.dashboard(), expected());
    let expected = &expected["one"];
    let found = dashboard.get_hospital("010001").await.ok().unwrap();
    let hospital = found.hospital.unwrap();
    let said = [hospital.name.as_str(), &hospital.city, hospital.county()].map(Value::from);
    assert_eq!(said, ["name", "city", "county"].map(|name| expected[name].clone()));
    assert_eq!((hospital.rating, hospital.emergency_services), (Some(4), Some(true)));
    assert_eq!((hospital.interoperability, hospital.latitude), (None, None), "of the release of 2020");
    for name in ["mortality", "readmission"] {
        let group = found.measures.iter().find(|group| group.group == name).unwrap();
        let said = [group.n_measures, group.n_better, group.n_same, group.n_worse].map(Value::from);
        assert_eq!(said, ["n_measures", "n_better", "n_same", "n_worse"].map(|key| expected[name][key].clone()));
    }
    let lines = expected["readmissions"].as_array().unwrap();
    assert_eq!(found.readmissions.len(), lines.len());
    for (found, expected) in found.readmissions.iter().zip(lines) {
        assert_eq!(Value::from(found.measure.as_str()), expected["measure"]);
        assert_eq!(Value::from(found.n_discharges), expected["n_discharges"], "{}", found.measure);
        assert_eq!(Value::from(found.n_readmissions_reason.is_some()), expected["withheld"]);
        assert_eq!(found.n_readmissions.is_none(), found.n_readmissions_reason.is_some(), "withheld is not 0");
        close(found.excess_ratio(), &expected["excess_ratio"], &found.measure);
        assert_eq!((found.start_date.as_str(), found.end_date.as_str()), ("2020-07-01", "2023-06-30"));
    }
    assert!(found.not_imported.is_empty() && found.data_versions.len() == 2);
    assert!(dashboard.get_hospital("02013f").await.is_ok(), "in any case");
    for unknown in ["010002", "all", "", "01000%", "' OR 1=1"] {
        let status = dashboard.get_hospital(unknown).await.err().unwrap();
        assert_eq!(status.code(), Code::NotFound, "{unknown}");
    }
}

#[tokio::test]
async fn what_is_not_imported_is_said() {
    let node = Node::of(&["hospitals"]).await;
    let dashboard = node.dashboard();
    let found = dashboard.get_hospital("010001").await.ok().unwrap();
    assert_eq!((found.not_imported, found.readmissions.len()), (vec!["readmissions".to_owned()], 0));
    let node = Node::empty();
    let dashboard = node.dashboard();
    let list = refused(&dashboard, ListHospitalsRequest::default()).await;
    let one = dashboard.get_hospital("010001").await.err().unwrap();
    for status in [list, one] {
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("`hospitals`, of which nothing is imported"), "{status}");
    }
}
