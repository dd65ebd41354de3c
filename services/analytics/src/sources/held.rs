//! What has arrived of a file, and whether what comes next belongs to it.

use reqwest::{
    StatusCode, Version,
    header::{CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, TRANSFER_ENCODING},
};
use sha2::{Digest, Sha256};
use std::{io, path::Path};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt, BufWriter},
};

/// The part of a file that is here.
pub(super) struct Held {
    out: BufWriter<File>,
    digest: Sha256,
    /// Bytes that are here.
    pub(super) bytes: u64,
    /// Bytes of the whole file, if that was said.
    pub(super) total: Option<u64>,
    /// As they were when the first byte came.
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// What says that the rest is of the same file, byte for byte: a strong ETag, or a time of change that is well past.
    pub(super) validator: Option<String>,
    /// Whether the end of the file will be told from a connection that ended.
    pub(super) has_end: bool,
}

impl Held {
    /// Nothing yet; it goes to this file.
    pub(super) async fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::with_capacity(1 << 20, File::create(path).await?),
            digest: Sha256::new(),
            bytes: 0,
            total: None,
            etag: None,
            last_modified: None,
            validator: None,
            has_end: false,
        })
    }

    /// An answer begins the file anew.
    pub(super) async fn begin(&mut self, answer: &reqwest::Response) -> io::Result<()> {
        self.forget().await?;
        let headers = answer.headers();
        self.total = answer.content_length();
        (self.etag, self.last_modified) = (text(headers, ETAG), text(headers, LAST_MODIFIED));
        self.validator = validator(headers);
        let has_frames = answer.version() == Version::HTTP_2;
        self.has_end = self.total.is_some() || has_frames || headers.contains_key(TRANSFER_ENCODING);
        Ok(())
    }

    /// Whether an answer is the rest of this very file.
    pub(super) fn goes_on(&mut self, answer: &reqwest::Response) -> bool {
        let headers = answer.headers();
        let is_same = |name, held: &Option<String>| text(headers, name).is_none_or(|now| Some(now) == *held);
        let range = text(headers, CONTENT_RANGE).and_then(|range| parse_range(&range));
        let Some((first, total)) = range.filter(|_| answer.status() == StatusCode::PARTIAL_CONTENT) else {
            return false;
        };
        let fits = total.is_none() || self.total.is_none() || total == self.total;
        if first != self.bytes || !fits || !is_same(ETAG, &self.etag) || !is_same(LAST_MODIFIED, &self.last_modified) {
            return false;
        }
        self.total = self.total.or(total);
        true
    }

    /// Forgets what is here.
    pub(super) async fn forget(&mut self) -> io::Result<()> {
        self.out.flush().await?;
        let file = self.out.get_mut();
        file.set_len(0).await?;
        file.rewind().await?;
        (self.digest, self.bytes, self.total, self.validator) = (Sha256::new(), 0, None, None);
        Ok(())
    }

    /// The next bytes.
    pub(super) async fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes).await?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// All is here: its SHA-256.
    pub(super) async fn finish(mut self) -> io::Result<[u8; 32]> {
        self.out.flush().await?;
        self.out.get_mut().sync_all().await?;
        Ok(self.digest.finalize().into())
    }
}

/// The text of a header.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// What a range may be asked for with: a strong ETag, or a time of change that is at least a second before the answer (RFC 9110,
/// 8.8.2.2), since within that second the file may have changed again.
fn validator(headers: &HeaderMap) -> Option<String> {
    if let Some(etag) = text(headers, ETAG).filter(|etag| etag.starts_with('"')) {
        return Some(etag);
    }
    let time = |name| jiff::fmt::rfc2822::parse(&text(headers, name)?).ok().map(|time| time.timestamp().as_second());
    let (changed, now) = (time(LAST_MODIFIED)?, time(DATE)?);
    text(headers, LAST_MODIFIED).filter(|_| changed < now)
}

/// `bytes 5-9/10`: the first byte, and how many there are in all.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_says_that_no_byte_has_changed_is_a_validator() {
        let (changed, soon) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (given, expected) in [
            (&[(ETAG, "\"a\""), (LAST_MODIFIED, changed)][..], Some("\"a\"")),
            (&[(ETAG, "W/\"a\"")], None),
            (&[(ETAG, "W/\"a\""), (LAST_MODIFIED, changed), (DATE, soon)], Some(changed)),
            (&[(LAST_MODIFIED, changed), (DATE, changed)], None),
            (&[(LAST_MODIFIED, changed)], None),
            (&[], None),
        ] {
            assert_eq!(validator(&headers(given)).as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn a_range_says_where_it_begins() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for other in ["bytes */10", "items 5-9/10", "5-9/10", "bytes 5-9"] {
            assert_eq!(parse_range(other), None, "{other}");
        }
    }
}
