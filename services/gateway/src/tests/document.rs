//! What the OpenAPI document says of requests and answers, by examples; `tests/clients/openapi` tries all of it.

use super::*;

fn document() -> Json {
    serde_json::from_str(&openapi::document().unwrap()).unwrap()
}

fn schema(name: &str) -> Json {
    document()["components"]["schemas"][name].clone()
}

#[test]
fn what_is_sent_and_what_is_answered_are_different_schemas() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let is_request = ["Request", "Input", "Change"].iter().any(|end| name.ends_with(end));
        if schema["type"] == "object" && name != "Problem" {
            assert_eq!(schema["additionalProperties"], json!(!is_request), "{name}");
        }
    }
    assert_eq!(schema("GrantInput")["required"], json!(["user_id", "role_id"]));
    assert!(schema("Grant")["required"].as_array().unwrap().contains(&json!("grant_id")), "it is always answered");
    // what changes a thing needs nothing, and names nothing of the server's
    let change = schema("DeviceChange");
    assert!(change.get("required").is_none() && change["properties"].get("registered_by").is_none(), "{change}");
    assert_eq!(schema("Device")["properties"]["registered_by"]["readOnly"], json!(true));
}

#[test]
fn values_have_their_formats_and_limits() {
    let of = |schema_name: &str, field: &str| schema(schema_name)["properties"][field].clone();
    assert_eq!(of("GrantInput", "user_id")["format"], "uuid");
    let sequence = of("WriteReadingsRequest", "sequence");
    assert_eq!((&sequence["type"], &sequence["format"]), (&json!(["string", "integer"]), &json!("uint64")));
    assert_eq!(of("StoredReading", "sequence")["type"], "string");
    assert_eq!(of("StoredReading", "measured_at")["format"], "date-time");
    assert_eq!(of("Series", "flags")["format"], "byte");
    let name = of("DeviceInput", "name");
    assert_eq!([&name["minLength"], &name["maxLength"]], [&json!(1), &json!(128)]);
    assert_eq!(of("ContactInput", "family_members")["maxItems"], 20);
    assert_eq!(schema("TimelineLayout")["enum"][2], "TIMELINE_LAYOUT_COLUMNS");
    let parameters = document()["paths"]["/v1/patients/{patient_id}/timeline"]["get"]["parameters"].clone();
    let named = |name: &str| parameters.as_array().unwrap().iter().find(|held| held["name"] == name).unwrap().clone();
    assert_eq!(
        (&named("patient_id")["schema"]["format"], &named("page_size")["schema"]["minimum"]),
        (&json!("uuid"), &json!(0))
    );
}

/// The schema of a parameter of an address.
fn parameter(path: &str, name: &str) -> Json {
    let operations = document()["paths"][path].clone();
    let mut all = operations.as_object().unwrap().values().flat_map(|one| one["parameters"].as_array().unwrap());
    all.find(|held| held["name"] == name).unwrap()["schema"].clone()
}

#[test]
fn a_request_has_the_words_and_ranges_that_are_taken_and_an_answer_may_have_older_ones() {
    let of = |schema_name: &str, field: &str| schema(schema_name)["properties"][field].clone();
    let text = of("OpenBreakGlassRequest", "text");
    assert_eq!([&text["minLength"], &text["maxLength"]], [&json!(10), &json!(500)]);
    assert_eq!(of("OpenBreakGlassRequest", "minutes")["maximum"], 60);
    let reasons = json!(["unconscious", "life-threat", "no-staff", "other"]);
    assert_eq!(of("OpenBreakGlassRequest", "reason")["enum"], reasons);
    assert_eq!(of("ReviewBreakGlassRequest", "outcome")["enum"], json!(["justified", "unjustified", "unclear"]));
    assert_eq!(of("RelationInput", "kind")["enum"], json!(["proxy", "care-team", "ward-staff", "study"]));
    // what need not be there may be empty, or nothing
    assert_eq!(of("MedicalInput", "gender")["enum"], json!(["male", "female", "other", "unknown", "", null]));
    let height = json!([{ "const": 0 }, { "minimum": 20, "maximum": 260 }]);
    assert_eq!(of("MedicalInput", "height_cm")["anyOf"], height);
    assert_eq!(of("MedicalInput", "weight_kg")["anyOf"][1]["minimum"], 0.2);
    assert_eq!(of("MedicalInput", "allergies")["items"]["minLength"], 1);
    assert_eq!(of("RoleInput", "role_id")["pattern"], "^([a-z0-9-]{1,64})$");
    assert_eq!(of("UserInput", "ward")["pattern"], "^([a-z0-9-]{1,64})?$");
    assert!(of("ContactInput", "county")["pattern"].is_string() && of("ContactInput", "county")["type"][1] == "null");
    assert_eq!(schema("ContactPersonInput")["required"], json!(["name"]));
    assert_eq!(of("SubmitJobRequest", "max_attempts")["maximum"], 10);
    let sequence = of("WriteReadingsRequest", "sequence");
    assert_eq!([&sequence["minimum"], &sequence["maximum"]], [&json!(1), &json!(i64::MAX)]);
    assert_eq!(parameter("/v1/hospitals:export", "format")["enum"], json!(["csv", "json", "parquet", ""]));
    assert_eq!(parameter("/v1/hospitals", "min_rating")["maximum"], 5);
    assert_eq!(parameter("/v1/roles/{role_id}", "role_id")["pattern"], "^([a-z0-9-]{1,64})$");
    for (answer, field) in [("Role", "role_id"), ("Relation", "kind"), ("Medical", "gender"), ("Contact", "county")] {
        let held = of(answer, field);
        assert!(held["enum"].is_null() && held["pattern"].is_null() && held["minLength"].is_null(), "{answer}.{field}");
    }
}

