//! `/metrics`: what a node shows is what the table for operators says, and what is alerted on is there from the start.

use model::telemetry::{Instrument, InstrumentKind};
use node::{metrics::of, services};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading, write},
    http, wait,
};

/// What was scraped: the kind and the help text of each metric, and each series' labels.
#[derive(Default)]
struct Scraped {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    series: BTreeSet<(String, BTreeMap<String, String>)>,
}

impl Scraped {
    /// Reads the text format of Prometheus, as far as it is used here: no label's value has a quote or a comma in it.
    fn read(text: &str) -> Self {
        let mut scraped = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
                scraped.helps.insert(name.to_owned(), help.to_owned());
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
                scraped.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, _) = line.rsplit_once(' ').expect(line);
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
                let labels = labels.map(|label| {
                    let (name, value) = label.split_once('=').expect(line);
                    (name.to_owned(), value.trim_matches('"').to_owned())
                });
                scraped.series.insert((name.to_owned(), labels.collect()));
            }
        }
        scraped
    }

    /// What is shown and not said in the table, or otherwise.
    fn unsaid(&self) -> Vec<String> {
        let all: BTreeMap<_, _> = of(&services::ALL).map(|instrument| (instrument.name, instrument)).collect();
        let mut unsaid = Vec::new();
        for (name, kind) in &self.kinds {
            let said = all.get(&**name).is_some_and(|instrument| {
                instrument.kind.name() == kind && self.helps.get(name).is_some_and(|help| help == instrument.help)
            });
            if !said {
                unsaid.push(format!("{kind} {name}: {:?}", self.helps.get(name)));
            }
        }
        for (name, labels) in &self.series {
            let whole = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let instrument = all.get(&**name).or_else(|| all.get(whole?));
            if !instrument.is_some_and(|instrument| is_said(instrument, labels)) {
                unsaid.push(format!("{name} {labels:?}"));
            }
        }
        unsaid
    }
}

/// Whether a series has the labels of the table, and values that it lists.
fn is_said(instrument: &Instrument, labels: &BTreeMap<String, String>) -> bool {
    let is_bound = |name: &str| name == "le" && instrument.kind == InstrumentKind::Histogram;
    let names: BTreeSet<_> = labels.keys().map(String::as_str).filter(|name| !is_bound(name)).collect();
    let values = instrument.labels.iter().all(|label| {
        label.values.is_empty() || labels.get(label.name).is_some_and(|value| label.values.contains(&value.as_str()))
    });
    names == instrument.labels.iter().map(|label| label.name).collect() && values
}

async fn scrape(sandbox: &Sandbox) -> anyhow::Result<(String, Scraped)> {
    let answer = http::ask(sandbox.http(), "GET", "/metrics", &[], "").await?;
    anyhow::ensure!(answer.status == 200, "{}", answer.status);
    // the body comes in one piece: the port sends its length
    let scraped = Scraped::read(&answer.body);
    Ok((answer.body, scraped))
}

#[tokio::test]
async fn what_is_alerted_on_is_there_before_anything_happens() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let missing = async || {
        let (_, scraped) = scrape(&sandbox).await?;
        let counters = of(&services::ALL).filter(|instrument| instrument.kind == InstrumentKind::Counter);
        let series = counters.flat_map(|counter| counter.series().into_iter().map(|labels| (counter.name, labels)));
        let mut expected: BTreeSet<(String, BTreeMap<String, String>)> = series
            .map(|(name, labels)| {
                (name.to_owned(), labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
            })
            .collect();
        for gauge in [
            "wardline_writer_lag_seconds",
            "wardline_writer_lag_records",
            "wardline_writer_quarantine_records",
            "wardline_connections_open",
            "wardline_connections_limit",
            "wardline_tokenless_calls",
            "wardline_tokenless_calls_limit",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
        ] {
            expected.insert((gauge.to_owned(), BTreeMap::new()));
        }
        let of = |budget: &str| BTreeMap::from([("of".to_owned(), budget.to_owned())]);
        for budget in ["requests", "api_requests", "api_parsed", "calls", "answers"] {
            expected.insert(("wardline_memory_used_bytes".to_owned(), of(budget)));
            expected.insert(("wardline_memory_limit_bytes".to_owned(), of(budget)));
        }
        let version = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        expected.insert(("wardline_build_info".to_owned(), version));
        Ok(expected.difference(&scraped.series).cloned().collect::<Vec<_>>())
    };
    // some are told by tasks, which have just started
    wait::until("all are there", missing, Vec::is_empty).await?;
    Ok(())
}

