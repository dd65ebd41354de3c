//! Holds the house to what the README says of it.

mod circles;
mod readme;
mod words;

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
    for pattern in ["proto", "tests", "tests/bench", "shared", "services"] {
        let dir = root().join(pattern);
        let dirs = if dir.join("Cargo.toml").exists() {
            vec![dir]
        } else {
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        for dir in dirs {
            let manifest: toml::Table = fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap();
            // what is published says whose it is
            let name = manifest["package"]["name"].as_str().unwrap().trim_start_matches("wardline-");
            found.insert(name.to_owned(), dir);
        }
    }
    found
}

fn dependencies(dir: &Path) -> BTreeSet<String> {
    section(dir, "dependencies")
}

/// Names in a section of a crate's manifest.
fn section(dir: &Path, name: &str) -> BTreeSet<String> {
    let manifest: toml::Table = fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap();
    manifest.get(name).and_then(|d| d.as_table()).map(|d| d.keys().cloned().collect()).unwrap_or_default()
}

/// The crates of ours that one uses; those that its tests alone use as `name (tests)`.
fn edges(dir: &Path, crates: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    let all = dependencies(dir);
    let tests = section(dir, "dev-dependencies").into_iter().filter(|name| crates.contains_key(name));
    let tests: Vec<_> = tests.filter(|name| !all.contains(name)).map(|name| format!("{name} (tests)")).collect();
    all.into_iter().filter(|name| crates.contains_key(name)).chain(tests).collect()
}

/// Rows of the README's table that starts with the heading `| Crate | May use |`.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let readme = read("README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| Crate | May use")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let uses = cells[1].split(',').map(|name| name.trim().replace('`', ""));
            (cells[0].trim_matches('`').to_owned(), uses.filter(|name| !name.is_empty() && name != "-").collect())
        })
        .collect()
}

#[test]
fn edges_between_crates_are_those_of_the_readme() {
    let crates = crates();
    let edges: BTreeMap<String, BTreeSet<String>> =
        crates.iter().map(|(name, dir)| (name.clone(), edges(dir, &crates))).collect();
    assert_eq!(table(), edges, "left: README, right: the manifests");
}

