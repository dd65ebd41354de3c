//! Sources as imports use them: what has not changed makes no version.

use super::server::{Server, head, header, whole};
use crate::{
    catalogue::{Catalogue, DataSet},
    import::Import,
    jobs::{
        kinds::{Done, Kind, Parameters, checked},
        work::Work,
    },
    objects::Objects,
    sources::{Place, Source, Sources, web::Web},
    uploads::Uploads,
};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use uuid::Uuid;

const FIRST: &str = "Location,2020,2021,2022,2023,2024\nTexas,$1,$2,$3,$4,$5\n";

struct Bench {
    dir: TempDir,
    import: Import,
}

impl Bench {
    fn new(place: impl FnOnce(&TempDir) -> Place) -> Self {
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
        let given = [("kind", "premiums"), ("source", "publisher")].iter().chain(more);
        let given: Parameters = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let parameters = checked(&self.import.parameters(), &given).unwrap();
        self.import.run(work, &parameters).await.unwrap()
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
    let bench = Bench::new(|dir| Place::Path(dir.path().join("premiums.csv")));
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
    let bench = Bench::new(|dir| Place::Path(dir.path().join("premiums.csv")));
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
    let bench = Bench::new(|_| Place::Web(web));
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