#[tokio::test]
async fn a_json_request_that_cannot_be_read_is_counted_as_its_callers_fault() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let token = format!("Bearer {}", sandbox.issuer()?.user_token(auth::DEMO_PEOPLE[2].2)?);
    let headers = [("authorization", &*token), ("content-type", "application/json")];
    let too_large = "x".repeat((1 << 20) + 1);
    for (method, path, body, status, rpc, code) in [
        ("GET", "/v1/notices?zz=1", "", 400, "ListNotices", "INVALID_ARGUMENT"),
        ("POST", "/v1/access:explain", &*too_large, 413, "ExplainAccess", "RESOURCE_EXHAUSTED"),
    ] {
        let answer = http::ask(sandbox.api()?, method, path, &headers, body).await?;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let (text, _) = scrape(&sandbox).await?;
        let counted = |code: &str| {
            let method = format!("wardline.registry.v1.RegistryService/{rpc}");
            text.contains(&format!("wardline_rpc_seconds_count{{method=\"{method}\",code=\"{code}\"}}"))
        };
        assert_eq!([counted(code), counted("INTERNAL")], [true, false], "{rpc}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_shown_after_traffic_is_in_the_table() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    sandbox.write(&bed, 1, vec![pulse(60.0, now), reading("8867-4", "furlong", 60.0, now)]).await?;
    let (mut line, _) = sandbox.line(&bed, 1).await?;
    line.batch(2, vec![pulse(61.0, now)]).await;
    line.acked(2).await?;
    sandbox.readable(&bed, 2).await?;
    let mut ingest = sandbox.ingest().await?;
    let anybody = ingest.write_readings(write(&bed, 3, vec![pulse(60.0, now)])).await;
    let other = ingest.write_readings(sandbox.as_device(Bed::numbered(1).device, write(&bed, 3, vec![]))?).await;
    anyhow::ensure!(anybody.is_err() && other.is_err());
    let mut timeline = sandbox.timeline().await?;
    anyhow::ensure!(timeline.read_timeline(sandbox.as_person("administrator", everything(&bed))?).await.is_err());
    anyhow::ensure!(http::get(sandbox.api()?, "/v1/nothing").await?.0 == 404);
    let (text, scraped) = scrape(&sandbox).await?;
    assert_eq!(scraped.unsaid(), Vec::<String>::new());
    let method = "wardline.telemetry.v1.IngestService/WriteReadings";
    for shown in [
        &*format!("wardline_rpc_seconds_count{{method=\"{method}\",code=\"OK\"}}"),
        &format!("wardline_rpc_seconds_count{{method=\"{method}\",code=\"UNAUTHENTICATED\"}}"),
        "wardline_rpcs_open{method=\"wardline.telemetry.v1.IngestService/StreamReadings\"}",
        "wardline_store_append_seconds_count",
    ] {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
    for reason in ["NO_TOKEN", "WRONG_DEVICE"] {
        let refused = format!("wardline_device_refusals_total{{reason=\"{reason}\"}} ");
        let counted = text.lines().find_map(|line| line.strip_prefix(&refused));
        assert!(counted.is_some_and(|counted| counted != "0"), "{reason}: {counted:?}");
    }
    // `.ci/run` gives it to promtool
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics.txt"), text)?;
    Ok(())
}
