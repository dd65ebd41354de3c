//! Objects of an object store that speaks the S3 API: listed, compared with the last list, and brought one after the other.

use super::{
    address,
    http::{self, Pace},
    origin::{Fetched, Origin},
    trouble::{Trouble, within},
};
use crate::{hexadecimal::hexadecimal, jobs::work::Work, uploads::is_plain_name};
use futures::TryStreamExt;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::AmazonS3Builder,
    client::{HttpClient, HttpConnector},
    path::Path as Key,
};
use reqwest::Url;
use sha2::{Digest, Sha256};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
    time,
};

/// Most objects of a source.
const OBJECTS_MAX: usize = 64;
/// Most objects that are listed to find them.
const LISTED_MAX: usize = 10_000;

/// Objects of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// The bucket's name.
    pub bucket: String,
    /// The object, or what stands before the last `/` of the objects' names; empty: the objects at the top.
    pub prefix: String,
    /// Where the store is; `None`: Amazon's for the region.
    pub endpoint: Option<String>,
    /// Region of the bucket, for the signature and Amazon's address: `us-east-1`.
    pub region: String,
    /// What signs the requests.
    pub keys: Keys,
    /// PEM file of authorities that are believed beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether names may lead to addresses of an inner network.
    pub allow_private: bool,
    /// Most bytes of all objects together.
    pub max_bytes: u64,
    /// How long an attempt may take.
    pub max_time: Duration,
}

/// What signs requests.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Keys {
    /// Nothing: the bucket is open.
    #[default]
    None,
    /// Keys that the settings hold.
    Given {
        /// Id of the access key.
        access_key_id: String,
        /// Secret of the access key; never shown.
        secret_access_key: String,
        /// Of keys that end, empty for others.
        session_token: String,
    },
    /// What these files hold, read for each attempt.
    Files {
        /// File with the id of the access key, blanks around it ignored.
        access_key_id: PathBuf,
        /// File with the secret of the access key, blanks around it ignored.
        secret_access_key: PathBuf,
    },
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::None { "no keys" } else { "keys" })
    }
}

/// Brings the objects to a folder, if their list is another one than last time.
pub(super) async fn fetch(
    bucket: &Bucket,
    (source, last): (&str, Option<&Origin>),
    to: &Path,
    pace: &Pace,
    work: &Work,
) -> Result<Fetched, Trouble> {
    let store = bucket.open(pace)?;
    let place = format!("{:?} {} {}", bucket.endpoint, bucket.bucket, bucket.prefix);
    let (origin, prefix) = (Origin::new(source, &place), Key::from(bucket.prefix.as_str()));
    let bringing = bring(&store, &prefix, (origin, last), to, (bucket.max_bytes, pace), work);
    within(bucket.max_time, bringing).await
}

/// The same from any store.
pub(super) async fn bring(
    store: &dyn ObjectStore,
    prefix: &Key,
    (mut origin, last): (Origin, Option<&Origin>),
    to: &Path,
    (max_bytes, pace): (u64, &Pace),
    work: &Work,
) -> Result<Fetched, Trouble> {
    let objects = list(store, prefix).await?;
    let total: u64 = objects.iter().map(|object| object.size).sum();
    if total > max_bytes {
        return Err(Trouble::Final(format!("the objects are larger than {} MiB: set max_mib", max_bytes >> 20)));
    }
    origin.etag = Some(fingerprint(&objects));
    if last.is_some_and(|last| last.is_of(&origin) && last.etag == origin.etag) {
        return Ok(Fetched::Unchanged);
    }
    let (mut files, mut done) = (Vec::new(), 0);
    for object in &objects {
        let name = object.location.filename().unwrap_or_default();
        if !is_plain_name(name) {
            return Err(Trouble::Final(format!(
                "an object is called {}, which is no name of a file",
                model::quoted(name)
            )));
        }
        let file = to.join(name);
        one(store, object, &file, pace, &|bytes| work.progress("downloading", done + bytes, total, "bytes")).await?;
        done += object.size;
        files.push(file);
    }
    Ok(Fetched::Files(files, origin))
}

/// The one object of this name, or those right below it, in the order of their names.
async fn list(store: &dyn ObjectStore, prefix: &Key) -> Result<Vec<ObjectMeta>, Trouble> {
    if !prefix.as_ref().is_empty() {
        match store.head(prefix).await {
            Ok(object) => return Ok(vec![object]),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(unread(error)),
        }
    }
    let (mut objects, mut n_listed) = (Vec::new(), 0);
    let mut listed = store.list(Some(prefix).filter(|prefix| !prefix.as_ref().is_empty()));
    let n_parts = prefix.parts().count() + 1;
    while let Some(object) = listed.try_next().await.map_err(unread)? {
        n_listed += 1;
        if object.location.parts().count() == n_parts {
            objects.push(object);
        }
        if objects.len() > OBJECTS_MAX || n_listed > LISTED_MAX {
            let text = format!("more than {OBJECTS_MAX} objects, or {LISTED_MAX} below them: set a longer prefix");
            return Err(Trouble::Final(text));
        }
    }
    if objects.is_empty() {
        return Err(Trouble::Final("there is no object of this name, and none right below it: set prefix".to_owned()));
    }
    objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(objects)
}

