//! What a device shows in place of a number, sent as if it were one: refused, and how to send it is told.

use super::*;

async fn write(body: Json) -> Result<WriteReadingsRequest, Json> {
    ask("POST", "/v1/devices/{device_id}/readings", &[("device_id", "d")], "", None, &body.to_string()).await
}

/// Field and description of the one fault that a body has.
async fn fault(body: Json) -> (String, String) {
    let Err(problem) = write(body).await else { panic!("was taken") };
    assert_eq!(at_fault(&problem).len(), 1, "{problem}");
    let said = |key: &str| problem["violations"][0][key].as_str().unwrap().to_owned();
    (said("field"), said("description"))
}

#[tokio::test]
async fn a_text_in_place_of_a_number_is_refused_and_how_to_send_it_is_told() {
    for shown in ["LO", "HI", "Low", "<40"] {
        for (name, why, reading) in [
            ("number", "must be a number", json!({ "number": shown })),
            ("bound", "must be an object", json!({ "bound": shown })),
            ("value", "there is no such field", json!({ "value": shown })),
            (
                "bound.number",
                "must be a number",
                json!({ "bound": { "comparator": "COMPARATOR_LESS", "number": shown } }),
            ),
        ] {
            let (field, text) = fault(json!({ "readings": [reading] })).await;
            assert_eq!(field, format!("readings[0].{name}"));
            assert!(text.starts_with(&format!("{why}; {}", proto::problem::NO_NUMBER)), "{shown}: {text}");
            for how in ["bound", "COMPARATOR_LESS", "sent as code", "absent_reason"] {
                assert!(text.contains(how), "{how}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn elsewhere_nothing_is_said_of_what_devices_show() {
    for (body, text) in [
        (json!({ "readings": ["LO"] }), "must be an object"),
        (json!({ "readings": [{ "number": true }] }), "must be a number"),
        (json!({ "readings": [{ "waveform": { "origin": "LO" } }] }), "must be a number"),
        (json!({ "readings": [{ "waveform": "LO" }] }), "must be an object"),
        (json!({ "value": "LO" }), "there is no such field"),
    ] {
        assert_eq!(fault(body).await.1, text);
    }
    let Err(problem) = update("", None, r#"{"medical": {"height_cm": "tall"}}"#).await else { panic!("was taken") };
    assert_eq!(problem["violations"][0]["description"], "must be a number");
}
