//! `wardline` as it is typed: what it prints, and how it ends.

use std::process::{Command, Output, Stdio};

fn wardline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    wardline(arguments).output().unwrap()
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = wardline(&["config", "--manual"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // nobody reads
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn health_of_a_node_that_is_not_there_is_1() {
    let asked = run(&["--endpoint", "http://127.0.0.1:1", "health"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn what_needs_no_node_is_printed() {
    for (arguments, part) in [
        (&["access", "matrix"][..], "wardline.telemetry.v1.TimelineService/ReadTimeline"),
        (&["openapi"], "\"openapi\": \"3.1.0\""),
        (&["config"], "grpc_listen"),
        (&["completions", "bash"], "wardline"),
    ] {
        let printed = run(arguments);
        assert!(printed.status.success(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&printed.stdout).contains(part), "{arguments:?}");
    }
}

#[test]
fn a_wrong_setting_is_named_and_the_platform_may_start_it_again() {
    let refused = run(&["--set", "server.max_streams=0", "config"]);
    assert_eq!(refused.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("server.max_streams: 0 is not in 1 to"));
}

#[test]
fn no_setting_is_dropped_in_silence() {
    let refused = run(&["--set", "server.max_streams=7", "config", "--set", "server.workers=1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("put all of them in one place"));
    let shown = run(&["--set", "server.max_streams=7", "--set=quotas.writes_a_second=0", "config"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("max_streams = 7"), "{shown:?}");
}

#[test]
fn what_was_typed_is_printed_so_that_it_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let data = format!("data.dir={}", dir.path().display());
    let odd = "\u{202e}ab\u{107}\u{1b}";
    for arguments in [
        &["timeline", odd][..],
        &["replay", "cgm", odd, "--dry-run"],
        &["replay", odd, "file"],
        &["replay", "cgm", "file", "--speed", odd],
        &["simulate", "--rate", odd],
        &["run", "--service", odd],
        &["token", odd],
        &["access", odd],
        &["--set", odd, "config"],
    ] {
        let refused = run(&[&["--set", &data][..], arguments].concat());
        let said = String::from_utf8(refused.stderr).unwrap();
        let is_raw = |c: char| c == '\u{202e}' || c.is_control() && c != '\n';
        assert!(!refused.status.success() && !said.contains(is_raw), "{arguments:?}: {said:?}");
        assert!(said.contains("\\u{202e}ab") && said.contains("\\u{1b}"), "{arguments:?}: {said:?}");
    }
}

/// Every tool that asks a server, with what it needs to get that far.
const TOOLS: [&[&str]; 10] = [
    &["users", "list"],
    &["quarantine", "list"],
    &["audit", "search"],
    &["timeline", "0191c3c8-7a00-7000-8000-00000000abcd"],
    &["simulate", "--devices", "1"],
    &["explain", "0191c3c8-7a00-7000-8000-00000000abcd", "0191c3c8-7a00-7000-8000-00000000abcd"],
    &["health"],
    &["jobs", "list"],
    &["datasets", "list"],
    &["report"],
];

#[test]
fn every_tool_takes_a_token_and_several_endpoints_and_says_that_nobody_answers() {
    let dir = tempfile::tempdir().unwrap();
    let data = format!("data.dir={}", dir.path().display());
    let token = dir.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    for tool in TOOLS {
        let common = ["--set", &data, "--endpoint", "http://127.0.0.1:1,http://127.0.0.1:2"];
        let access = if tool[0] == "health" { vec![] } else { vec!["--token-file", token.to_str().unwrap()] };
        let arguments: Vec<_> = tool.iter().copied().chain(common).chain(access).collect();
        let ended = run(&arguments);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(if tool[0] == "health" { 1 } else { 70 }), "{tool:?}: {said}");
        assert!(said.contains("no node answers at") && said.contains("http://127.0.0.1:2"), "{tool:?}: {said}");
    }
}

#[test]
fn health_of_a_node_that_says_nothing_is_1() {
    // it takes connections, as a process that was stopped half-way does
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = run(&["--endpoint", &format!("http://{}", silent.local_addr().unwrap()), "health"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(said.contains("no answer within"), "{said}");
}

#[test]
fn the_table_of_metrics_for_operators_is_what_the_crates_say() {
    let printed = run(&["metrics"]);
    assert!(
        printed.stdout == include_bytes!("../../../../helm/wardline/metrics.md"),
        "cargo run -- metrics > helm/wardline/metrics.md"
    );
}
