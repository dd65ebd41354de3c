//! Files on their way to an import: sent in pieces, resumed where they ended, kept for a day.
//!
//! A piece counts when it is durable. The parts of a file are objects that go by where they begin, so that a file that is sent
//! again lands on itself, and any process can import it.

use crate::{
    hexadecimal::hexadecimal,
    objects::{self, Objects},
};
use bytes::{Bytes, BytesMut};
use model::Clock;
use object_store::path::Path as Key;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fs::File, io::Write, path::Path, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Bytes of a part: each costs a sync.
const PART_BYTES: usize = 8 << 20;
/// How long a file is kept that no import takes.
const KEPT: Duration = Duration::from_secs(86_400);
/// How often such files are searched for.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// The most bytes of a file.
pub const FILE_BYTES: u64 = 64 << 30;
/// Most bytes of a file's name.
pub const NAME_BYTES: usize = 255;
const ROOT: &str = "uploads";
const BEGUN: &str = "begun.json";

/// Whether a file may be called so: without folders, and not hidden. Its name says how it is packed.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0'])
        && !name.chars().any(char::is_control)
}

/// What a client says of a file before it sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Who sends it, as in a job's submission.
    pub by: String,
    /// Its name, without folders.
    pub file_name: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was begun, in nanoseconds since 1970.
    pub at: i64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects of the file could not be read or written.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// Nothing of it has arrived, or it was somebody else's.
    #[error("there is no such upload")]
    Unknown,
    /// The client goes on where it cannot.
    #[error("offset: must be {0}, which is how much has arrived")]
    Offset(u64),
    /// It was begun otherwise.
    #[error("{0}: is another one than when the upload was begun; take another upload_id")]
    Otherwise(&'static str),
    /// The client sent more, or less, than it said.
    #[error("bytes: the file was to have {said} bytes, and has {sent}")]
    Length {
        /// As it was said.
        said: u64,
        /// Bytes that came; of a file that is too long, up to where it was refused.
        sent: u64,
    },
    /// Not all of it has arrived.
    #[error("{received} of {bytes} bytes have arrived")]
    Unfinished {
        /// What is kept.
        received: u64,
        /// As it was said.
        bytes: u64,
    },
}

/// Files on their way. Clones are the same.
#[derive(Clone)]
pub struct Uploads {
    objects: Objects,
    clock: Clock,
}

/// A file that is being received.
pub struct Receiving {
    objects: Objects,
    prefix: Key,
    begun: Begun,
    received: u64,
    part: BytesMut,
    /// Of what is kept and what was added; `None`: it goes on, and what lies before is read once more at the end.
    digest: Option<Sha256>,
}

impl Uploads {
    /// Kept among `objects`.
    pub fn new(objects: Objects, clock: Clock) -> Self {
        Self { objects, clock }
    }

    /// Begins a file, or goes on with it.
    pub async fn receive(
        &self,
        id: Uuid,
        by: &str,
        (file_name, bytes): (&str, u64),
        offset: u64,
    ) -> Result<Receiving, Error> {
        let prefix = prefix(id);
        let begun = match self.begun(id).await? {
            Some(begun) => begun,
            None => {
                let begun = Begun { by: by.to_owned(), file_name: file_name.to_owned(), bytes, at: (self.clock)().0 };
                self.begin(id, begun).await?
            }
        };
        match &begun {
            begun if begun.by != by => return Err(Error::Unknown),
            begun if begun.file_name != file_name => return Err(Error::Otherwise("file_name")),
            begun if begun.bytes != bytes => return Err(Error::Otherwise("bytes")),
            _ => {}
        }
        let received = self.received(id).await?;
        if offset != received {
            return Err(Error::Offset(received));
        }
        let digest = (received == 0).then(Sha256::new);
        Ok(Receiving { objects: self.objects.clone(), prefix, begun, received, part: BytesMut::new(), digest })
    }

