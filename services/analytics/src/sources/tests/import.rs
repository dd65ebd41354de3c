//! Sources as imports use them: what has not changed makes no version.

use super::server::{Server, head, header, whole};
use crate::{
    catalogue::{Catalogue, DataSet},
    import::Import,
    jobs::{
        kinds::{Done, Failure, Kind, Parameters, checked},
        work::Work,
    },
    objects::Objects,
    sources::{Source, SourceLocation, Sources, web::Web},
    uploads::Uploads,
};
use object_store::path::Path as Key;
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use uuid::Uuid;

const MINUTE: Duration = Duration::from_secs(60);
const FIRST: &str = "Location,2020,2021,2022,2023,2024\nTexas,$1,$2,$3,$4,$5\n";

struct Bench {
    dir: TempDir,
    import: Import,
}

impl Bench {
    fn new(place: impl FnOnce(&TempDir) -> SourceLocation) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let source = Source { name: "publisher".to_owned(), kind: "premiums".to_owned(), place: place(&dir) };
        let import = Import {
            catalogue: Catalogue::new(store, objects.clone(), guard::clock::now),
            uploads: Uploads::new(objects, guard::clock::now),
            sources: Sources(vec![source]),
            clock: guard::clock::now,
        };
        Self { dir, import }
    }

    async fn run(&self, more: &[(&str, &str)]) -> Done {
        self.attempt(&Work::alone(true), more).await
    }

    async fn attempt(&self, work: &Work, more: &[(&str, &str)]) -> Done {
        self.tried(work, more).await.unwrap()
    }

    async fn tried(&self, work: &Work, more: &[(&str, &str)]) -> Result<Done, Failure> {
        let given = [("kind", "premiums"), ("source", "publisher")].iter().chain(more);
        let given: Parameters = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let parameters = checked(&self.import.parameters(), &given).unwrap();
        self.import.run(work, &parameters).await
    }

    async fn upload(&self, text: &str) -> Uuid {
        let id = Uuid::now_v7();
        let said = ("premiums.csv", text.len() as u64);
        let mut receiving = self.import.uploads.receive(id, "user:a", said, 0).await.unwrap();
        receiving.add(text.as_bytes()).await.unwrap();
        receiving.finish().await.unwrap();
        id
    }

    async fn data_set(&self) -> DataSet {
        self.import.catalogue.get("premiums").await.unwrap()
    }
}

#[tokio::test]
async fn a_file_that_has_not_changed_makes_no_version() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums.csv"), MINUTE));
    let path = bench.dir.path().join("premiums.csv");
    fs::write(&path, FIRST).unwrap();
    let first = bench.run(&[]).await;
    assert_eq!((first.rows, &first.result["nothing_new"]), ((5, 5), &false.into()));
    let again = bench.run(&[]).await;
    assert_eq!((again.rows, &again.result["nothing_new"]), ((0, 0), &true.into()));
    assert_eq!(again.result["version_id"], first.result["version_id"]);
    assert_eq!(bench.data_set().await.versions.len(), 1);
    // when that is asked for, and when the file is read otherwise
    assert_eq!(bench.run(&[("unchanged", "import")]).await.rows, (5, 5));
    assert_eq!(bench.run(&[("layout", "2020-2024")]).await.rows, (5, 5));
    fs::write(&path, FIRST.replace("$5", "$6")).unwrap();
    assert_eq!(bench.run(&[]).await.result["nothing_new"], false);
    let data_set = bench.data_set().await;
    assert_eq!(data_set.versions.len(), 4);
    // what was deleted is there again
    for version in data_set.versions {
        bench.import.catalogue.delete("premiums", version.id, "user:a", true).await.unwrap();
    }
    assert_eq!(bench.run(&[]).await.rows, (5, 5));
}

#[tokio::test]
async fn an_attempt_after_one_that_added_the_version_says_what_that_one_made() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums.csv"), MINUTE));
    fs::write(bench.dir.path().join("premiums.csv"), FIRST).unwrap();
    let upload = bench.upload(FIRST).await;
    let work = Work::alone(true);
    let uploads = [("source", "-"), ("uploads", &*upload.to_string())];
    let first = bench.attempt(&work, &uploads).await;
    assert!(bench.import.uploads.find(upload, "user:a").await.is_err(), "it is imported");
    // its worker was killed before it could say so; the uploaded file is gone
    let second = bench.attempt(&work, &uploads).await;
    assert_eq!((&second.result, second.rows), (&first.result, first.rows));
    assert_eq!(bench.data_set().await.versions.len(), 1);
}

