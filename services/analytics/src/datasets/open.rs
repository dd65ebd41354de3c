//! Files and folders as they come: what the name says must be what the first bytes are; unpacking is bounded.

use flate2::bufread::GzDecoder;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    error::{Error, Reason},
    limits::Limits,
};

/// Where rows come from.
pub struct Input {
    /// Name of the file, without its folder; it says format and packing.
    pub name: String,
    pub(super) content: Content,
}

pub(super) enum Content {
    File(PathBuf),
    Reader(Box<dyn Read + Send>),
    /// A file of a folder that is refused for where it lies.
    Outside,
}

/// What the rows are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Ndjson,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// First bytes of a member of a gzip file.
const GZIP: &[u8] = b"\x1f\x8b";

/// First bytes of formats, and what they are called.
const MAGIC: [(&[u8], &str); 6] = [
    (GZIP, "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "Parquet"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"%PDF", "PDF"),
    (b"ORC", "ORC"),
];

impl Input {
    /// One file, named by the last part of its path; it is opened when the import comes to it.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, content: Content::File(path.to_owned()) }
    }

    /// A stream; `name` says what it is (`claims.csv.zst`). Parquet cannot be read from a stream.
    #[must_use]
    pub fn reader(name: &str, reader: impl Read + Send + 'static) -> Self {
        Self { name: name.to_owned(), content: Content::Reader(Box::new(reader)) }
    }

    /// A file, or the files of a folder in the order of their names. Folders within it are not entered; a link that leads out
    /// of it, and whatever is no file, is refused by name when the import comes to it.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Refused`] for a folder without files.
    pub fn path(path: &Path) -> Result<Vec<Self>, Error> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let read = |source| Error::Read { file: name.clone(), source };
        if !fs::metadata(path).map_err(read)?.is_dir() {
            return Ok(vec![Self::file(path)]);
        }
        let folder = path.canonicalize().map_err(read)?;
        let entries = fs::read_dir(&folder).map_err(read)?.collect::<io::Result<Vec<_>>>().map_err(read)?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        let inside = |path: &PathBuf| path.canonicalize().is_ok_and(|real| real.starts_with(&folder) && real.is_file());
        let input = |path: PathBuf| {
            let content = if inside(&path) { Content::File(path.clone()) } else { Content::Outside };
            Self { content, ..Self::file(&path) }
        };
        if paths.is_empty() {
            return Err(Error::refused(&name, 0, Reason::Empty, "there are no files in the folder"));
        }
        Ok(paths.into_iter().map(input).collect())
    }

    /// Whether a file of this name can be read: its ending says how.
    #[must_use]
    pub fn is_known(name: &str) -> bool {
        Self { name: name.to_owned(), content: Content::Outside }.form().is_ok()
    }

    /// Whether a file of this name shows itself that it is cut off: it is packed, or Parquet.
    #[must_use]
    pub fn has_end(name: &str) -> bool {
        let form = Self { name: name.to_owned(), content: Content::Outside }.form();
        form.is_ok_and(|(format, packing)| format == Format::Parquet || packing != Packing::Plain)
    }

    /// What it holds, unpacked, if it is text of at most so many bytes.
    pub(crate) fn short_text(self, most: u64) -> Option<Vec<u8>> {
        let Ok(Opened::Text(_, _, reader)) = self.open(&Limits::default()) else { return None };
        let mut text = Vec::new();
        reader.take(most + 1).read_to_end(&mut text).ok()?;
        (text.len() as u64 <= most).then_some(text)
    }

    /// Format and packing, by the name.
    fn form(&self) -> Result<(Format, Packing), Error> {
        let name = self.name.to_ascii_lowercase();
        let (stem, packing) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Packing::Gzip),
            Some((stem, "zst")) => (stem, Packing::Zstd),
            _ => (name.as_str(), Packing::Plain),
        };
        match (stem.rsplit_once('.').map(|(_, ending)| ending), packing) {
            (Some("csv"), _) => Ok((Format::Csv, packing)),
            (Some("ndjson" | "jsonl"), _) => Ok((Format::Ndjson, packing)),
            (Some("parquet"), Packing::Plain) => Ok((Format::Parquet, packing)),
            _ => Err(Error::refused(
                &self.name,
                0,
                Reason::UnknownEnding,
                "its name does not end as a known format does",
            )),
        }
    }

    /// Opens it, unpacked if it is text.
    pub(super) fn open(self, limits: &Limits) -> Result<Opened, Error> {
        if matches!(self.content, Content::Outside) {
            return Err(Error::refused(&self.name, 0, Reason::OutsideFolder, "it is no plain file inside the folder"));
        }
        let (format, packing) = self.form()?;
        let name = self.name;
        let packed: Box<dyn Read + Send> = match self.content {
            Content::File(path) => {
                let file = File::open(path).map_err(|source| Error::Read { file: name.clone(), source })?;
                if format == Format::Parquet {
                    return Ok(Opened::Parquet(name, file));
                }
                Box::new(file)
            }
            Content::Reader(_) | Content::Outside if format == Format::Parquet => {
                let what = "a Parquet file is read from its end, a stream is not";
                return Err(Error::refused(&name, 0, Reason::NotWhatNameSays, what));
            }
            Content::Reader(reader) => reader,
            Content::Outside => Box::new(io::empty()),
        };
        let count = Arc::new(AtomicU64::new(0));
        let mut packed = BufReader::new(Counted { reader: packed, count: count.clone() });
        check_magic(&name, &mut packed, packing)?;
        let plain: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(packed),
            Packing::Gzip => Box::new(Gunzip(Some(GzDecoder::new(packed)))),
            Packing::Zstd => Box::new(unpack_zstd(packed).map_err(|error| failed(&name, 0, error))?),
        };
        let packed = (packing != Packing::Plain).then_some(count);
        let bounded = Bounded { reader: plain, packed, unpacked: 0, limits: limits.clone() };
        let mut reader = BufReader::with_capacity(64 << 10, bounded);
        if packing != Packing::Plain {
            check_magic(&name, &mut reader, Packing::Plain)?;
        }
        Ok(Opened::Text(name, format, Box::new(reader)))
    }
}

