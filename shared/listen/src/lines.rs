//! Searches the heads of HTTP/1.1 requests for what a proxy in front may read in another way, and so take one request for two
//! (RFC 9112, 11.2), and what the parser of the library takes or corrects: line feeds without a carriage return (2.2), and a
//! body that has two lengths, or a length and chunks (6.3). What the library would refuse without a word (no head of HTTP/1.1, or
//! too long a one) is not passed on whole: what is makes a head that can be refused with a reason.
//!
//! It follows the bytes as they are read, keeps a line's first [`MAX_KEPT_BYTES`] and reads no body. Behind a request whose
//! body comes in chunks it reads nothing: the server closes the connection after that one.

use super::{fault::Fault, grammar::At};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// So much of a line is enough to know `content-length`, `transfer-encoding` and `origin` with their values.
const MAX_KEPT_BYTES: usize = 512;
/// How HTTP/2 begins (RFC 9113, 3.4): from there on there are no lines.
const HTTP2: (&[u8], u8) = (b"PRI * HTTP/", b'2');
/// The page that asks, which is to be able to read why it is refused.
const ORIGIN: &[u8] = b"origin:";

const BARE_LINE_FEED: u8 = 1;
const TWO_LENGTHS: u8 = 2;
const MALFORMED: u8 = 4;
const CUT: u8 = 8;

/// What was found on a connection; shared with who answers its requests.
#[derive(Clone, Default)]
pub(crate) struct LineFaults(Arc<AtomicU8>);

impl LineFaults {
    /// Why no further request of this connection is served.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let faults =
            [(MALFORMED, Fault::Malformed), (BARE_LINE_FEED, Fault::BareLineFeed), (TWO_LENGTHS, Fault::TwoLengths)];
        faults.into_iter().find(|(bit, _)| self.has(*bit)).map(|(_, fault)| fault)
    }

    /// Whether a head was so long that a part of it was left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.has(CUT)
    }

    fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Acquire) & bit != 0
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
    at: At,
    head: Head,
    rest: Rest,
}

/// Of a head that is not passed on whole: how much of what came is, and whether its rest is read before it is answered.
pub(super) struct Cut {
    pub(super) n_passed: usize,
    pub(super) is_read_to_end: bool,
}

