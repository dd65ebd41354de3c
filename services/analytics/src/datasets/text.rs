//! Lines of text, with bounded memory: a line that is too long is passed over, not kept. Strict UTF-8; a file that is none is
//! cp1252 from its first line that shows it, and that is said; a file that is both is refused where it changes.

use std::io::{self, BufRead, Read};

use serde::Serialize;

use super::error::Reason;

/// What a file's text is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Nothing but ASCII so far: in both of the others the same.
    #[default]
    Ascii,
    /// UTF-8, with characters that are not ASCII.
    Utf8,
    /// Windows code page 1252.
    Cp1252,
}

/// The characters of 0x80 to 0x9F in cp1252; five bytes have none.
const CP1252: [Option<char>; 32] = [
    Some('€'),
    None,
    Some('‚'),
    Some('ƒ'),
    Some('„'),
    Some('…'),
    Some('†'),
    Some('‡'),
    Some('ˆ'),
    Some('‰'),
    Some('Š'),
    Some('‹'),
    Some('Œ'),
    None,
    Some('Ž'),
    None,
    None,
    Some('‘'),
    Some('’'),
    Some('“'),
    Some('”'),
    Some('•'),
    Some('–'),
    Some('—'),
    Some('˜'),
    Some('™'),
    Some('š'),
    Some('›'),
    Some('œ'),
    None,
    Some('ž'),
    Some('Ÿ'),
];

/// The mark of UTF-8, with which a file may begin.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// A line that could be read, or not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is in the buffer, without its end.
    Whole,
    /// It is longer than allowed: so many bytes, with its end and without the mark of UTF-8.
    TooLong(u64),
    /// There is none any more.
    End,
}

/// Lines of one file.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    longest: usize,
    /// Number of the last line, from 1.
    pub(super) number: u64,
    /// What the text so far is written in.
    pub(super) encoding: Encoding,
    /// Whether the file began with the mark of UTF-8.
    pub(super) marked: bool,
    /// Whether the last line has its end.
    has_end: bool,
}

impl Lines {
    /// Lines of at most `longest` bytes.
    pub(super) fn new(reader: Box<dyn BufRead + Send>, longest: usize) -> Self {
        Self { reader, buffer: Vec::new(), longest, number: 0, encoding: Encoding::Ascii, marked: false, has_end: true }
    }

    /// Reads the next line into the buffer.
    pub(super) fn next(&mut self) -> io::Result<Line> {
        self.buffer.clear();
        // The end of the line belongs to what is read, and may be two bytes; before the first line, the mark is not of its length.
        let most = self.longest + 2 + if self.number == 0 { MARK.len() } else { 0 };
        let mut n = (&mut self.reader).take(most as u64).read_until(b'\n', &mut self.buffer)?;
        if n == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        if self.number == 1 && self.buffer.starts_with(MARK) {
            self.buffer.drain(..MARK.len());
            n -= MARK.len();
            self.marked = true;
        }
        let ended = self.buffer.last() == Some(&b'\n');
        self.has_end = ended;
        if ended {
            self.buffer.pop();
            self.buffer.pop_if(|byte| *byte == b'\r');
        }
        if self.buffer.len() <= self.longest {
            return Ok(Line::Whole);
        }
        let rest = if ended { 0 } else { self.reader.skip_until(b'\n')? };
        // whether its end was passed over is not known: the line says enough of itself
        self.has_end = true;
        Ok(Line::TooLong((n + rest) as u64))
    }

    /// The line as text.
    ///
    /// # Errors
    /// A NUL byte; bytes without a meaning in the file's encoding; the other encoding than before.
    pub(super) fn text(&mut self) -> Result<std::borrow::Cow<'_, str>, Reason> {
        if self.buffer.contains(&0) {
            return Err(Reason::Nul);
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) if text.is_ascii() => Ok(text.into()),
            Ok(_) if self.encoding == Encoding::Cp1252 => Err(Reason::Encoding),
            Ok(text) => {
                self.encoding = Encoding::Utf8;
                Ok(text.into())
            }
            Err(_) if self.encoding == Encoding::Utf8 => Err(Reason::Encoding),
            Err(_) => {
                let text =
                    self.buffer.iter().map(|byte| cp1252(*byte)).collect::<Option<String>>().ok_or(Reason::Encoding)?;
                self.encoding = Encoding::Cp1252;
                Ok(text.into())
            }
        }
    }

    /// The last line's number, if it has no line end: the file may be cut off in it.
    pub(super) fn open_line(&self) -> Option<u64> {
        (!self.has_end).then_some(self.number)
    }

    /// Longest line, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether there is nothing on the line.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes that the buffer takes.
    pub(super) fn bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

/// A byte's character in cp1252.
fn cp1252(byte: u8) -> Option<char> {
    match byte {
        0x80..=0x9F => CP1252[usize::from(byte - 0x80)],
        other => Some(char::from(other)),
    }
}
