//! What needs no running node: bodies, queries and entity tags of the registry's routes, answers, and the document.

use super::{
    Gateway, Settings as Told,
    conditions::Condition,
    json as text, openapi,
    problem::Problem,
    served,
    transcode::{Asked, Served},
};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, Uri},
};
use futures::StreamExt;
use guard::{
    RequestId,
    bounds::{Bounds, Settings},
};
use prost::Message;
use proto::analytics::v1::CancelJobRequest;
use proto::registry::v1::{
    self as registry, CreateDeviceResponse, DeleteUserRequest, Device, GetUserResponse, ListUsersResponse, Person,
    UpdateUserRequest, User,
};
use proto::telemetry::v1::{ReadTimelineRequest, WriteReadingsRequest};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, io};
use tokio::time::Instant;
use tonic::service::Routes;

mod document;
mod files;
mod no_number;
mod packed;
mod places;

fn route(method: &str, path: &str) -> Served {
    served()
        .unwrap()
        .into_iter()
        .find(|served| (served.route.method, served.route.path.as_str()) == (method, path))
        .unwrap()
}

/// What a request becomes; or the problem, as it is answered.
async fn ask<T: Message + Default>(
    method: &str,
    path: &str,
    variables: &[(&'static str, &str)],
    query: &str,
    if_match: Option<&str>,
    body: &str,
) -> Result<T, Json> {
    let variables: Vec<_> = variables.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    let if_match = if_match.map(|text| Condition::parse(text).unwrap());
    let asked = Asked { variables: &variables, query, if_match: if_match.as_ref(), body: body.as_bytes() };
    match route(method, path).request(&asked) {
        Ok(encoded) => Ok(T::decode(encoded.as_slice()).unwrap()),
        Err(problem) => Err(shown(&problem).await),
    }
}

async fn shown(problem: &Problem) -> Json {
    let bytes = axum::body::to_bytes(problem.response(RequestId::current()).into_body(), 1 << 16).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The fields that are named as being at fault.
fn at_fault(problem: &Json) -> Vec<&str> {
    problem["violations"].as_array().unwrap().iter().filter_map(|wrong| wrong["field"].as_str()).collect()
}

const USER: &str = "/v1/users/{user.user_id}";

async fn update(query: &str, if_match: Option<&str>, body: &str) -> Result<UpdateUserRequest, Json> {
    ask("PATCH", USER, &[("user.user_id", "u-1")], query, if_match, body).await
}

#[tokio::test]
async fn an_update_is_its_path_its_mask_its_entity_tag_and_its_body() {
    let body =
        r#"{"person": {"name": "A", "birthDate": "1969-12-31"}, "ward": null, "medical": {"height_cm": "170.5"}}"#;
    let Ok(request) = update("update_mask=person.birth_date,medical", Some("\"e 7\""), body).await else { panic!() };
    let user = request.user.unwrap();
    assert_eq!((user.user_id.as_str(), user.etag.as_str(), user.ward.as_deref()), ("u-1", "e 7", None));
    assert_eq!(user.person.unwrap().birth_date(), "1969-12-31");
    assert_eq!(user.medical.unwrap().height_cm(), 170.5);
    assert_eq!(request.update_mask.unwrap().paths, ["person.birth_date", "medical"]);

    let same = update("", Some("\"7\""), r#"{"user_id": "u-1", "etag": "7"}"#).await;
    assert!(same.is_ok_and(|request| request.user.is_some_and(|user| user.etag == "7")));
    assert!(update("", Some("*"), "{}").await.is_ok_and(|request| request.user.is_some_and(|user| user.etag == "*")));
    for (query, if_match, body, fields) in [
        ("", Some("\"8\""), r#"{"etag": "7"}"#, &["If-Match"][..]),
        ("", Some("\"7\", \"8\""), r#"{"etag": "7"}"#, &["If-Match"]),
        ("", None, r#"{"user_id": "u-2"}"#, &["user_id"]),
        ("", None, "", &["body"]),
        ("", None, "[]", &["body"]),
        (
            "",
            None,
            r#"{"contact": {"fone": "1", "family_members": [{}, {"nam": ""}]}}"#,
            &["contact.family_members[1].nam", "contact.fone"],
        ),
        ("", None, r#"{"suspended": "true", "medical": {"height_cm": "tall"}}"#, &["medical.height_cm", "suspended"]),
        ("", None, r#"{"person": {"birth_date": "x", "birthDate": "y"}}"#, &["person.birth_date"]),
        ("update_mask=ward&updateMask=person", None, "{}", &["updateMask"]),
        ("user=x&mask=y", None, "{}", &["user", "mask"]),
    ] {
        let Err(problem) = update(query, if_match, body).await else { panic!("{query} {body} was taken") };
        assert_eq!(at_fault(&problem), fields, "{problem}");
        assert_eq!((&problem["status"], &problem["reason"]), (&json!(400), &json!("INVALID_REQUEST")));
    }
}

#[tokio::test]
async fn an_entity_tag_goes_where_there_is_a_place_for_it() {
    let path = "/v1/users/{user_id}";
    let request = ask::<DeleteUserRequest>("DELETE", path, &[("user_id", "u")], "", Some("\"7\""), "").await;
    assert!(request.is_ok_and(|request| (request.user_id.as_str(), request.etag.as_str()) == ("u", "7")));
    let both = ask::<DeleteUserRequest>("DELETE", path, &[("user_id", "u")], "etag=8", Some("\"7\""), "").await;
    assert!(both.is_err_and(|problem| at_fault(&problem) == ["If-Match"]));
    let path = "/v1/grants/{grant_id}";
    for (tag, etag) in [("\"7\"", "7"), ("\"7-gzip\"", "7"), ("*", "*")] {
        let request =
            ask::<registry::DeleteGrantRequest>("DELETE", path, &[("grant_id", "g")], "", Some(tag), "").await;
        assert!(request.is_ok_and(|request| request.etag == etag), "{tag}");
    }
    for whatever in ["\"\"", "\"*\"", "\"-gzip\"", "\"*-gzip\""] {
        for (tag, etag) in [
            (format!("\"7\", {whatever}"), Some("7")),
            (format!("{whatever}, \"7\""), Some("7")),
            (whatever.to_owned(), None),
        ] {
            let request =
                ask::<registry::DeleteGrantRequest>("DELETE", path, &[("grant_id", "g")], "", Some(&tag), "").await;
            match request {
                Ok(request) => assert_eq!(Some(&*request.etag), etag, "{tag}"),
                Err(problem) => assert_eq!((&problem["status"], etag), (&json!(412), None), "{tag}"),
            }
        }
    }
    // what has no version is there, or it is not
    let (path, variables) = ("/v1/jobs/{job_id}:cancel", [("job_id", "j")]);
    let cancel = async |tag| ask::<CancelJobRequest>("POST", path, &variables, "", Some(tag), "").await;
    assert!(cancel("*").await.is_ok_and(|request| request.job_id == "j"));
    for listed in ["\"7\"", "W/\"7\"", "\"7\", \"\""] {
        assert!(cancel(listed).await.is_err_and(|problem| problem["status"] == 412), "{listed}");
    }
    for path in ["/v1/users", "/v1/grants"] {
        let created = ask::<DeleteUserRequest>("POST", path, &[], "", Some("*"), "{}").await;
        assert!(created.is_err_and(|problem| at_fault(&problem) == ["If-Match"]), "{path}: nothing is there yet");
        let refused = ask::<DeleteUserRequest>("POST", path, &[], "", Some("\"7\""), "{}").await;
        assert!(refused.is_err_and(|problem| at_fault(&problem) == ["If-Match"]), "{path}");
    }
}

#[tokio::test]
async fn a_query_is_fields_of_the_request() {
    let path = "/v1/patients/{patient_id}/timeline";
    let read =
        async |query: &str| ask::<ReadTimelineRequest>("GET", path, &[("patient_id", "p")], query, None, "").await;
    let query = "metrics=8867-4&metrics=59408-5&start_time=2026-01-01T00:00:00%2B01:00&pageSize=5&layout=TIMELINE_LAYOUT_COLUMNS";
    let Ok(request) = read(query).await else { panic!() };
    assert_eq!((request.patient_id.as_str(), request.page_size, request.layout), ("p", 5, 2));
    assert_eq!(request.metrics, ["8867-4", "59408-5"]);
    assert_eq!(request.start_time.unwrap().seconds, 1_767_222_000);
    for (query, field) in [
        ("page_size=5&page_size=6", "page_size"),
        ("page_size=many", "page_size"),
        ("page_size=9999999999", "page_size"),
        ("start_time=2026-01-01T00:00:00+01:00", "start_time"),
        ("layout=SIDEWAYS", "layout"),
        ("patient_id=q", "patient_id"),
        ("metric=8867-4", "metric"),
        ("metrics=%zz", "query"),
        ("%C3%A9%E2%80%AEb=1", r"\u{e9}\u{202e}b"),
    ] {
        assert!(read(query).await.is_err_and(|problem| at_fault(&problem) == [field]), "{query}");
    }
    let body = ask::<ReadTimelineRequest>("GET", path, &[("patient_id", "p")], "", None, "{}").await;
    assert!(body.is_err_and(|problem| at_fault(&problem) == ["body"]));
    let open = "/v1/break-glass";
    assert!(
        ask::<registry::ListBreakGlassRequest>("GET", open, &[], "unreviewed=true", None, "")
            .await
            .is_ok_and(|r| r.unreviewed)
    );
}

#[tokio::test]
async fn a_body_is_read_strictly() {
    let path = "/v1/devices/{device_id}/readings";
    let write =
        async |body: &str| ask::<WriteReadingsRequest>("POST", path, &[("device_id", "d")], "", None, body).await;
    let body = r#"{"sequence": "18446744073709551615", "readings": [{"metric": "x", "number": 1e2, "measured_at": "2026-01-01T00:00:00Z"},
        {"waveform": {"period_ns": "4", "samples": [1, -2, "3"], "width": "SAMPLE_WIDTH_INT16"}}]}"#;
    let Ok(request) = write(body).await else { panic!() };
    assert_eq!((request.sequence, request.readings.len()), (u64::MAX, 2));
    for (body, field) in [
        (r#"{"sequence": -1}"#, "sequence"),
        (r#"{"sequence": 1.5}"#, "sequence"),
        (r#"{"readings": {}}"#, "readings"),
        (r#"{"readings": [null]}"#, "readings[0]"),
        (r#"{"readings": [{"number": 1, "code": "A"}]}"#, "readings[0].number"),
        (r#"{"readings": [{"waveform": {"samples": [1, 2.5]}}]}"#, "readings[0].waveform.samples[1]"),
        (r#"{"readings": [{"measured_at": "today"}]}"#, "readings[0].measured_at"),
        (r#"{"readings": [{"measured_at": "2026-01-31T12:00:60Z"}]}"#, "readings[0].measured_at"),
        (r#"{"readings": [{"measured_at": "2026-01-31T12:00:00.1234567891Z"}]}"#, "readings[0].measured_at"),
        (r#"{"device_id": "other"}"#, "device_id"),
        (r#"{"\u00e9\u202eb": 1}"#, r"\u{e9}\u{202e}b"),
    ] {
        let Err(problem) = write(body).await else { panic!("{body} was taken") };
        assert_eq!(at_fault(&problem), [field], "{body}");
        assert!(!problem["detail"].as_str().unwrap().contains("today"), "values are not said again: {problem}");
    }
    let leap = r#"{"readings": [{"measured_at": "2016-12-31T18:59:60.5-05:00"}]}"#;
    let request = write(leap).await.unwrap_or_else(|problem| panic!("{problem}"));
    let at = request.readings[0].measured_at.expect("it was there");
    assert_eq!((at.seconds, at.nanos), (1_483_228_800, 500_000_000));
    let deep = format!("{{\"readings\": {}{}}}", "[".repeat(200), "]".repeat(200));
    for (body, text) in [
        ("{\n  \"sequence\": 1,,\n}", "line 2 column 17"),
        (r#"{"sequence": 1, "sequence": 2}"#, "twice"),
        (r#"{"sequence": 1} x"#, "line 1 column 17"),
        (&deep, "recursion limit"),
    ] {
        let Err(problem) = write(body).await else { panic!("{body} was taken") };
        assert_eq!(problem["reason"], "MALFORMED_JSON");
        assert!(problem["detail"].as_str().unwrap().contains(text), "{problem}");
    }
}

/// A gateway with usual limits.
fn over(rpcs: Routes) -> Gateway {
    Gateway::new(rpcs, Bounds::new(&LIMITS), Told::default()).unwrap()
}

const LIMITS: Settings = Settings {
    requests_mib: 24,
    requests_mib_per_address: 16,
    requests_mib_per_caller: 8,
    calls_mib: 48,
    calls_mib_per_caller: 24,
    answers_mib: 32,
    answers_mib_per_caller: 12,
    wait_seconds: 5,
    stall_seconds: 30,
};

async fn send(gateway: &Gateway, method: &str, path: &str, body: Body) -> (u16, Json) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", "Bearer t").header("x-other", "1").body(body).unwrap();
    let answer = gateway.answer(request).await;
    let status = answer.status().as_u16();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn every_route_calls_its_rpc_with_the_token_and_nothing_else() {
    // answers NOT_FOUND, and which rpc was called with which headers
    let echo = async |uri: Uri, headers: HeaderMap| {
        let names: BTreeSet<_> =
            headers.keys().map(|name| name.as_str()).filter(|name| *name != "user-agent").collect();
        let text = format!("{} {}", uri.path(), names.into_iter().collect::<Vec<_>>().join(" "));
        ([("content-type", "application/grpc".to_owned()), ("grpc-status", "5".to_owned()), ("grpc-message", text)], "")
    };
    let gateway = over(Routes::from(Router::new().fallback(echo)));
    let nowhere = over(Routes::default());
    for served in served().unwrap() {
        let path = served.path.shown().replace(['{', '}'], "");
        let body = || if served.route.method == "GET" || served.route.method == "DELETE" { "" } else { "{}" };
        let (status, problem) = send(&gateway, served.route.method, &path, Body::from(body())).await;
        let expected = format!("{} authorization content-type te", served.rpc().path);
        assert_eq!((status, problem["detail"].as_str()), (404, Some(&*expected)), "{path}");
        assert_eq!(send(&nowhere, served.route.method, &path, Body::from(body())).await.0, 501, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_given_up() {
    let reading = async |body: Body| {
        let read = axum::body::to_bytes(body, 1 << 20).await.is_ok();
        ([("content-type", "application/grpc"), ("grpc-status", if read { "5" } else { "13" })], "")
    };
    let gateway = over(Routes::from(Router::new().fallback(reading)));
    let endless = futures::stream::pending::<Result<Bytes, io::Error>>();
    let began = Instant::now();
    let (status, problem) = send(&gateway, "POST", "/v1/users", Body::from_stream(endless)).await;
    assert_eq!((status, &problem["reason"], began.elapsed().as_secs()), (504, &json!("TIMEOUT"), 30));
}

#[test]
fn who_gets_one_thing_is_answered_with_that_thing() {
    let answer = |method: &str, path: &str, response: Vec<u8>| {
        let answer = route(method, path).answer(&response).unwrap();
        (serde_json::from_slice::<Json>(&answer.body).unwrap(), answer.etag)
    };
    let person = Person { name: Some("A".into()), birth_date: Some(String::new()) };
    let user = User { user_id: "u".into(), etag: "7".into(), person: Some(person), ..Default::default() };
    let (json, etag) =
        answer("GET", "/v1/users/{user_id}", GetUserResponse { user: Some(user.clone()) }.encode_to_vec());
    assert_eq!(
        (&json["user_id"], &json["person"]["birth_date"], etag.as_deref()),
        (&json!("u"), &json!(""), Some("7"))
    );
    assert!(json.get("contact").is_none() && json["hidden"] == json!([]));
    // more than one thing: all of the response
    let device = Device { device_id: "d".into(), etag: "7".into(), ..Default::default() };
    let response = CreateDeviceResponse { device: Some(device), claim_code: "c".into() };
    let (json, etag) = answer("POST", "/v1/devices", response.encode_to_vec());
    assert_eq!((&json["claim_code"], &json["device"]["device_id"], etag), (&json!("c"), &json!("d"), None));
    let (json, etag) =
        answer("GET", "/v1/users", ListUsersResponse { users: vec![user], ..Default::default() }.encode_to_vec());
    assert_eq!((&json["users"][0]["etag"], etag), (&json!("7"), None));
}

#[test]
fn the_document_is_whole() {
    let document: Json = serde_json::from_str(&openapi::document().unwrap()).unwrap();
    let (mut ids, mut references) = (BTreeSet::new(), Vec::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let variables: BTreeSet<_> =
            path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect();
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path} has no text");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named = |place| {
                let here = parameters.iter().filter(move |parameter| parameter["in"] == place);
                here.filter_map(|parameter| parameter["name"].as_str()).collect::<Vec<_>>()
            };
            assert_eq!(named("path").into_iter().collect::<BTreeSet<_>>(), variables, "{method} {path}");
            let unique: BTreeSet<_> = named("query").into_iter().collect();
            assert_eq!(unique.len(), named("query").len(), "{method} {path}");
        }
    }
    assert_eq!(ids.len(), served().unwrap().len() + 1);
    collect_references(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let place = document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("no {reference}"));
        assert!(place.is_object(), "{reference} is empty");
    }
}

fn collect_references(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Object(object) => {
            found.extend(object.get("$ref").and_then(Json::as_str).map(str::to_owned));
            object.values().for_each(|inner| collect_references(inner, found));
        }
        Json::Array(list) => list.iter().for_each(|inner| collect_references(inner, found)),
        _ => {}
    }
}

#[test]
fn what_a_body_takes_is_known_by_its_structure() {
    let weight = |text: &str| text::weight(text.as_bytes()) - 2 * text.len();
    assert_eq!(weight(""), 0);
    let [a_string, a_value] = [weight(r#""""#), weight(",")];
    assert!(a_string > 0 && a_value > 32 && weight("{") > 632, "less than it is");
    // what looks like structure in a string is none
    assert_eq!(weight(r#""{[,:\"{[,:\\""#), a_string);
    assert_eq!(weight(r#"{"a":[1,2]}"#), weight("{") + a_string + weight("[") + 2 * a_value);
    // what the rpc may take goes through: as many readings as a batch may have
    let reading = r#"{"metric":"8867-4","measured_at":"2026-01-01T00:00:00Z","unit":"/min","number":61.5},"#;
    assert!(4_096 * weight(reading) < 16 << 20, "{}", weight(reading));
}

#[tokio::test(start_paused = true)]
async fn bodies_on_their_way_are_bounded_and_who_finds_no_room_is_told() {
    let reading = async |body: Body| {
        let read = axum::body::to_bytes(body, 1 << 20).await.is_ok();
        ([("content-type", "application/grpc"), ("grpc-status", if read { "5" } else { "13" })], "")
    };
    let bounds = Bounds::new(&Settings { requests_mib: 1, requests_mib_per_caller: 1, ..LIMITS });
    let gateway = Gateway::new(Routes::from(Router::new().fallback(reading)), bounds.clone(), Told::default()).unwrap();
    let body = || {
        let piece = futures::stream::iter([Ok::<_, io::Error>(Bytes::from(vec![b' '; 600 << 10]))]);
        Body::from_stream(piece.chain(futures::stream::pending()))
    };
    let first = tokio::spawn({
        let (gateway, body) = (gateway.clone(), body());
        async move { send(&gateway, "POST", "/v1/users", body).await.0 }
    });
    while bounds.api_requests.out() == 0 {
        tokio::task::yield_now().await;
    }
    let (status, problem) = send(&gateway, "POST", "/v1/users", body()).await;
    assert_eq!((status, &problem["reason"]), (429, &json!("REQUESTS_OF_NODE")));
    assert_eq!(bounds.api_requests.out(), 600 << 10, "who is refused holds nothing");
    assert_eq!(first.await.unwrap(), 504);
    assert_eq!((bounds.api_requests.out(), bounds.api_parsed.out(), bounds.answers.out()), (0, 0, 0));
}