/// A file that was opened.
pub(super) enum Opened {
    Text(String, Format, Box<dyn BufRead + Send>),
    Parquet(String, File),
}

/// Gzip of any number of members: other bytes behind one are told from a member that is cut off.
struct Gunzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let rest = member.get_mut().fill_buf()?;
            if rest.is_empty() {
                return Ok(0);
            }
            if !rest.iter().zip(GZIP).all(|(byte, of_member)| byte == of_member) {
                return Err(io::Error::other(MoreBytes));
            }
            self.0 = self.0.take().map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// Zstandard with a window of 16 MiB at most: what `zstd -19` writes has 8.
fn unpack_zstd<R: BufRead>(reader: R) -> io::Result<zstd::Decoder<'static, R>> {
    let mut decoder = zstd::Decoder::with_buffer(reader)?;
    decoder.window_log_max(24)?;
    Ok(decoder)
}

/// Refuses what is not what its name says.
fn check_magic(name: &str, reader: &mut dyn BufRead, packing: Packing) -> Result<(), Error> {
    let start = reader.fill_buf().map_err(|error| failed(name, 0, error))?;
    let is = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)).map_or("text", |(_, what)| what);
    let says = match packing {
        Packing::Plain => "text",
        Packing::Gzip => "gzip",
        Packing::Zstd => "zstd",
    };
    if start.is_empty() {
        return Err(Error::refused(name, 0, Reason::Empty, "there is nothing in it"));
    }
    if is == says {
        return Ok(());
    }
    Err(Error::refused(
        name,
        0,
        Reason::NotWhatNameSays,
        format!("its name says {says}, its first bytes are those of {is}"),
    ))
}

/// What a failed read means.
pub(super) fn failed(file: &str, line: u64, error: io::Error) -> Error {
    let refused = |reason, what: String| Error::refused(file, line, reason, what);
    if let Some(more) = error.get_ref().and_then(|inner| inner.downcast_ref::<MoreBytes>()) {
        return refused(Reason::Damaged, more.to_string());
    }
    if let Some(bomb) = error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()) {
        return refused(Reason::TooLarge, bomb.to_string());
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => refused(Reason::Truncated, "it ends before its packed data does".into()),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            refused(Reason::Damaged, format!("its packed data cannot be read ({error})"))
        }
        _ => Error::Read { file: file.to_owned(), source: error },
    }
}

/// What is packed has an end, and the file goes on.
#[derive(Debug, thiserror::Error)]
#[error("bytes follow the end of its packed data")]
struct MoreBytes;

/// More came out than may.
#[derive(Debug, thiserror::Error)]
#[error("more than {most} bytes come out of {packed}")]
struct TooLarge {
    most: u64,
    packed: u64,
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Stops when too much comes out.
struct Bounded {
    reader: Box<dyn Read + Send>,
    /// Bytes that went in; none where nothing is unpacked.
    packed: Option<Arc<AtomicU64>>,
    unpacked: u64,
    limits: Limits,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.unpacked += n as u64;
        let packed = self.packed.as_ref().map(|count| count.load(Ordering::Relaxed));
        let by_ratio =
            packed.map_or(u64::MAX, |packed| packed.saturating_mul(self.limits.ratio).max(self.limits.ratio_from));
        let most = by_ratio.min(self.limits.unpacked);
        if self.unpacked > most {
            return Err(io::Error::other(TooLarge { most, packed: packed.unwrap_or(self.unpacked) }));
        }
        Ok(n)
    }
}
