//! The chart's routes bring each rpc, and each route of the JSON API, to a service that serves it.

use anyhow::{Context, ensure};
use node::services;
use proto::rpc;
use std::{collections::BTreeMap, env, fs, path::Path};

/// Of each service of a cluster: its rpc services, and the patterns of its paths.
type Routes = BTreeMap<String, (Vec<String>, Vec<String>)>;

/// Reads the file as far as it is written: two levels of keys, and lists of texts.
fn read(text: &str) -> anyhow::Result<Routes> {
    let (mut routes, mut process, mut is_grpc) = (Routes::new(), String::new(), false);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("    - ") {
            Some(item) => {
                let (grpc, json) = routes.get_mut(&process).context("an item of nothing")?;
                if is_grpc { grpc } else { json }.push(item.trim_matches('\'').to_owned());
            }
            None if line.starts_with("  ") => is_grpc = line.trim() == "grpc:",
            None => {
                process = line.trim_end_matches(':').to_owned();
                routes.insert(process.clone(), Default::default());
            }
        }
    }
    Ok(routes)
}

/// Whether a pattern, of which all parts but the variables are text, matches a path.
fn matches(pattern: &str, path: &str) -> bool {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$').replace("[.]", ".");
    let parts: Vec<_> = inner.split("[^").collect();
    let Some(mut left) = path.strip_prefix(parts[0]) else { return false };
    for part in &parts[1..] {
        let (barred, after) = part.split_once("]+").unwrap_or((part, ""));
        let end = left.find(|letter| barred.contains(letter)).unwrap_or(left.len());
        let Some(rest) = left[end..].strip_prefix(after).filter(|_| end > 0) else { return false };
        left = rest;
    }
    left.is_empty()
}

#[test]
fn each_rpc_and_each_path_goes_to_the_service_that_serves_it() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/wardline/files/routes.yaml");
    let made = gateway::cluster::routes()?;
    if env::var_os("WARDLINE_WRITE_ROUTES").is_some() {
        fs::write(&path, &made)?;
    }
    ensure!(fs::read_to_string(&path)? == made, "WARDLINE_WRITE_ROUTES=1 cargo test -p tests --test it chart");
    let routes = read(&made)?;
    let services: Vec<_> = routes.keys().map(String::as_str).collect();
    let mut expected = services::ALL.map(|service| service.name).to_vec();
    // the binary adds it
    expected.push("analytics");
    expected.sort_unstable();
    assert_eq!(services, expected);
    for rpc in rpc::all() {
        let name = rpc.names().0.to_owned();
        let to: Vec<_> =
            routes.iter().filter(|(_, (grpc, _))| grpc.contains(&name)).map(|(process, _)| process).collect();
        assert_eq!(to, [&rpc.process], "{}", rpc.path);
        for (http, value) in rpc.http.iter().flat_map(|http| ["a-1", "0f0a%3Ab.c"].map(|value| (http, value))) {
            let filled =
                |part: &str| part.split_once('}').map_or(part.to_owned(), |(_, after)| format!("{value}{after}"));
            let asked: String = http.path.split('{').map(filled).collect();
            let is_to =
                |(_, (_, json)): &(&String, &(Vec<String>, Vec<String>))| json.iter().any(|one| matches(one, &asked));
            let to: Vec<_> = routes.iter().filter(is_to).map(|(process, _)| process).collect();
            assert_eq!(to, [&rpc.process], "{asked}");
        }
    }
    Ok(())
}
