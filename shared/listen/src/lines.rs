//! Searches the heads of HTTP/1.1 requests for what a proxy in front may read in another way, and so take one request for two
//! (RFC 9112, 11.2), and what the parser of the library takes or corrects: line feeds without a carriage return (2.2), and a
//! body that has two lengths, or a length and chunks (6.3).
//!
//! It follows the bytes as they are read, keeps a line's first [`MAX_KEPT_BYTES`] and reads no body. Behind a request whose
//! body comes in chunks it reads nothing: the server closes the connection after that one.

use super::fault::Fault;
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// So much of a line is enough to know `content-length` and `transfer-encoding` with their values.
const MAX_KEPT_BYTES: usize = 128;
/// How HTTP/2 begins (RFC 9113, 3.4): from there on there are no lines.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

const BARE_LINE_FEED: u8 = 1;
const TWO_LENGTHS: u8 = 2;

/// What was found on a connection; shared with who answers its requests.
#[derive(Clone, Default)]
pub(crate) struct LineFaults(Arc<AtomicU8>);

impl LineFaults {
    /// Why no further request of this connection is served.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            bits if bits & BARE_LINE_FEED != 0 => Some(Fault::BareLineFeed),
            _ => Some(Fault::TwoLengths),
        }
    }

    fn add(&self, bit: u8) {
        self.0.fetch_or(bit, Ordering::AcqRel);
    }
}

/// So much of a head is passed on; of a longer one the rest is left out, up to its end or [`MAX_LEFT_OUT_BYTES`], and it is refused
/// with a reason (the library would answer without one).
const MAX_PASSED_BYTES: usize = 24 << 10;
const MAX_PASSED_LINES: usize = 400;
const MAX_LEFT_OUT_BYTES: usize = 1 << 20;

/// Follows the heads of HTTP/1.1 on one connection, byte by byte.
pub(super) struct Lines {
    found: LineFaults,
    place: Within,
    /// The beginning of the line under way.
    line: Vec<u8>,
    /// The last byte of the line under way.
    last: u8,
    head: Head,
}

/// Where the next byte belongs.
enum Within {
    Head,
    /// A body of which so many bytes are to come.
    Body(u64),
    /// Nothing is checked any more.
    Over,
}

/// What is known of the head under way.
#[derive(Default)]
struct Head {
    has_begun: bool,
    n_bytes: usize,
    n_lines: usize,
    is_chunked: bool,
    n_lengths: u32,
    body_bytes: u64,
}

impl Lines {
    /// At the beginning of a connection; says to `found` what it finds.
    pub(super) fn new(found: LineFaults) -> Self {
        Self { found, place: Within::Head, line: Vec::new(), last: 0, head: Head::default() }
    }