#[test]
fn a_length_of_time_has_its_range_digit_by_digit() {
    assert_eq!(parameter("/v1/jobs/{job_id}:wait", "timeout")["pattern"], "^[0-9]+(\\.[0-9]{1,9})?s$");
    let pattern = schema("SubmitJobRequest")["properties"]["deadline"]["pattern"].clone();
    let seconds = "[1-9][0-9]{0,6}|[1-2][0-9]{7}|3[0-0][0-9]{6}|31[0-5][0-9]{5}|316[0-1][0-9]{4}|3162[0-1][0-9]{3}\
                   |31622[0-3][0-9]{2}|31622400";
    assert_eq!(pattern, format!("^0*({seconds})(\\.[0-9]{{1,9}})?s$"));
}

#[test]
fn answers_and_what_can_go_wrong_are_said_by_status() {
    let document = document();
    let of = |path: &str, method: &str| {
        let answers = document["paths"][path][method]["responses"].as_object().unwrap();
        answers.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("/v1/users", "post"), "201 400 401 403 404 409 413 415 429 501 503 504 default");
    assert_eq!(of("/v1/users/{user_id}", "patch"), "200 400 401 403 404 409 412 413 415 428 429 501 503 504 default");
    assert_eq!(of("/v1/users", "get"), "200 400 401 403 404 412 429 501 503 504 default");
    let read = "200 304 400 401 403 404 412 429 501 503 504 default";
    assert_eq!([of("/v1/users/{user_id}", "get"), of("/v1/hospitals:export", "get")], [read; 2]);
    assert_eq!(of("/v1/openapi.json", "get"), "200 304 400 412");
    let conflict = &document["components"]["responses"]["Conflict"];
    assert!(conflict["description"].as_str().unwrap().contains("`ROLE_IN_USE`"), "{conflict}");
    assert!(conflict["content"]["application/problem+json"].is_object());
    let created = &document["paths"]["/v1/users"]["post"]["responses"]["201"]["headers"];
    assert!(created["Location"].is_object() && created["ETag"].is_object(), "{created}");
    let one_job = &document["paths"]["/v1/jobs"]["post"]["responses"]["201"];
    assert!(one_job["headers"]["Location"].is_object(), "{one_job}");
    let emergency = &document["paths"]["/v1/break-glass"]["post"]["responses"]["201"];
    assert!(emergency.is_object() && emergency["headers"].get("Location").is_none(), "it is read in a list alone");
    assert!(of("/jobs/{job_id}", "post").starts_with("200 ") && of("/data", "post").starts_with("200 "));
    let one = openapi::document_of(|process| process == "query").unwrap();
    assert!(one.contains("/v1/patients/{patient_id}/latest") && !one.contains("\"/v1/users\""));
}

#[test]
fn a_read_of_what_has_an_entity_tag_takes_its_conditions() {
    let document = document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(read) = operations.get("get") else { continue };
        let has_tag = read["responses"]["200"]["headers"]["ETag"].is_object();
        let parameters = read["parameters"].as_array().cloned().unwrap_or_default();
        for name in ["If-Match", "If-None-Match"] {
            let is_there = parameters.iter().any(|held| held["name"] == name && held["in"] == "header");
            assert_eq!((is_there, read["responses"]["304"].is_object()), (has_tag, has_tag), "{name} of {path}");
        }
    }
    for path in ["/v1/grants/{grant_id}", "/v1/openapi.json", "/v1/hospitals:export"] {
        assert!(document["paths"][path]["get"]["responses"]["304"].is_object(), "{path}");
    }
    let ends =
        ["/v1/relations/{relation_id}:end", "/v1/assignments/{assignment_id}:end", "/v1/devices/{device_id}:rotate"];
    for path in ends {
        let parameters = document["paths"][path]["post"]["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|held| held["name"] == "If-Match"), "{path}");
    }
}
