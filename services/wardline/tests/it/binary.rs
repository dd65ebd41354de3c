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