    /// Writes down what is said of a file; what was said before, where another call was first.
    async fn begin(&self, id: Uuid, begun: Begun) -> Result<Begun, Error> {
        // numbers and texts: nothing that JSON cannot hold
        let json = serde_json::to_vec(&begun).unwrap_or_default();
        match self.objects.put(&prefix(id).join(BEGUN), json.into()).await {
            Ok(()) => Ok(begun),
            Err(objects::Error::Store(object_store::Error::AlreadyExists { .. })) => {
                self.begun(id).await?.ok_or(Error::Unknown)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What was said of a file of a caller's, and how many bytes of it are kept.
    pub async fn find(&self, id: Uuid, by: &str) -> Result<(Begun, u64), Error> {
        let begun = self.begun(id).await?.filter(|begun| begun.by == by).ok_or(Error::Unknown)?;
        Ok((begun, self.received(id).await?))
    }

    /// Writes a file that has arrived whole to a path; returns its name and its SHA-256.
    pub async fn fetch(&self, id: Uuid, by: &str, to: &Path) -> Result<(String, [u8; 32]), Error> {
        let (begun, received) = self.find(id, by).await?;
        if received < begun.bytes {
            return Err(Error::Unfinished { received, bytes: begun.bytes });
        }
        let failed = |source| objects::Error::Folder { path: to.to_owned(), source };
        let (mut file, mut digest) = (File::create(to).map_err(failed)?, Sha256::new());
        let mut offset = 0;
        while offset < begun.bytes {
            let part = self.objects.get(&part(&prefix(id), offset)).await?;
            file.write_all(&part).map_err(failed)?;
            digest.update(&part);
            offset += part.len() as u64;
        }
        Ok((begun.file_name, digest.finalize().into()))
    }

    /// Forgets a file.
    pub async fn remove(&self, id: Uuid) -> Result<(), Error> {
        Ok(self.objects.remove_all(&prefix(id)).await?)
    }

    /// Forgets old files now and then, until told to stop.
    pub async fn keep_swept(self, stop: CancellationToken) {
        let mut every = tokio::time::interval(SWEEP_EVERY);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "old uploads cannot be removed, tried again");
            }
        }
    }

    /// Forgets all files that were begun more than a day ago.
    pub async fn sweep(&self) -> Result<(), Error> {
        for id in self.objects.folders(&Key::from(ROOT)).await? {
            let Ok(id) = id.parse() else { continue };
            let age = self.begun(id).await?.map(|begun| (self.clock)().0.saturating_sub(begun.at));
            if age.is_some_and(|age| age > KEPT.as_nanos() as i64) {
                self.remove(id).await?;
            }
        }
        Ok(())
    }

