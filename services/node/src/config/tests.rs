//! Settings from several places, and what is wrong with them.

use super::*;

fn load(flags: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Config> {
    let flags = flags.iter().map(|&f| f.to_owned()).collect();
    let environment = environment.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Config::load(&Sources { file: None, environment, flags })
}

#[test]
fn the_manual_is_valid_and_flags_beat_the_environment() {
    let config = load(&[], &[]).unwrap();
    assert!(config.demo());
    let over = load(&["log.kafka.brokers=b:1"], &[("WARDLINE__LOG__KAFKA__BROKERS", "a:1"), ("HOME", "x")]).unwrap();
    assert_eq!(over.log.kafka.brokers, "b:1");
    assert_eq!(load(&[], &[("WARDLINE__INGEST__MAX_READINGS", "9")]).unwrap().ingest.max_readings, 9);
}

#[test]
fn every_mistake_is_named() {
    let flags = ["log.kid=kafka", "log.kind=kafkaesque", "ingest.max_readings=many", "server.grpc_listen=here"];
    let text = load(&flags, &[("WARDLINE__NO__SUCH", "1")]).unwrap_err().to_string();
    for part in ["log.kid", "log.kind", "kafkaesque", "ingest.max_readings", "server.grpc_listen", "WARDLINE__NO__SUCH"]
    {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn a_number_out_of_range_is_refused_with_the_range() {
    for flag in ["ingest.max_message_kib=0", "writer.seal_every_seconds=0", "server.max_streams=65537"] {
        let text = load(&[flag], &[]).unwrap_err().to_string();
        let (name, value) = flag.split_once('=').unwrap();
        assert!(text.contains(&format!("{name}: {value} is not in 1 to ")), "{text}");
    }
}

#[test]
fn the_demo_does_not_leave_loopback() {
    let text = load(&["auth.demo=on", "server.grpc_listen=0.0.0.0:1"], &[]).unwrap_err().to_string();
    assert!(text.contains("auth.demo"), "{text}");
    for listener in ["grpc_listen", "http_listen", "api_listen"] {
        let text = load(&[&format!("server.{listener}=0.0.0.0:1")], &[]).unwrap_err().to_string();
        assert!(text.contains("auth.issuers"), "{listener}: {text}");
    }
}

#[test]
fn the_api_can_be_off_and_a_wrong_address_is_refused() {
    assert!(load(&["server.api_listen="], &[]).unwrap().server.api_listen.0.is_none());
    let text = load(&["server.api_listen=here"], &[]).unwrap_err().to_string();
    assert!(text.contains("server.api_listen"), "{text}");
}

#[test]
fn secrets_are_not_shown() {
    for secret in [
        "log.kafka.password=hunter2",
        "log.kafka.extra={\"sasl.password\" = \"hunter2\"}",
        "analytics.notify.webhook.url=https://example.org/hunter2",
    ] {
        let shown = load(&[secret], &[]).unwrap().shown();
        assert!(shown.contains("(hidden)") && !shown.contains("hunter2"), "{shown}");
    }
}
