//! Holds the house to what the README says of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every crate's folder, by name.
fn crates() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for pattern in ["proto", "tests", "shared", "services"] {
        let dir = root().join(pattern);
        let dirs = if dir.join("Cargo.toml").exists() {
            vec![dir]
        } else {
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        for dir in dirs {
            let manifest: toml::Table = fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap();
            found.insert(manifest["package"]["name"].as_str().unwrap().to_owned(), dir);
        }
    }
    found
}

fn dependencies(dir: &Path) -> BTreeSet<String> {
    let manifest: toml::Table = fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap();
    manifest.get("dependencies").and_then(|d| d.as_table()).map(|d| d.keys().cloned().collect()).unwrap_or_default()
}

/// Rows of the README's table that starts with the heading `| Crate | May use |`.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let readme = read("README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| Crate | May use")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let uses = cells[1].split(',').map(|name| name.trim().trim_matches('`').to_owned());
            (cells[0].trim_matches('`').to_owned(), uses.filter(|name| !name.is_empty() && name != "-").collect())
        })
        .collect()
}

#[test]
fn edges_between_crates_are_those_of_the_readme() {
    let crates = crates();
    let edges: BTreeMap<String, BTreeSet<String>> = crates
        .iter()
        .map(|(name, dir)| (name.clone(), dependencies(dir).into_iter().filter(|d| crates.contains_key(d)).collect()))
        .collect();
    assert_eq!(table(), edges, "left: README, right: the manifests");
}

#[test]
fn each_engine_is_known_to_one_crate() {
    let known = |name: &str| -> Vec<String> {
        crates().iter().filter(|(_, dir)| dependencies(dir).contains(name)).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(known("rdkafka"), ["bus", "node"]);
    assert_eq!(known("scylla"), ["node", "store"]);
    assert_eq!(known("fjall"), ["bus", "disk", "node", "store"]);
    // node knows the engines' own clients only to measure ours against them
    let mut files = Vec::new();
    rust_files(&root().join("services/node/src"), &mut files);
    for path in files.iter().filter(|path| !path.components().any(|part| part.as_os_str() == "bench")) {
        let text = fs::read_to_string(path).unwrap();
        for engine in ["rdkafka::", "scylla::", "fjall::"] {
            assert!(!text.contains(engine), "{} uses {engine}", path.display());
        }
    }
    assert_eq!(known("jsonwebtoken"), ["auth"]);
    assert_eq!(known("rcgen"), ["auth"]);
    assert_eq!(known("x509-parser"), ["auth"]);
    assert_eq!(known("octofhir-ucum"), ["ingest"]);
    for forbidden in ["serde", "tokio", "async-trait"] {
        assert!(!known(forbidden).contains(&"model".to_owned()), "model must not use {forbidden}");
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = read("Cargo.toml");
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let silent: Vec<_> = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| line.contains('=') && !line.contains("{ path") && !line.contains(" # "))
        .collect();
    assert!(silent.is_empty(), "no reason given for {silent:#?}");
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut files = Vec::new();
    for dir in ["proto", "shared", "services", "tests"] {
        rust_files(&root().join(dir), &mut files);
    }
    assert!(files.len() > 50, "found only {} files", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

/// Where the wall clock is read: to say when something was, or whether something that bears a time still holds.
const WALL_CLOCK: [&str; 7] = [
    "services/node/src/clock.rs",
    "services/node/src/simulate/device.rs",
    "services/node/src/timeline.rs",
    "shared/auth/src/directory/files.rs",
    "shared/auth/src/signer.rs",
    "shared/bus/src/embedded/writing.rs",
    "shared/store/src/sheet.rs",
];

/// A wall clock can be put back by a day, and whoever waits for it to come somewhere waits for that day. Our times are
/// nanoseconds, so that a wait that is the difference of two of them is a `Duration` made of nanoseconds.
#[test]
fn nothing_waits_for_the_wall_clock() {
    let mut files = Vec::new();
    for dir in ["shared", "services"] {
        rust_files(&root().join(dir), &mut files);
    }
    let is_test = |path: &str| path.contains("/tests") || path.contains("/bench/") || path.contains("/examples/");
    let (mut reads, mut waits) = (BTreeSet::new(), BTreeSet::new());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        if is_test(&path) {
            continue;
        }
        if text.contains("SystemTime") {
            reads.insert(path.clone());
        }
        if ["Duration::from_nanos(", "Duration::from_nanos_u128("].iter().any(|made| text.contains(made)) {
            waits.insert(path);
        }
    }
    assert_eq!(reads, WALL_CLOCK.map(str::to_owned).into(), "take the time from the `Clock` that is passed");
    // its nanoseconds are of a clock that never goes back
    assert_eq!(waits, BTreeSet::from(["shared/model/src/rate.rs".to_owned()]), "wait by tokio's `Instant`");
}

#[test]
fn no_generated_message_has_debug() {
    let build = read("proto/build.rs");
    assert!(build.contains(r#".skip_debug(["."])"#), "patient data could reach a log through {{:?}}");
}

#[test]
fn the_top_level_holds_what_it_should() {
    let allowed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "proto",
        "services",
        "shared",
        "deploy",
        "helm",
        "tests",
        "target",
        "wardline-data",
    ]
    .into();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || allowed.contains(name.as_str()), "{name} does not belong at the top level");
    }
}