#[test]
fn each_engine_is_known_to_one_crate() {
    let known = |name: &str| -> Vec<String> {
        crates().iter().filter(|(_, dir)| dependencies(dir).contains(name)).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(known("rdkafka"), ["bench", "bus"]);
    assert_eq!(known("scylla"), ["bench", "store"]);
    assert_eq!(known("fjall"), ["bench", "bus", "disk", "store"]);
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

/// Every Rust file below folders of the repository.
fn rust_files(dirs: impl IntoIterator<Item = impl AsRef<Path>>) -> Vec<PathBuf> {
    files(dirs, "rs")
}

/// Every file below folders of the repository whose name ends so.
fn files(dirs: impl IntoIterator<Item = impl AsRef<Path>>, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<_> = dirs.into_iter().map(|dir| root().join(dir)).collect();
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let files = rust_files(["proto", "shared", "services", "tests"]);
    assert!(files.len() > 50, "found only {} files", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

/// What a process runs is put together there, and nothing else: what a service needs for itself is the service's.
#[test]
fn the_composition_root_only_composes() {
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let lines: usize = rust_files(["services/node"]).iter().map(lines).sum();
    assert!(lines <= 3_500, "services/node has {lines} lines, of 3,500: move out what one service alone needs");
}

/// Lines of each function of a file that is formatted: from its name to the brace below it.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let inner = line.trim_start();
        let words: Vec<_> = inner.split([' ', '(', '<']).take_while(|word| !word.is_empty()).collect();
        let before = ["pub", "pub(crate", "pub(super", "async", "const", "default"];
        let Some(place) = words.iter().position(|word| *word == "fn") else { continue };
        if !words[..place].iter().all(|word| before.contains(&word.trim_end_matches(')'))) {
            continue;
        }
        let opens = lines[at..].iter().position(|line| line.ends_with(['{', ';', '}'])).unwrap_or(0);
        if lines[at + opens].ends_with('{') {
            let end = format!("{}}}", &line[..line.len() - inner.len()]);
            let n = lines[at..].iter().position(|line| *line == end).unwrap_or(0);
            found.push((words.get(place + 1).copied().unwrap_or_default().to_owned(), n + 1));
        }
    }
    found
}

/// Stories that lose by being cut: each step stands on those before it.
const STORIES: [&str; 6] = [
    "a_device_is_registered_claimed_assigned_and_revoked",
    "ask_the_registry",
    "consent_and_emergencies_count_at_once_and_can_be_explained",
    "each_call_and_each_refusal_is_written_down",
    "each_sees_and_changes_the_sections_that_are_theirs",
    "the_same_request_is_answered_by_role_relation_purpose_and_consent",
];

#[test]
fn functions_are_short() {
    let files = rust_files(["proto", "shared", "services", "tests"]);
    let (mut n_functions, mut stories) = (0, BTreeSet::new());
    for path in files {
        for (name, lines) in functions(&fs::read_to_string(&path).unwrap()) {
            n_functions += 1;
            if lines > 70 {
                stories.insert(name.clone());
                assert!(STORIES.contains(&&*name), "{}: {name} has {lines} lines", path.display());
            }
        }
    }
    assert_eq!(stories, STORIES.map(str::to_owned).into(), "shorter by now");
    assert!(n_functions > 2_000, "found only {n_functions} functions");
}

#[test]
fn no_dependency_is_there_for_nothing() {
    // of the generated code
    let unseen = [("proto", "tonic-prost")];
    for (name, dir) in crates() {
        let mut files = rust_files([&dir]);
        // the benchmarks lie within the tests
        files.retain(|path| name == "bench" || !path.starts_with(root().join("tests/bench")));
        let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for dependency in dependencies(&dir) {
            let used = text.contains(&dependency.replace('-', "_"));
            assert!(used || unseen.contains(&(&*name, &*dependency)), "{name} does not use {dependency}");
        }
    }
}

/// Where the wall clock is read: to say when something was, or whether something that bears a time still holds.
const WALL_CLOCK: [&str; 8] = [
    "services/wardline/src/simulate/device.rs",
    "services/wardline/src/timeline.rs",
    "shared/directory/src/files.rs",
    "shared/directory/src/follow.rs",
    "shared/auth/src/signer.rs",
    "shared/bus/src/embedded/segments.rs",
    "shared/guard/src/clock.rs",
    "shared/store/src/sheet.rs",
];

/// A wall clock can be put back by a day, and whoever waits for it to come somewhere waits for that day. Our times are
/// nanoseconds, so that a wait that is the difference of two of them is a `Duration` made of nanoseconds.
#[test]
fn nothing_waits_for_the_wall_clock() {
    let files = rust_files(["shared", "services"]);
    let is_test = |path: &str| path.contains("/tests") || path.contains("/examples/");
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

/// A task outside of it could panic, and the node would go on without what the task is for.
#[test]
fn what_a_service_starts_is_in_the_nodes_set_of_tasks() {
    let mut files = rust_files(["services/node/src/services"]);
    files.extend(
        ["services/node/src/run.rs", "services/node/src/routes.rs", "services/node/src/wiring.rs"]
            .map(|path| root().join(path)),
    );
    assert!(files.len() > 5, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("tokio::spawn"), "{}: start it with the node's tasks", path.display());
    }
}

/// What a crate tells about itself is found in one place, with its help text beside its name.
#[test]
fn metrics_are_named_in_one_file_of_a_crate() {
    let (mut n_files, macros) = (0, ["counter!", "gauge!", "histogram!"].map(|name| format!("{name}(")));
    for path in rust_files(["proto", "shared", "services"]) {
        let text = fs::read_to_string(&path).unwrap();
        if !macros.iter().any(|name| text.contains(name)) {
            continue;
        }
        n_files += 1;
        assert!(path.ends_with("src/metrics.rs"), "{}: count in the crate's metrics.rs", path.display());
    }
    assert!(n_files > 8, "{n_files} files count");
}

/// The tools are the SDK's first users: what it lacks for them, it lacks for integrators.
#[test]
fn the_tools_connect_by_the_sdk_alone() {
    for path in rust_files(["services/wardline/src"]) {
        let text = fs::read_to_string(&path).unwrap();
        for own in ["transport::", "metadata_mut", "\"authorization\"", "connect_lazy", ".channel()"] {
            assert!(!text.contains(own), "{}: {own} is for the SDK to do", path.display());
        }
    }
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
