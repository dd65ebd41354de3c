//! What can go wrong, by status: as `problem.rs` answers it.

use super::reference;
use crate::transcode::Served;
use proto::rpc::Body;
use serde_json::{Map, Value as Json, json};

/// A status that an rpc may be answered with, and what it is about. The reasons are those that callers meet; a later version may
/// have more.
struct Answer {
    status: u16,
    name: &'static str,
    text: &'static str,
    reasons: &'static [&'static str],
    of: fn(&Served) -> bool,
}

const ANSWERS: [Answer; 13] = [
    Answer {
        status: 400,
        name: "Invalid",
        text: "The request is wrong; `violations` says where. Sent again as it is it will be refused again.",
        reasons: &["INVALID_REQUEST", "MALFORMED_JSON", "UNKNOWN_PURPOSE", "OUTPUT_ONLY"],
        of: |_| true,
    },
    Answer {
        status: 401,
        name: "Unauthenticated",
        text: "It is not known who asks.",
        reasons: &["NO_TOKEN", "INVALID_TOKEN", "TOKEN_EXPIRED", "TOKEN_TOO_LARGE", "UNKNOWN_RESTRICTION"],
        of: |_| true,
    },
    Answer {
        status: 403,
        name: "Denied",
        text: "The caller may not do this, with nobody.",
        reasons: &["NOT_PERMITTED"],
        of: |served| !served.rpc().is_open,
    },
    Answer {
        status: 404,
        name: "NotFound",
        text: "It does not exist, or not for the caller.",
        reasons: &["NOT_FOUND"],
        of: |_| true,
    },
    Answer {
        status: 409,
        name: "Conflict",
        text: "What is there stands against it. To be sent again as it is only when there is a Retry-After.",
        reasons: &[
            "EXISTS",
            "MAC_TAKEN",
            "ALREADY_GRANTED",
            "RELATION_EXISTS",
            "RETRACTION_EXISTS",
            "NOTHING_TO_RETRACT",
            "ALREADY_BARRED",
            "PATIENT_TAKEN",
            "USER_GONE",
            "ID_TAKEN",
            "ASSIGNMENT_OVERLAPS",
            "ROLE_IN_USE",
            "LAST_ADMINISTRATOR",
        ],
        of: |served| !served.is_read(),
    },
    Answer {
        status: 412,
        name: "OtherVersion",
        text: "Another version is there than `If-Match` names: read it again.",
        reasons: &["ETAG_MISMATCH"],
        of: |served| served.etag().is_some() || served.is_read(),
    },
    Answer {
        status: 413,
        name: "TooLarge",
        text: "The body is too large, or becomes too large; send less at once.",
        reasons: &["BODY_TOO_LARGE"],
        of: has_body,
    },
    Answer {
        status: 415,
        name: "NoJson",
        text: "The body is not said to be JSON.",
        reasons: &["UNSUPPORTED_MEDIA_TYPE"],
        of: has_body,
    },
    Answer {
        status: 428,
        name: "VersionNeeded",
        text: "Many depend on it: name the version that was read (`If-Match`).",
        reasons: &["ETAG_REQUIRED"],
        of: |served| served.etag().is_some(),
    },
    Answer {
        status: 429,
        name: "TooMuch",
        text: "More than the caller may ask for, or than the node can hold now; again after Retry-After.",
        reasons: &["RATE_LIMITED", "CALLS_OF_CALLER", "ANSWERS_OF_CALLER", "REQUESTS_OF_CALLER", "TOO_MANY_CALLS"],
        of: |_| true,
    },
    Answer {
        status: 501,
        name: "Elsewhere",
        text: "The process that was asked does not serve it; the detail names the one that does.",
        reasons: &["NOT_SERVED_HERE"],
        of: |_| true,
    },
    Answer {
        status: 503,
        name: "Unavailable",
        text: "Something that is needed does not answer; again after Retry-After.",
        reasons: &[
            "STORE_UNAVAILABLE",
            "AUDIT_UNAVAILABLE",
            "ISSUER_UNAVAILABLE",
            "REGISTRY_BEHIND",
            "LOG_FULL",
            "NO_SPACE",
        ],
        of: |_| true,
    },
    Answer {
        status: 504,
        name: "Late",
        text: "It took too long; ask for less, or again.",
        reasons: &["TIMEOUT", "DEADLINE"],
        of: |_| true,
    },
];

fn has_body(served: &Served) -> bool {
    served.route.body != Body::Nothing
}

/// Adds to an operation's answers what can go wrong with it.
pub(super) fn add(served: &Served, answers: &mut Map<String, Json>) {
    for answer in ANSWERS.iter().filter(|answer| (answer.of)(served)) {
        answers.insert(answer.status.to_string(), response_reference(answer.name));
    }
    answers.insert("default".to_owned(), response_reference("Problem"));
}

/// The answers to which operations refer.
pub(super) fn responses() -> Map<String, Json> {
    let response = |text: &str| {
        json!({
            "description": text,
            "headers": { "Retry-After": {
                "description": "Seconds; with 409, 429 and 503: ask again then.", "schema": { "type": "integer" },
            } },
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        })
    };
    let named = ANSWERS.iter().map(|answer| {
        let reasons: Vec<_> = answer.reasons.iter().map(|reason| format!("`{reason}`")).collect();
        (answer.name.to_owned(), response(&format!("{} Such as {}.", answer.text, reasons.join(", "))))
    });
    let other = response("What went wrong, and what can be done about it.");
    named.chain([("Problem".to_owned(), other)]).collect()
}

fn response_reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

/// The schema of a problem's body (RFC 9457), which all errors share.
pub(super) fn schema() -> Json {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "RFC 9457. Ask again after 503 and 504, and after 409 and 429 with Retry-After; after nothing else.",
        "required": ["type", "title", "status", "detail", "reason", "violations", "request_id"],
        "properties": {
            "type": text("about:blank: the status and the reason say it all."),
            "title": text("The status in words."),
            "status": { "type": "integer", "description": "That of the answer." },
            "detail": text("For people; without patient data."),
            "reason": text("For programs: UPPER_SNAKE_CASE, stable; may be empty."),
            "denied": text("What the policy found, such as `NO_RELATION`: for those who may ask why somebody cannot see a patient."),
            "why": text("What the policy checked: for the same."),
            "request_id": { "type": "string", "format": "uuid", "description": "As in the answer's `x-request-id`, the logs and the audit log." },
            "more_violations": { "type": "integer", "description": "How many fields at fault there are besides those named; absent: none." },
            "violations": {
                "type": "array", "description": "The fields at fault.",
                "items": {
                    "type": "object", "required": ["field", "description"],
                    "properties": {
                        "field": text("As in the body or the query, such as `readings[3].unit`."),
                        "description": text("What is allowed and what to do."),
                    },
                },
            },
        },
    })
}