    /// These bytes came. Of a head that becomes too long: how many of them are to be passed on, and what makes a whole head of them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<(usize, &'static [u8])> {
        let mut left = bytes;
        while !left.is_empty() {
            left = self.step(left);
            if self.head.n_bytes > MAX_PASSED_BYTES || self.head.n_lines > MAX_PASSED_LINES {
                return Some((bytes.len() - left.len(), self.ending()));
            }
        }
        None
    }

    /// These bytes came, and are left out; whether the head has ended, or there is too much of it.
    pub(super) fn leave_out(&mut self, bytes: &[u8]) -> bool {
        let mut left = bytes;
        while !left.is_empty() {
            left = self.step(left);
            if self.head.n_lines == 0 || self.head.n_bytes > MAX_LEFT_OUT_BYTES {
                return true;
            }
        }
        false
    }

    /// What is missing to a whole head, whatever was passed on of it.
    fn ending(&mut self) -> &'static [u8] {
        // from here on it is known to be none that is served
        let is_request_line = self.head.n_lines == 0;
        self.head.n_lines += 1;
        match (self.line.is_empty(), self.last) {
            (true, _) => b"\r\n",
            (false, b'\r') => b"\n\r\n",
            _ if is_request_line => b" HTTP/1.1\r\nhost: none\r\n\r\n",
            _ if self.line.contains(&b':') => b"\r\n\r\n",
            _ => b":\r\n\r\n",
        }
    }

    /// Checks the first of these bytes; returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match &mut self.place {
            Within::Over => &[],
            Within::Body(n_left) => {
                let n_here = usize::try_from(*n_left).unwrap_or(usize::MAX).min(bytes.len());
                *n_left -= n_here as u64;
                if *n_left == 0 {
                    self.place = Within::Head;
                }
                &bytes[n_here..]
            }
            Within::Head => {
                // piece by piece: where too much of it begins is not far behind where that is seen
                let piece = &bytes[..bytes.len().min(1 << 10)];
                let (line, is_whole) = match piece.iter().position(|&byte| byte == b'\n') {
                    None => (piece, false),
                    Some(at) => (&piece[..at], true),
                };
                self.keep(line);
                let n_bytes = line.len() + usize::from(is_whole);
                self.head.n_bytes += n_bytes;
                if is_whole {
                    self.head.n_lines += 1;
                    self.end_line();
                }
                &bytes[n_bytes..]
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_KEPT_BYTES - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn end_line(&mut self) {
        let last = std::mem::take(&mut self.last);
        let line = std::mem::take(&mut self.line);
        if last != b'\r' {
            self.found.add(BARE_LINE_FEED);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            if !self.head.has_begun && line.starts_with(HTTP2) {
                self.place = Within::Over;
            }
            self.head.has_begun = true;
            return self.head.field(line);
        }
        // an empty line before a request is passed over (RFC 9112, 2.2)
        if self.head.has_begun {
            if self.head.n_lengths > 1 || (self.head.is_chunked && self.head.n_lengths > 0) {
                self.found.add(TWO_LENGTHS);
            }
            self.place = match std::mem::take(&mut self.head) {
                Head { is_chunked: true, .. } => Within::Over,
                Head { body_bytes: 0, .. } => Within::Head,
                Head { body_bytes, .. } => Within::Body(body_bytes),
            };
        }
    }
}

impl Head {
    /// What a line says about where the body ends.
    fn field(&mut self, line: &[u8]) {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { return };
        if name.eq_ignore_ascii_case("content-length") {
            self.n_lengths += 1;
            self.body_bytes = value.trim().parse().unwrap_or(0);
        }
        self.is_chunked |= name.eq_ignore_ascii_case("transfer-encoding");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, however the bytes are cut.
    fn fault(text: &str) -> Option<Fault> {
        let one = |n_bytes: usize| {
            let found = LineFaults::default();
            let mut lines = Lines::new(found.clone());
            for part in text.as_bytes().chunks(n_bytes) {
                lines.read(part);
            }
            found.fault()
        };
        let all = [1, 2, 3, 7, 4_096].map(one);
        assert!(all.iter().all(|found| *found == all[0]), "{text:?}: {all:?}");
        all[0]
    }

    /// Whether a bare line feed is found.
    fn found(text: &str) -> bool {
        fault(text) == Some(Fault::BareLineFeed)
    }

    #[test]
    fn a_body_has_one_length() {
        let head = |lines: &str| fault(&format!("POST / HTTP/1.1\r\nhost: w\r\n{lines}\r\n"));
        let (length, chunked) = ("content-length: 4\r\n", "Transfer-Encoding: chunked\r\n");
        assert_eq!([head(length), head(chunked), head("")], [None; 3]);
        for two in [[length, chunked], [chunked, length], [length, length]] {
            assert_eq!(head(&two.concat()), Some(Fault::TwoLengths), "{two:?}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_found_in_any_head_and_in_no_body() {
        let good = "POST / HTTP/1.1\r\nhost: w\r\nContent-Length: 4\r\n\r\na\nb\n";
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(500));
        for text in ["GET / HTTP/1.1\r\nhost: w\r\n\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", good, &long] {
            assert!(!found(text), "{text:?}");
            assert!(!found(&[text, text].concat()), "{text:?} twice");
            for bad in ["GET / HTTP/1.1\nhost: w\r\n\r\n", "GET / HTTP/1.1\r\nhost: w\n\r\n", "GET / HTTP/1.1\r\n\n"] {
                assert!(found(bad), "{bad:?}");
                assert!(found(&[text, bad].concat()), "{text:?} {bad:?}");
            }
        }
        assert!(found("\nGET / HTTP/1.1\r\n\r\n"));
        assert!(found(&long.replace("\r\n\r\n", "\n\r\n")), "at the end of a line that is not kept whole");
    }

    #[test]
    fn http_2_has_no_lines_and_behind_chunks_nothing_is_checked() {
        assert!(!found("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\n"));
        assert!(!found("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n\n"));
    }
}
