//! The archive in a real S3 server: versitygw, over loopback.

use super::{
    super::{
        archiver::{Archiver, Settings},
        bucket::Bucket,
        files::{Error, Files, Object},
        generations::Archive,
        merge,
    },
    made::{delivery, expected, found, record},
};
use crate::sources::bucket::{Bucket as SourceBucket, Keys};
use bus::Handle;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than the server takes to start.
const PATIENCE: Duration = Duration::from_secs(30);
const BUCKET: &str = "ward";
const KEYS: [&str; 2] = ["AKIAWARD", "a secret of the ward"];

/// A server; it ends with this.
struct Server {
    _dir: TempDir,
    child: Child,
    endpoint: String,
}

impl Server {
    fn start() -> Self {
        let program = env::var_os("WARDLINE_VERSITYGW").map_or_else(|| PathBuf::from("versitygw"), PathBuf::from);
        let dir = TempDir::new().unwrap();
        let [data, meta] = ["data", "meta"].map(|name| dir.path().join(name));
        // a folder is a bucket
        fs::create_dir_all(data.join(BUCKET)).unwrap();
        fs::create_dir(&meta).unwrap();
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut command = Command::new(&program);
        command.args(["--access", KEYS[0], "--secret", KEYS[1], "--port", &at.to_string(), "--quiet"]);
        command.args(["posix", "--sidecar"]).args([&meta, &data]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { _dir: dir, child, endpoint: format!("http://{at}") }
    }

    fn store(&self, secret: &str) -> Arc<dyn ObjectStore> {
        let keys = Keys::Given {
            access_key_id: KEYS[0].to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: String::new(),
        };
        let place = SourceBucket {
            bucket: BUCKET.to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".to_owned(),
            keys,
            ..SourceBucket::default()
        };
        place.store().unwrap()
    }

    async fn open(&self) -> Bucket {
        let began = Instant::now();
        loop {
            match Bucket::open(self.store(KEYS[1])).await {
                Ok(bucket) => return bucket,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "needs versitygw; `.ci/run live` installs it"]
async fn a_bucket_has_each_record_once() {
    let server = Server::start();
    let bucket = Arc::new(server.open().await);
    let archive = Archive::new(bucket.clone());
    let payloads: Vec<Bytes> = (1..=20).map(|sequence| record(1, 1, sequence, 3).encode()).collect();
    let settings = Settings { range_bytes: 400, flush_every: Duration::ZERO, ..Settings::default() };
    // two at once, of which each sees all; one is begun anew all the time
    let mut archivers = [(); 2].map(|()| Archiver::new(archive.clone(), settings));
    for (offset, payload) in (0..).zip(&payloads) {
        if offset % 3 == 0 {
            archivers[0] = Archiver::new(archive.clone(), settings);
        }
        for archiver in &mut archivers {
            archiver.step(&[delivery(0, offset, payload.clone())]).await.unwrap();
        }
        if offset % 7 == 6 {
            assert!(merge::merge(&archive, 3).await.unwrap());
        }
    }
    assert_eq!(archivers[1].settled(&[]).iter().last().map(|(_, next)| next.get()), Some(20));
    assert_eq!(found(&*bucket, &archive).await, expected(&payloads));
    assert_eq!(archive.generation().await.unwrap().number, 3);
}

#[tokio::test]
#[ignore = "needs versitygw; `.ci/run live` installs it"]
async fn a_bucket_keeps_to_what_is_asked_and_wrong_keys_are_refused() {
    let server = Server::start();
    let bucket = server.open().await;
    assert!(bucket.create("readings/a", Bytes::from_static(b"1")).await.unwrap());
    assert!(!bucket.create("readings/a", Bytes::from_static(b"2")).await.unwrap());
    bucket.put("readings/b/c", Bytes::from_static(b"33")).await.unwrap();
    bucket.copy("readings/b/c", "readings/b/d").await.unwrap();
    bucket.remove("readings/b/c").await.unwrap();
    bucket.remove("readings/b/c").await.unwrap();
    assert_eq!(bucket.get("readings/a").await.unwrap().unwrap(), "1");
    assert_eq!(bucket.get("readings/b/c").await.unwrap(), None);
    let there = [Object { key: "readings/b/d".to_owned(), bytes: 2 }];
    assert_eq!(bucket.list("readings/b").await.unwrap(), there);
    let refused = Bucket::open(server.store("another secret")).await.err().unwrap();
    assert!(matches!(refused, Error::Store(_)), "{refused}");
}

/// One that writes over what it should only create.
#[derive(Debug)]
struct Careless(InMemory);

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("careless")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Careless {
    async fn put_opts(
        &self,
        key: &object_store::path::Path,
        bytes: object_store::PutPayload,
        _: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.0.put(key, bytes).await
    }

    async fn put_multipart_opts(
        &self,
        key: &object_store::path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(key, options).await
    }

    async fn get_opts(
        &self,
        key: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(key, options).await
    }

    fn delete_stream(
        &self,
        keys: futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.0.delete_stream(keys)
    }

    fn list(
        &self,
        below: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(below)
    }

    async fn list_with_delimiter(
        &self,
        below: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(below).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_writes_over_what_it_should_create_is_refused() {
    let said = Bucket::open(Arc::new(Careless(InMemory::new()))).await.err().unwrap().to_string();
    assert!(said.contains("If-None-Match") && said.contains("use another one"), "{said}");
    assert!(Bucket::open(Arc::new(InMemory::new())).await.is_ok());
}
