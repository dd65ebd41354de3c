//! Searches the heads of HTTP/1.1 requests for what a proxy in front may read in another way, and so take one request for two
//! (RFC 9112, 11.2), and what the parser of the library takes or corrects: line feeds without a carriage return (2.2), and a
//! body that has two lengths, or a length and chunks (6.3). What the library would refuse without a word (no head of HTTP/1.1, too
//! long a one, or a wrong length: `lengths.rs`) is not passed on whole: what is makes a head that can be refused with a reason.
//!
//! It follows the bytes as they are read, keeps a line's first [`MAX_KEPT_BYTES`] and reads no body. Behind a request whose
//! body comes in chunks it reads nothing: the server closes the connection after that one.

use super::{
    grammar::At,
    lengths::{self, Wrong},
    line_faults::{BARE_LINE_FEED, CUT, LineFaults, MALFORMED, TWO_LENGTHS},
};
use bytes::Bytes;
use std::borrow::Cow;

/// So much of a line is enough to know `content-length`, `transfer-encoding` and `origin` with their values.
const MAX_KEPT_BYTES: usize = 512;
/// How HTTP/2 begins (RFC 9113, 3.4): from there on there are no lines.
const HTTP2: (&[u8], u8) = (b"PRI * HTTP/", b'2');
/// The page that asks, which is to be able to read why it is refused.
const ORIGIN: &[u8] = b"origin:";

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
    /// The last two bytes of the line under way.
    last: [u8; 2],
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
    /// What makes a whole line of what was passed on of one that says a wrong length.
    of_length: Option<&'static [u8]>,
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
    is_http10: bool,
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
        Self { found, place: Within::Head, line: Vec::new(), last: [0; 2], at: At::Method(0), head, rest }
    }

    /// These bytes came. Whether there is a head in them of which the rest is left out.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Cut> {
        let mut left = bytes;
        while !left.is_empty() {
            left = self.step(left);
            let is_malformed = self.found.has(MALFORMED);
            let is_long = self.head.n_bytes > MAX_PASSED_BYTES || self.head.n_lines > MAX_PASSED_LINES;
            // half an origin would be another one, and half a length
            if is_malformed || self.rest.of_length.is_some() || is_long && !self.is_in_whole_line() {
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
        if !is_malformed && self.rest.of_length.is_none() {
            self.found.add(CUT);
        }
        self.rest.is_left_out = true;
        self.rest.missing = self.rest.of_length.unwrap_or_else(|| self.at.missing());
        // there is one now, whatever came: without a line the head would seem to have ended
        self.head.n_lines += 1;
    }

    /// Whether the line under way may be one that is passed on whole or not at all.
    fn is_in_whole_line(&self) -> bool {
        let is = |name: &[u8]| {
            let n_bytes = self.line.len().min(name.len());
            n_bytes > 0 && self.line[..n_bytes].eq_ignore_ascii_case(&name[..n_bytes])
        };
        self.line.len() < MAX_KEPT_BYTES && (is(ORIGIN) || lengths::NAMES.into_iter().any(is))
    }

    /// Where the line under way says a wrong length, `piece` being what came of it.
    fn wrong_length(&self, piece: &[u8]) -> Option<Wrong> {
        if !self.head.has_begun || self.rest.is_left_out {
            return None;
        }
        let line: Cow<'_, [u8]> =
            if self.line.is_empty() { piece.into() } else { [self.line.as_slice(), piece].concat().into() };
        lengths::wrong(&line, self.head.is_chunked || self.head.n_lengths > 0, self.head.is_http10)
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
                let length = self.wrong_length(&piece[..piece.len().min(n_bytes + 1)]);
                let n_bytes = length.as_ref().map_or(n_bytes, |wrong| wrong.n_good.saturating_sub(self.line.len()));
                let (taken, wrong) = piece.split_at(n_bytes);
                let line = taken.strip_suffix(b"\n");
                self.keep(line.unwrap_or(taken));
                self.head.n_bytes += n_bytes;
                if line.is_some() {
                    self.head.n_lines += 1;
                    self.end_line();
                }
                if let Some(length) = length {
                    self.found.add(length.found);
                    self.rest.of_length = Some(length.missing);
                    return &bytes[n_bytes..];
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
        for &byte in &part[part.len().saturating_sub(2)..] {
            self.last = [self.last[1], byte];
        }
    }

    fn end_line(&mut self) {
        let [before, last] = std::mem::take(&mut self.last);
        let line = std::mem::take(&mut self.line);
        if last != b'\r' {
            self.found.add(BARE_LINE_FEED);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            if !self.head.has_begun {
                let end = if last == b'\r' { before } else { last };
                self.head.is_http10 = end == b'0';
            }
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
mod tests;
