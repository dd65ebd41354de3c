//! A trained model as bytes.
//!
//! Layout: 8 bytes of magic, the format's version (u16), the schema's SHA-256, the payload's length (u64), the payload
//! (postcard, compressed by zstd), from format 2 on the rows that it learnt from ([`LearntFrom`]), and the SHA-256 of all
//! before. Numbers are little-endian. What is read is believed only after the checksum, and then only if all parts fit
//! together: no artefact, however made, leads a prediction out of bounds.

use super::encoder::Encoder;
use super::fitted::Fitted;
use super::learnt_from::LearntFrom;
use super::pipeline::Pipeline;
use super::schema::Schema;
use super::{Error, Task, Versions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;

/// Version of the layout and of what the payload holds; of others the one before is read, too.
pub const FORMAT: u16 = 2;
/// Bytes of an artefact at most. The largest of ours is a tenth of it.
pub const MAX_ARTEFACT_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a payload at most, decompressed.
const MAX_PAYLOAD_BYTES: usize = 256 * 1024 * 1024;
/// The format without the rows.
const WITHOUT_ROWS: u16 = 1;
const MAGIC: [u8; 8] = *b"WLMODEL\0";
/// Magic, version, schema's hash, length.
const HEAD: usize = 8 + 2 + 32 + 8;
const CHECKSUM: usize = 32;
/// zstd's default: higher levels save little on floating-point numbers.
const COMPRESSION: i32 = 3;

/// A trained model, with what is needed to ask it and to say where it is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artefact {
    /// The pipeline's name.
    pub name: String,
    /// What it takes and gives.
    pub schema: Schema,
    /// What it was made of.
    pub versions: Versions,
    /// Seed of the pipeline, from which everything random in the training followed.
    pub seed: u64,
    /// When it was trained, RFC 3339 in UTC.
    pub trained_at: String,
    pub(super) encoder: Encoder,
    pub(super) fitted: Fitted,
    /// The rows that it was made of, if that is known; beside the payload.
    #[serde(skip)]
    pub(super) learnt_from: Option<LearntFrom>,
}

impl Artefact {
    /// The artefact's bytes; the same artefact gives the same. Refused above [`MAX_ARTEFACT_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let payload = postcard::to_stdvec(self).map_err(Error::Encode)?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::ArtefactSize { bytes: payload.len() as u64 });
        }
        let payload = zstd::bulk::compress(&payload, COMPRESSION).map_err(Error::Compress)?;
        let rows = self.learnt_from.as_ref().map(LearntFrom::to_bytes);
        let format = if rows.is_some() { FORMAT } else { WITHOUT_ROWS };
        let rows = rows.unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD + payload.len() + rows.len() + CHECKSUM);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&self.schema.hash());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&rows);
        let checksum: [u8; CHECKSUM] = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&checksum);
        if bytes.len() > MAX_ARTEFACT_BYTES {
            return Err(Error::ArtefactSize { bytes: bytes.len() as u64 });
        }
        Ok(bytes)
    }

    /// Reads an artefact that must be of the pipeline's schema as it is now. Refused: damage, another format, another
    /// schema (the first difference is named), and parts that do not fit together.
    pub fn load(bytes: &[u8], pipeline: &Pipeline) -> Result<Self, Error> {
        let (payload, learnt_from) = checked(bytes)?;
        let artefact = Self { learnt_from, ..decoded(payload)? };
        let now = pipeline.schema();
        if artefact.name != pipeline.name {
            let difference = format!("model {} then, {} now", artefact.name, pipeline.name);
            return Err(Error::Schema { difference });
        }
        if let Some(difference) = artefact.schema.difference(&now) {
            return Err(Error::Schema { difference });
        }
        if bytes[10..42] != now.hash() {
            return Err(Error::Damaged("its head names another schema than it holds"));
        }
        if !artefact.is_whole(pipeline.algorithm.task()) {
            return Err(Error::Damaged("its parts do not fit together"));
        }
        Ok(artefact)
    }

    fn is_whole(&self, task: Task) -> bool {
        use super::fitted::Learnt;
        let kind = match self.fitted.learnt {
            Learnt::Segments(_) => task == Task::Segments,
            Learnt::Line(_) => task == Task::Regression,
            Learnt::Forest(_) => task != Task::Segments,
        };
        kind && self.encoder.features() == self.schema.features
            && self.encoder.is_whole()
            && self.fitted.is_whole(self.encoder.n_columns())
    }
}

/// The payload and the rows, once all around them is as it was written.
fn checked(bytes: &[u8]) -> Result<(&[u8], Option<LearntFrom>), Error> {
    if bytes.len() > MAX_ARTEFACT_BYTES {
        return Err(Error::ArtefactSize { bytes: bytes.len() as u64 });
    }
    if bytes.len() < HEAD + CHECKSUM {
        return Err(Error::Damaged("it ends too early"));
    }
    if bytes[..8] != MAGIC {
        return Err(Error::Damaged("it does not begin as a model does"));
    }
    let found = u16::from_le_bytes([bytes[8], bytes[9]]);
    if found != FORMAT && found != WITHOUT_ROWS {
        return Err(Error::Format { found, expected: FORMAT });
    }
    let mut length = [0; 8];
    length.copy_from_slice(&bytes[42..HEAD]);
    let end = bytes.len() - CHECKSUM;
    let length = usize::try_from(u64::from_le_bytes(length)).ok();
    let Some((payload, rows)) = length.and_then(|length| bytes[HEAD..end].split_at_checked(length)) else {
        return Err(Error::Damaged("its length is not the one that was written"));
    };
    if found == WITHOUT_ROWS && !rows.is_empty() {
        return Err(Error::Damaged("its length is not the one that was written"));
    }
    let checksum: [u8; CHECKSUM] = Sha256::digest(&bytes[..end]).into();
    if bytes[end..] != checksum {
        return Err(Error::Damaged("its checksum is not the one that was written"));
    }
    if found == WITHOUT_ROWS {
        return Ok((payload, None));
    }
    let rows =
        LearntFrom::from_bytes(rows).ok_or(Error::Damaged("the rows that it learnt from are no list of rows"))?;
    Ok((payload, Some(rows)))
}

fn decoded(payload: &[u8]) -> Result<Artefact, Error> {
    let reader = zstd::stream::read::Decoder::new(payload).map_err(|_| Error::Damaged("it cannot be decompressed"))?;
    let mut plain = Vec::new();
    let limit = MAX_PAYLOAD_BYTES as u64 + 1;
    let read = reader.take(limit).read_to_end(&mut plain).map_err(|_| Error::Damaged("it cannot be decompressed"))?;
    if read > MAX_PAYLOAD_BYTES {
        return Err(Error::ArtefactSize { bytes: read as u64 });
    }
    postcard::from_bytes(&plain).map_err(|_| Error::Damaged("its payload is not a model"))
}