#[tokio::test]
async fn a_publisher_is_asked_for_what_has_changed_since_the_current_version() {
    let has_changed = Arc::new(AtomicBool::new(false));
    let changed = Arc::clone(&has_changed);
    let server =
        Server::start(move |_, asked| match (changed.load(Ordering::SeqCst), header(asked, "if-none-match")) {
            (false, Some("\"v1\"")) => vec![head("304 Not Modified", &[])],
            (false, None) => whole("200 OK", &["ETag: \"v1\""], FIRST.as_bytes()),
            // another ETag, and the same file
            _ => whole("200 OK", &["ETag: \"v2\""], FIRST.as_bytes()),
        })
        .await;
    let web = Web {
        url: server.url("/premiums.csv"),
        allowed_hosts: vec!["127.0.0.1".to_owned()],
        max_bytes: 1 << 20,
        max_time: Duration::from_secs(20),
        ..Web::default()
    };
    let bench = Bench::new(|_| SourceLocation::Web(web));
    assert_eq!(bench.run(&[]).await.rows, (5, 5));
    assert_eq!(bench.run(&[]).await.result["nothing_new"], true);
    has_changed.store(true, Ordering::SeqCst);
    assert_eq!(bench.run(&[]).await.result["nothing_new"], true, "the same SHA-256");
    let data_set = bench.data_set().await;
    assert_eq!((data_set.versions.len(), server.asked().len()), (1, 3));
    let version = data_set.current().unwrap();
    assert_eq!(version.source_files, ["premiums.csv"]);
    assert_eq!(version.origin.as_ref().unwrap().etag.as_deref(), Some("\"v1\""));
    assert_eq!(bench.run(&[("unchanged", "import")]).await.rows, (5, 5));
    assert!(header(&server.asked()[3], "if-none-match").is_none());
}

#[tokio::test]
async fn what_fails_its_checks_is_kept_and_what_is_in_use_stays() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums.csv"), MINUTE));
    let path = bench.dir.path().join("premiums.csv");
    let damaged = FIRST.replace("$5", "five");
    // there is no other
    fs::write(&path, &damaged).unwrap();
    let alone = bench.run(&[]).await;
    assert_eq!((&alone.result["passed"], &alone.result["in_use"]), (&false.into(), &true.into()));
    fs::write(&path, FIRST).unwrap();
    let first = bench.run(&[]).await;
    assert_eq!((&first.result["passed"], &first.result["in_use"]), (&true.into(), &true.into()));
    fs::write(&path, &damaged).unwrap();
    for nothing_new in [false, true] {
        let done = bench.run(&[]).await.result;
        assert_eq!((&done["nothing_new"], &done["in_use"]), (&nothing_new.into(), &false.into()), "{done}");
        let why = done["why"].as_str().unwrap();
        assert!(why.contains("it failed checks") && why.contains("types: 1 of 5"), "{why}");
        let data_set = bench.data_set().await;
        assert_eq!((data_set.versions.len(), data_set.current().unwrap().rows), (3, 5));
    }
    // what is in use is found under what is not
    fs::write(&path, FIRST).unwrap();
    let again = bench.run(&[]).await.result;
    assert_eq!((&again["nothing_new"], &again["version_id"]), (&true.into(), &first.result["version_id"]));
    // no row is accepted
    fs::write(&path, "Location,2020,2021,2022,2023,2024\nTexas,a,b,c,d,e\n").unwrap();
    for more in [&[][..], &[("use", "always")][..]] {
        let Err(Failure::Final(error)) = bench.tried(&Work::alone(true), more).await else { panic!("it is done") };
        assert!(error.contains("of 5 that were read") && error.contains("monthly_premium: allowed is"), "{error}");
        assert!(error.contains("premiums.csv line 2"), "{error}");
    }
    let data_set = bench.data_set().await;
    assert_eq!((data_set.versions.len(), data_set.current().unwrap().rows), (3, 5));
    // it is kept already, and asked for
    fs::write(&path, &damaged).unwrap();
    assert_eq!(bench.run(&[("use", "always")]).await.result["in_use"], true);
    assert_eq!(bench.data_set().await.current().unwrap().rows, 4);
}

