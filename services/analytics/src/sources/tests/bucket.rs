//! Objects of buckets: the logic over a store in memory, and the S3 API over the wire.

use super::{
    pace,
    server::{Server, cut, header, whole},
};
use crate::{
    jobs::work::Work,
    sources::{
        Fetched, Origin,
        bucket::{Bucket, Keys, bring, fetch},
        trouble::Trouble,
    },
};
use object_store::{ObjectStoreExt, memory::InMemory, path::Path as Key};
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;

fn names(fetched: &Fetched) -> Vec<String> {
    let Fetched::Files(files, _) = fetched else { return vec!["unchanged".to_owned()] };
    files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn said(trouble: Trouble) -> String {
    match trouble {
        Trouble::Again { text, .. } => format!("again: {text}"),
        Trouble::Final(text) => text,
    }
}

async fn from_memory(store: &InMemory, prefix: &str, last: Option<&Origin>, most: u64) -> Result<Fetched, String> {
    let (dir, pace) = (TempDir::new().unwrap(), pace());
    let origin = Origin::new("s", "here");
    let work = Work::alone(true);
    bring(store, &Key::from(prefix), (origin, last), dir.path(), (most, &pace), &work).await.map_err(said)
}

#[tokio::test]
async fn objects_right_below_the_prefix_come_once() {
    let store = InMemory::new();
    for (key, rows) in [("in/b.csv", "b"), ("in/a.csv", "aa"), ("in/deep/c.csv", "c"), ("into.csv", "d")] {
        store.put(&Key::from(key), rows.into()).await.unwrap();
    }
    let first = from_memory(&store, "in/", None, 100).await.unwrap();
    assert_eq!(names(&first), ["a.csv", "b.csv"]);
    let Fetched::Files(_, origin) = first else { unreachable!() };
    assert_eq!(from_memory(&store, "in", Some(&origin), 100).await.unwrap(), Fetched::Unchanged);
    store.put(&Key::from("in/b.csv"), "c".into()).await.unwrap();
    assert_eq!(names(&from_memory(&store, "in", Some(&origin), 100).await.unwrap()), ["a.csv", "b.csv"]);
    assert_eq!(names(&from_memory(&store, "into.csv", None, 100).await.unwrap()), ["into.csv"]);
    assert!(from_memory(&store, "in", None, 2).await.unwrap_err().contains("set max_mib"));
    assert!(from_memory(&store, "nothing", None, 2).await.unwrap_err().contains("set prefix"));
    store.put(&Key::from("in/.hidden"), "".into()).await.unwrap();
    assert!(from_memory(&store, "in", None, 100).await.unwrap_err().contains(".hidden"));
    for n in 0..70 {
        store.put(&Key::from(format!("many/{n}.csv")), "".into()).await.unwrap();
    }
    assert!(from_memory(&store, "many", None, 100).await.unwrap_err().contains("set a longer prefix"));
}

const LIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Name>reference</Name><Prefix>sites/</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
<Contents><Key>sites/a.csv</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;v1&quot;</ETag><Size>10</Size>
<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"#;

/// The S3 API as far as it is used: lists, heads, and gives an object, whose first answer breaks off.
async fn s3() -> Server {
    const OBJECT: &[u8] = b"0123456789";
    let headers = ["ETag: \"v1\"", "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT"];
    Server::start(move |n, asked| {
        let path = asked.split(' ').nth(1).unwrap();
        if !asked.to_ascii_lowercase().contains("authorization: aws4-hmac-sha256 credential=id/") {
            return whole("403 Forbidden", &[], b"<Error><Code>InvalidAccessKeyId</Code></Error>");
        }
        match (path.contains("list-type=2"), asked.starts_with("HEAD"), path.ends_with("/sites/a.csv")) {
            (true, ..) => whole("200 OK", &["Content-Type: application/xml"], LIST.as_bytes()),
            (_, false, true) if header(asked, "range").is_none() && n < 4 => cut("200 OK", &headers, OBJECT, 4),
            (_, false, true) => {
                let from: usize = header(asked, "range").map_or(0, |range| range[6..7].parse().unwrap());
                assert_eq!(header(asked, "if-match"), Some("\"v1\""));
                let range = format!("Content-Range: bytes {from}-9/10");
                whole("206 Partial Content", &[headers[0], headers[1], &range], &OBJECT[from..])
            }
            _ => whole("404 Not Found", &[], b""),
        }
    })
    .await
}

fn bucket(server: &Server, keys: Keys) -> Bucket {
    Bucket {
        bucket: "reference".to_owned(),
        prefix: "sites/".to_owned(),
        endpoint: Some(server.url("")),
        region: "us-east-1".to_owned(),
        keys,
        ca_file: None,
        allow_private: false,
        max_bytes: 1_000,
        max_time: Duration::from_secs(20),
    }
}

async fn from(bucket: &Bucket, last: Option<&Origin>, to: &Path) -> Result<Fetched, String> {
    fetch(bucket, ("s", last), to, &pace(), &Work::alone(true)).await.map_err(said)
}

#[tokio::test]
async fn a_bucket_is_read_by_the_s3_api_with_keys_from_files() {
    let (server, dir) = (s3().await, TempDir::new().unwrap());
    let [id, secret] = ["id", "secret"].map(|name| dir.path().join(name));
    fs::write(&id, "id\n").unwrap();
    fs::write(&secret, "hunter2\n").unwrap();
    let keys = Keys::Files { access_key_id: id.clone(), secret_access_key: secret };
    assert!(!format!("{keys:?}").contains("hunter2"));
    let of_files = bucket(&server, keys);
    let fetched = from(&of_files, None, dir.path()).await.unwrap();
    assert_eq!(names(&fetched), ["a.csv"]);
    assert_eq!(fs::read(dir.path().join("a.csv")).unwrap(), b"0123456789");
    let Fetched::Files(_, origin) = fetched else { unreachable!() };
    assert_eq!(from(&of_files, Some(&origin), dir.path()).await.unwrap(), Fetched::Unchanged);
    let unsigned = from(&bucket(&server, Keys::None), None, dir.path()).await.unwrap_err();
    assert!(unsigned.contains("does not let these keys in"), "{unsigned}");
    let lost = Keys::Files { access_key_id: id, secret_access_key: dir.path().join("lost") };
    let lost = from(&bucket(&server, lost), None, dir.path()).await.unwrap_err();
    assert!(lost.contains("the file of a key cannot be read"), "{lost}");
    let named = Some(format!("http://localhost:{}", server.address.port()));
    let inner = Bucket { endpoint: named, ..bucket(&server, Keys::None) };
    assert!(from(&inner, None, dir.path()).await.is_err());
}