/// What is passed on in place of the rest of a head.
#[derive(Default)]
struct Rest {
    is_left_out: bool,
    /// What makes a whole head of what was passed on, but for the empty line.
    missing: &'static [u8],
    /// The line that names the asking page, when it is among what is left out.
    origin: Vec<u8>,
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
        let (head, rest) = (Head::default(), Rest::default());
        Self { found, place: Within::Head, line: Vec::new(), last: 0, at: At::Method(0), head, rest }
    }

    /// These bytes came. Whether there is a head in them of which the rest is left out.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Cut> {
        let mut left = bytes;
        while !left.is_empty() {
            left = self.step(left);
            let is_malformed = self.found.has(MALFORMED);
            let is_long = self.head.n_bytes > MAX_PASSED_BYTES || self.head.n_lines > MAX_PASSED_LINES;
            // half an origin would be another one
            if is_malformed || is_long && !self.is_in_origin() {
                self.leave_rest_out(is_malformed);
                return Some(Cut { n_passed: bytes.len() - left.len(), is_read_to_end: !is_malformed });
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

    /// In place of what was left out: what makes a whole head of what was passed on, with the origin of the page that asks.
    pub(super) fn rest(&self) -> Bytes {
        [self.rest.missing, &self.rest.origin, b"\r\n"].concat().into()
    }

    fn leave_rest_out(&mut self, is_malformed: bool) {
        if !is_malformed {
            self.found.add(CUT);
        }
        self.rest.is_left_out = true;
        self.rest.missing = self.at.missing();
        // there is one now, whatever came: without a line the head would seem to have ended
        self.head.n_lines += 1;
    }

    fn is_in_origin(&self) -> bool {
        let n_bytes = self.line.len().min(ORIGIN.len());
        let is_whole = self.line.len() < MAX_KEPT_BYTES;
        n_bytes > 0 && is_whole && self.line[..n_bytes].eq_ignore_ascii_case(&ORIGIN[..n_bytes])
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
                let piece = piece.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
                let n_bytes = if self.rest.is_left_out { piece.len() } else { self.at.take(piece) };
                let (taken, wrong) = piece.split_at(n_bytes);
                let line = taken.strip_suffix(b"\n");
                self.keep(line.unwrap_or(taken));
                self.head.n_bytes += n_bytes;
                if line.is_some() {
                    self.head.n_lines += 1;
                    self.end_line();
                }
                match wrong.first() {
                    None => {}
                    Some(&byte) if !self.head.has_begun && (&*self.line, byte) == HTTP2 => self.place = Within::Over,
                    Some(_) => self.found.add(MALFORMED),
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
            self.head.has_begun = true;
            if self.rest.is_left_out {
                self.rest.keep_origin(line);
            }
            return self.head.field(line);
        }
        self.at = At::Method(0);
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

impl Rest {
    /// Keeps the first line that names an origin, if it is whole and one that can be passed on.
    fn keep_origin(&mut self, line: &[u8]) {
        let is_origin = line.get(..ORIGIN.len()).is_some_and(|name| name.eq_ignore_ascii_case(ORIGIN));
        if is_origin && self.origin.is_empty() && line.len() < MAX_KEPT_BYTES && !line.iter().any(u8::is_ascii_control)
        {
            self.origin = [line, b"\r\n"].concat();
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

    /// What is passed on of a text that comes in parts of so many bytes.
    fn passed(text: &str, n_bytes: usize) -> String {
        let mut lines = Lines::new(LineFaults::default());
        let (mut passed, mut parts) = (Vec::new(), text.as_bytes().chunks(n_bytes));
        while let Some(part) = parts.next() {
            let Some(cut) = lines.read(part) else {
                passed.extend_from_slice(part);
                continue;
            };
            passed.extend_from_slice(&part[..cut.n_passed]);
            let has_ended = lines.leave_out(&part[cut.n_passed..]) || !cut.is_read_to_end;
            assert!(has_ended || parts.any(|part| lines.leave_out(part)), "it has no end");
            passed.extend_from_slice(&lines.rest());
            break;
        }
        String::from_utf8(passed).unwrap()
    }

    #[test]
    fn what_is_no_head_becomes_one_that_can_be_refused() {
        let none = " HTTP/1.1\r\nhost: none\r\n\r\n";
        let host = "GET / HTTP/1.1\r\nhost: w\r\n";
        for (text, expected) in [
            ("GARBAGE\r\n\r\n".to_owned(), format!("GARBAGE /{none}")),
            ("\r\nGET /a b HTTP/1.1\r\nhost: w\r\n\r\n".to_owned(), format!("\r\nGET /a{none}")),
            ("GET / HTTP/3.9\r\nhost: w\r\n\r\n".to_owned(), format!("GET /{none}")),
            ("\x16\x03\x01".to_owned(), format!("GET /{none}")),
            (format!("{host}none\r\n\r\n"), format!("{host}none:\r\n\r\n")),
            (format!("{host} folded: x\r\n\r\n"), format!("{host}\r\n")),
            (format!("{host}x: \0\r\n\r\n"), format!("{host}x: \r\n\r\n")),
        ] {
            assert_eq!(fault(&text), Some(Fault::Malformed), "{text:?}");
            for n_bytes in [1, 2, 3, 7, 4_096] {
                assert_eq!(passed(&text, n_bytes), expected, "{text:?}");
            }
        }
        let page = "Origin: https://a.org\r\n\r\n";
        let named = passed(&format!("GET /a b HTTP/1.1\r\n{page}"), 4_096);
        assert_eq!(named, format!("GET /a HTTP/1.1\r\nhost: none\r\n{page}"));
    }

    #[test]
    fn of_a_head_that_is_too_long_the_origin_is_passed_on_with_the_beginning() {
        let page = "Origin: https://a.org\r\n";
        let head = "GET / HTTP/1.1\r\nhost: w\r\n";
        let fields = "x: y\r\n".repeat(MAX_PASSED_LINES);
        // the border within the origin's line, too
        for text in [
            format!("GET /{} HTTP/1.1\r\nhost: w\r\n{page}\r\n", "y".repeat(33_000)),
            format!("{head}x: {}\r\n{page}z: z\r\n\r\n", "y".repeat(33_000)),
            format!("{head}x: {}\r\n{page}z: z\r\n\r\n", "y".repeat(MAX_PASSED_BYTES - head.len() - 15)),
            format!("{head}{fields}{page}\r\n"),
        ] {
            for n_bytes in [1, 7, 1_000, 4_096] {
                let passed = passed(&text, n_bytes);
                assert!(passed.len() < 26 << 10 && passed.ends_with(&format!("\r\n{page}\r\n")), "{n_bytes}: {passed}");
                assert_eq!(passed.matches(page).count(), 1);
            }
        }
        let long = format!("{head}x: {}\r\norigin: {}\r\n\r\n", "y".repeat(33_000), "z".repeat(MAX_KEPT_BYTES));
        assert!(passed(&long, 4_096).ends_with("y\r\n\r\n"), "it is no origin");
    }

    #[test]
    fn http_2_has_no_lines_and_behind_chunks_nothing_is_checked() {
        assert!(!found("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\n"));
        assert!(!found("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n\n"));
    }
}