/// What tells lists apart: names, sizes, and ETags or times of change.
fn fingerprint(objects: &[ObjectMeta]) -> String {
    let mut digest = Sha256::new();
    for object in objects {
        let changed = object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339());
        digest.update(format!("{}\n{}\n{changed}\n", object.location, object.size));
    }
    hexadecimal(digest.finalize())
}

/// Brings one object, resumed where it broke off; one that is replaced meanwhile is not glued together.
async fn one(
    store: &dyn ObjectStore,
    object: &ObjectMeta,
    to: &Path,
    pace: &Pace,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Trouble> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(to).await.map_err(Trouble::unwritten)?);
    let (mut bytes, mut n_tries) = (0, 0);
    while bytes < object.size {
        let more = rest(store, object, bytes, pace);
        let broken = match more.await {
            Ok(mut stream) => loop {
                let next = time::timeout(pace.idle, stream.try_next()).await;
                match next.unwrap_or(Ok(None)) {
                    Ok(Some(chunk)) => {
                        bytes += chunk.len() as u64;
                        if bytes > object.size {
                            return Err(Trouble::changed());
                        }
                        out.write_all(&chunk).await.map_err(Trouble::unwritten)?;
                        progress(bytes);
                    }
                    Ok(None) if bytes == object.size => break None,
                    Ok(None) => break Some(Trouble::again(format!("it broke off after {bytes} bytes"))),
                    Err(error) => break Some(unread(error)),
                }
            },
            Err(trouble) => Some(trouble),
        };
        match broken {
            Some(Trouble::Again { .. }) if n_tries < pace.tries => time::sleep(pace.wait(n_tries, None)).await,
            Some(trouble) => return Err(trouble),
            None => {}
        }
        n_tries += 1;
    }
    out.flush().await.map_err(Trouble::unwritten)
}

type Chunks = futures::stream::BoxStream<'static, Result<bytes::Bytes, Error>>;

/// The object from an offset on, as it was listed.
async fn rest(store: &dyn ObjectStore, object: &ObjectMeta, offset: u64, pace: &Pace) -> Result<Chunks, Trouble> {
    let options = GetOptions {
        if_match: object.e_tag.clone(),
        if_unmodified_since: object.e_tag.is_none().then_some(object.last_modified),
        range: (offset > 0).then_some(GetRange::Offset(offset)),
        ..GetOptions::default()
    };
    let asking = time::timeout(pace.idle * 2, store.get_opts(&object.location, options)).await;
    let answer = asking.map_err(|_| Trouble::again("it does not answer"))?.map_err(unread)?;
    if answer.meta.size != object.size {
        return Err(Trouble::changed());
    }
    Ok(answer.into_stream())
}

/// What the store says is for the log: it may name more than the caller should know.
fn unread(error: Error) -> Trouble {
    tracing::warn!(error = &error as &dyn std::error::Error, "an object store does not give what it should");
    match &error {
        Error::Precondition { .. } => Trouble::changed(),
        Error::NotFound { .. } => Trouble::Final("there is no such bucket or object: set bucket, prefix".to_owned()),
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => Trouble::Final(
            "the store does not let these keys in: set access_key_id_file, secret_access_key_file".into(),
        ),
        _ => Trouble::again("the store does not answer as it should: operators find more in the log"),
    }
}

/// Clients of ours, so that the store is asked as publishers are.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl Bucket {
    /// The store behind it, for who keeps it; keys in files are read now.
    ///
    /// # Errors
    /// What is wrong with the settings, for operators.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>, String> {
        Ok(Arc::new(self.open(&Pace::default()).map_err(Trouble::text)?))
    }

    fn open(&self, pace: &Pace) -> Result<impl ObjectStore + use<>, Trouble> {
        let client = http::client(self.ca_file.as_deref(), self.allow_private, pace).map_err(Trouble::Final)?;
        let retry = RetryConfig { max_retries: 3, retry_timeout: pace.longest_pause, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_retry(retry)
            .with_http_connector(Connector(client));
        if let Some(endpoint) = &self.endpoint {
            let url: Url = endpoint.parse().map_err(|_| Trouble::Final("endpoint is no address".to_owned()))?;
            // what is written there is meant; a name is checked where it leads
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            address::check(&url, &[host], self.allow_private).map_err(|refused| Trouble::Final(refused.to_string()))?;
            builder = builder.with_endpoint(endpoint).with_allow_http(url.scheme() == "http");
        }
        builder = match self.keys.read()? {
            None => builder.with_skip_signature(true),
            Some((id, secret, token)) => {
                let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                if token.is_empty() { builder } else { builder.with_token(token) }
            }
        };
        builder.build().map_err(unread)
    }
}

impl Keys {
    /// Id, secret and token.
    fn read(&self) -> Result<Option<(String, String, String)>, Trouble> {
        let of = |path: &Path| {
            let text = std::fs::read_to_string(path);
            let unread = |error: std::io::Error| {
                tracing::warn!(path = %path.display(), %error, "keys of an object store cannot be read");
                Trouble::Final(format!("the file of a key cannot be read: {}", error.kind()))
            };
            text.map(|text| text.trim().to_owned()).map_err(unread)
        };
        Ok(match self {
            Self::None => None,
            Self::Given { access_key_id, secret_access_key, session_token } => {
                Some((access_key_id.clone(), secret_access_key.clone(), session_token.clone()))
            }
            Self::Files { access_key_id, secret_access_key } => {
                Some((of(access_key_id)?, of(secret_access_key)?, String::new()))
            }
        })
    }
}