    async fn begun(&self, id: Uuid) -> Result<Option<Begun>, Error> {
        match self.objects.get(&prefix(id).join(BEGUN)).await {
            Ok(json) => Ok(serde_json::from_slice(&json).ok()),
            Err(objects::Error::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that are kept, from the first on.
    async fn received(&self, id: Uuid) -> Result<u64, Error> {
        let parts = self.objects.sizes(&prefix(id)).await?;
        let mut received = 0;
        while let Some(bytes) = parts.get(&part_name(received)) {
            received += bytes;
        }
        Ok(received)
    }
}

impl Receiving {
    /// The next bytes.
    pub async fn add(&mut self, data: &[u8]) -> Result<(), Error> {
        let sent = self.received + (self.part.len() + data.len()) as u64;
        if sent > self.begun.bytes {
            return Err(Error::Length { said: self.begun.bytes, sent });
        }
        self.part.extend_from_slice(data);
        if let Some(digest) = &mut self.digest {
            digest.update(data);
        }
        while self.part.len() >= PART_BYTES {
            let part = self.part.split_to(PART_BYTES).freeze();
            self.keep(part).await?;
        }
        Ok(())
    }

    /// All that is sent has come; how many bytes are kept, and the SHA-256 of the whole file in hexadecimal digits.
    pub async fn finish(mut self) -> Result<(u64, String), Error> {
        let rest = self.part.split().freeze();
        if !rest.is_empty() {
            self.keep(rest).await?;
        }
        if self.received != self.begun.bytes {
            return Err(Error::Length { said: self.begun.bytes, sent: self.received });
        }
        let digest = match self.digest {
            Some(digest) => digest,
            None => {
                let (mut digest, mut offset) = (Sha256::new(), 0);
                while offset < self.received {
                    let part = self.objects.get(&part(&self.prefix, offset)).await?;
                    digest.update(&part);
                    offset += part.len() as u64;
                }
                digest
            }
        };
        Ok((self.received, hexadecimal(digest.finalize())))
    }

    async fn keep(&mut self, bytes: Bytes) -> Result<(), Error> {
        let n = bytes.len() as u64;
        match self.objects.put(&part(&self.prefix, self.received), bytes).await {
            Ok(()) => {}
            // sent twice at once: whoever was first has put the same bytes, or the file's digest will tell
            Err(objects::Error::Store(object_store::Error::AlreadyExists { .. })) => {
                return Err(Error::Otherwise("offset"));
            }
            Err(error) => return Err(error.into()),
        }
        self.received += n;
        Ok(())
    }
}

fn prefix(id: Uuid) -> Key {
    Key::from(ROOT).join(id.to_string())
}

fn part_name(offset: u64) -> String {
    format!("{offset:016x}")
}

fn part(prefix: &Key, offset: u64) -> Key {
    prefix.clone().join(part_name(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(dir: &tempfile::TempDir) -> Uploads {
        Uploads::new(Objects::open(&dir.path().join("objects")).unwrap(), guard::clock::now)
    }

    #[tokio::test]
    async fn a_file_goes_on_where_it_ended_and_comes_out_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = uploads(&dir);
        let content: Vec<u8> = (0..PART_BYTES * 2 + 1_000).map(|n| (n % 251) as u8).collect();
        let (id, file) = (Uuid::new_v4(), ("sites.csv", content.len() as u64));
        let mut receiving = uploads.receive(id, "user:a", file, 0).await.unwrap();
        receiving.add(&content[..PART_BYTES + 77]).await.unwrap();
        // the stream breaks: what was no whole part is lost
        drop(receiving);
        let (begun, received) = uploads.find(id, "user:a").await.unwrap();
        assert_eq!((begun.file_name.as_str(), begun.bytes, received), ("sites.csv", file.1, PART_BYTES as u64));
        assert!(matches!(uploads.fetch(id, "user:a", &dir.path().join("x")).await, Err(Error::Unfinished { .. })));
        assert!(matches!(uploads.receive(id, "user:a", file, 0).await, Err(Error::Offset(at)) if at == received));
        assert!(matches!(uploads.receive(id, "user:b", file, received).await, Err(Error::Unknown)));
        let other = uploads.receive(id, "user:a", ("other.csv", file.1), received).await;
        assert!(matches!(other, Err(Error::Otherwise("file_name"))));
        let mut receiving = uploads.receive(id, "user:a", file, received).await.unwrap();
        for piece in content[PART_BYTES..].chunks(300_000) {
            receiving.add(piece).await.unwrap();
        }
        let digest = hexadecimal(Sha256::digest(&content));
        assert_eq!(receiving.finish().await.unwrap(), (file.1, digest));
        let to = dir.path().join("fetched");
        let (name, digest) = uploads.fetch(id, "user:a", &to).await.unwrap();
        assert_eq!((name.as_str(), digest), ("sites.csv", <[u8; 32]>::from(Sha256::digest(&content))));
        assert!(std::fs::read(&to).unwrap() == content);
        uploads.remove(id).await.unwrap();
        assert!(matches!(uploads.find(id, "user:a").await, Err(Error::Unknown)));
    }

    #[tokio::test]
    async fn no_more_and_no_less_is_taken_than_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = uploads(&dir);
        let id = Uuid::new_v4();
        let mut receiving = uploads.receive(id, "user:a", ("a.csv", 10), 0).await.unwrap();
        receiving.add(b"12345").await.unwrap();
        assert!(matches!(receiving.add(b"123456").await, Err(Error::Length { said: 10, sent: 11 })));
        assert!(matches!(receiving.finish().await, Err(Error::Length { said: 10, sent: 5 })));
        let receiving = uploads.receive(Uuid::new_v4(), "user:a", ("empty.csv", 0), 0).await.unwrap();
        assert_eq!(receiving.finish().await.unwrap().0, 0);
    }

    #[tokio::test]
    async fn what_nobody_takes_goes_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let then = || model::Nanos(guard::clock::now().0 - 90_000_000_000_000);
        let (old, new) = (Uploads::new(objects.clone(), then), Uploads::new(objects, guard::clock::now));
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        old.receive(first, "user:a", ("a.csv", 1), 0).await.unwrap();
        new.receive(second, "user:a", ("b.csv", 1), 0).await.unwrap();
        new.sweep().await.unwrap();
        assert!(matches!(new.find(first, "user:a").await, Err(Error::Unknown)));
        assert_eq!(new.find(second, "user:a").await.unwrap().1, 0);
    }
}
