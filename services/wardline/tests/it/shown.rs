//! What callers make up is shown in ASCII, whichever way it came in, and no key of theirs hides anything.

use super::node::Node;
use anyhow::ensure;
use serde_json::json;
use tempfile::TempDir;

/// A mark that turns the line around, letters, one of which is no ASCII, and what begins an order to a terminal.
const ODD: &str = "\u{202e}ab\u{107}\u{1b}";
/// The same in an address, and as a message shows it within JSON.
const IN_ADDRESS: &str = "%E2%80%AEab%C4%87%1B";
const SHOWN: &str = r"\\u{202e}ab\\u{107}\\u{1b}";

#[test]
fn a_name_that_a_caller_makes_up_is_answered_in_ascii() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(dir.path())?;
    let version = "0191c3c8-7a00-7000-8000-00000000abcd";
    let job = json!({ "kind": "city_report", "parameters": { ODD: "1" } }).to_string();
    let role = json!({ "role_id": "odd", "permissions": [ODD] }).to_string();
    for (method, path, body) in [
        ("POST", "/v1/jobs".to_owned(), &*job),
        ("POST", "/v1/roles".to_owned(), &*role),
        ("GET", format!("/v1/datasets/{IN_ADDRESS}"), ""),
        ("GET", format!("/v1/datasets/{IN_ADDRESS}:compare?before_id={version}"), ""),
        ("GET", format!("/v1/datasets/{IN_ADDRESS}/versions/{version}/report"), ""),
        ("GET", format!("/v1/reports/{IN_ADDRESS}:run"), ""),
        ("GET", format!("/v1/reports/quality:run?parameters={IN_ADDRESS}%3D1"), ""),
    ] {
        let (status, answer) = node.ask("administrator", method, &path, body)?;
        let text = answer.to_string();
        ensure!((400..500).contains(&status), "{method} {path}: {status} {text:?}");
        ensure!(text.is_ascii() && !text.contains("\\u001b") && text.contains(SHOWN), "{method} {path}: {text:?}");
    }
    for hidden in [ODD, "a\u{202e}b", "a\u{200b}", " a", "a\n"] {
        let job = json!({ "kind": "task", "parameters": { "n": "1" }, "request_id": hidden }).to_string();
        let (status, answer) = node.ask("administrator", "POST", "/v1/jobs", &job)?;
        ensure!(status == 400 && answer["reason"] == "INVALID_REQUEST_ID", "{hidden:?}: {status} {answer:?}");
        ensure!(answer["violations"][0]["field"] == "request_id", "{hidden:?}: {answer:?}");
    }
    Ok(())
}