#[tokio::test]
async fn a_file_that_was_refused_or_broke_off_is_said_and_what_is_in_use_stays() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums"), MINUTE));
    let path = |name: &str| bench.dir.path().join("premiums").join(name);
    fs::create_dir(bench.dir.path().join("premiums")).unwrap();
    fs::write(path("a.csv"), FIRST).unwrap();
    assert_eq!(bench.run(&[]).await.result["files_not_whole"], serde_json::json!([]));
    let second = FIRST.replace("Texas", "Iowa");
    let packed = zstd::encode_all(second.as_bytes(), 3).unwrap();
    for (name, bytes, says) in [
        ("b.csv.zst", &packed[..packed.len() - 4], "it ends before its packed data does"),
        ("b.csv", &b"a,b,c\n1,2,3\n"[..], "take the publisher's file unchanged"),
        ("b.csv", &second.as_bytes()[..second.len() - 5], "the last line is refused and has no line end"),
    ] {
        fs::write(path(name), bytes).unwrap();
        let done = bench.run(&[]).await.result;
        assert_eq!((&done["passed"], &done["in_use"]), (&false.into(), &false.into()), "{done}");
        let said = done["files_not_whole"][0].as_str().unwrap();
        assert!(said.starts_with(name) && said.contains(says), "{said}");
        assert!(
            done["why"].as_str().unwrap().contains(&format!("files: 1 of 2 are wrong, at most 0 % may be: {said}"))
        );
        assert_eq!(bench.data_set().await.current().unwrap().source_files, ["a.csv"]);
        fs::remove_file(path(name)).unwrap();
    }
    fs::write(path("b.csv"), "a,b,c\n1,2,3\n").unwrap();
    let done = bench.run(&[("use", "always")]).await.result;
    assert_eq!((&done["passed"], &done["in_use"]), (&false.into(), &true.into()), "{done}");
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn what_is_no_plain_file_in_a_sources_folder_is_refused_by_name() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums"), MINUTE));
    let path = |name: &str| bench.dir.path().join("premiums").join(name);
    let secret = bench.dir.path().join("secret.csv");
    fs::write(&secret, FIRST.replace("Texas", "Ohio")).unwrap();
    fs::create_dir(bench.dir.path().join("premiums")).unwrap();
    let refused = async || match bench.tried(&Work::alone(true), &[]).await {
        Err(Failure::Final(error)) => error,
        other => panic!("{other:?}"),
    };
    let error = refused().await;
    assert!(error.contains("the source publisher: its folder has no files"), "{error}");
    fs::write(path("premiums.csv"), FIRST).unwrap();
    for name in ["pipe.csv", "outside.csv", "inside.csv", "nowhere.csv", "2023"] {
        match name {
            "pipe.csv" => make_pipe(&path(name)),
            "outside.csv" => symlink(&secret, path(name)).unwrap(),
            "inside.csv" => symlink(path("premiums.csv"), path(name)).unwrap(),
            "nowhere.csv" => symlink(path("nothing"), path(name)).unwrap(),
            _ => fs::create_dir(path(name)).unwrap(),
        }
        let error = refused().await;
        assert!(error.contains(&format!("the source publisher: \"{name}\" is no plain file")), "{error}");
        assert!(bench.data_set().await.versions.is_empty(), "{name}");
        fs::remove_file(path(name)).or_else(|_| fs::remove_dir(path(name))).unwrap();
    }
    assert_eq!(bench.run(&[]).await.rows, (5, 5));
}

#[tokio::test]
async fn a_path_of_the_settings_may_be_a_link_and_is_no_pipe() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums.csv"), MINUTE));
    let path = bench.dir.path().join("premiums.csv");
    make_pipe(&path);
    let Err(Failure::Final(error)) = bench.tried(&Work::alone(true), &[]).await else { panic!("it is done") };
    assert!(error.contains("the source publisher: \"premiums.csv\" is no plain file"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::write(bench.dir.path().join("2024.data"), FIRST).unwrap();
    symlink("2024.data", &path).unwrap();
    assert_eq!(bench.run(&[]).await.rows, (5, 5));
    assert_eq!(bench.data_set().await.current().unwrap().source_files, ["premiums.csv"]);
}

/// Nobody could copy it in the time; it takes no room.
#[tokio::test]
async fn copying_ends_when_it_takes_too_long_or_nobody_waits_for_it() {
    let soon = Duration::from_millis(50);
    let mut bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums.csv"), soon));
    let path = bench.dir.path().join("premiums.csv");
    fs::File::create(&path).unwrap().set_len(1 << 36).unwrap();
    let Err(Failure::Again(error)) = bench.tried(&Work::alone(true), &[]).await else { panic!("it is done") };
    assert!(error.contains("the source publisher: it takes longer than 0 s (max_minutes)"), "{error}");
    bench.import.sources.0[0].place = SourceLocation::Path(path, MINUTE);
    let work = Work::alone(true);
    work.stop().cancel();
    let Err(Failure::Again(error)) = bench.tried(&work, &[]).await else { panic!("it is done") };
    assert!(error.contains("nobody wants the result any more"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_imports_of_the_same_at_once_make_one_version() {
    let bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("premiums.csv"), MINUTE));
    fs::write(bench.dir.path().join("premiums.csv"), FIRST).unwrap();
    let (one, two) = tokio::join!(bench.run(&[]), bench.run(&[]));
    let mut new = [&one, &two].map(|done| done.result["nothing_new"].as_bool().unwrap());
    new.sort_unstable();
    assert_eq!((new, &one.result["version_id"]), ([false, true], &two.result["version_id"]));
    assert_eq!(bench.data_set().await.versions.len(), 1);
    let (objects, key) = (bench.import.catalogue.objects(), Key::from("datasets/premiums"));
    let mut kept = Vec::new();
    for folder in objects.folders(&key).await.unwrap() {
        kept.extend(objects.sizes(&key.clone().join(folder)).await.unwrap().into_keys());
    }
    assert_eq!(kept, ["part-0.parquet", "report.json"]);
}

#[tokio::test]
async fn the_same_file_is_imported_again_when_other_tables_make_its_checks_come_out_otherwise() {
    let mut bench = Bench::new(|dir| SourceLocation::Path(dir.path().join("it.csv"), MINUTE));
    for kind in ["unemployment", "county_rurality"] {
        let source = Source { kind: kind.to_owned(), ..bench.import.sources.0[0].clone() };
        bench.import.sources.0.push(source);
    }
    let path = bench.dir.path().join("it.csv");
    let import = async |kind: &str, text: &str| {
        fs::write(&path, text).unwrap();
        bench.run(&[("kind", kind)]).await.result
    };
    let counties = |fips: &str| {
        let row = |name, value| format!("{fips},AL,A County,{name},{value}\n");
        let rows = [row("Population_2020", "58805"), row("RUCC_2023", "2"), row("Description", "Metro")].concat();
        format!("FIPS,State,County_Name,Attribute,Value\n{rows}")
    };
    let unemployed = "LAUS Code,State FIPS Code,County FIPS Code,County Name/State Abbreviation,Year,Labor Force,Employed,\
                      Unemployed,Unemployment Rate (%)\nCN,01,001,A,2024,10,9,1,10\n";
    import("county_rurality", &counties("1003")).await;
    for nothing_new in [false, true] {
        let done = import("unemployment", unemployed).await;
        assert_eq!((&done["nothing_new"], &done["passed"]), (&nothing_new.into(), &false.into()), "{done}");
    }
    for (fips, passed) in [("1001", true), ("1003", false)] {
        assert_eq!(import("county_rurality", &counties(fips)).await["in_use"], true);
        for nothing_new in [false, true] {
            let done = import("unemployment", unemployed).await;
            assert_eq!((&done["nothing_new"], &done["passed"]), (&nothing_new.into(), &passed.into()), "{done}");
            // what passed stays in use
            assert_eq!(done["in_use"], passed, "{done}");
        }
    }
}
