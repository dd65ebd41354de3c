//! Why a request is refused before anything reads what it asks.

use std::fmt;

/// Largest header list: a token and a few more. Counted as HTTP/2 does: name, value and 32 bytes a field (RFC 9113, 10.5.1).
pub(crate) const MAX_BYTES: usize = 8 << 10;
/// What a field costs besides its text.
pub(super) const FIELD_BYTES: usize = 32;

/// How much there was of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Exactly(usize),
    /// Not all of it was counted.
    MoreThan(usize),
}

impl fmt::Display for Amount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(n_bytes) => write!(to, "{n_bytes} bytes"),
            Self::MoreThan(n_bytes) => write!(to, "more than {n_bytes} bytes"),
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The head has so many bytes, more than 8 KiB.
    TooLarge(Amount),
    /// It has, and most of it is the URL, which has so many bytes.
    UrlTooLong(Amount),
    /// This field came more than once.
    Twice(&'static str),
    /// HTTP/1.1 without a host.
    NoHost,
    /// HTTP/2 with an `:authority` and another `host`.
    OtherHost,
    /// What came is no head of HTTP/1.1.
    Malformed,
    /// A line that does not end with CR LF.
    BareLineFeed,
    /// A body with two lengths, or with a length and in chunks.
    TwoLengths,
    /// A body whose length is no number, or that comes in another way than in chunks.
    BadLength,
    /// The connection has so many streams open, as many as it may.
    TooManyStreams(u32),
}

impl Fault {
    /// The reason that the caller is told: UPPER_SNAKE_CASE, never changed.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "METADATA_TOO_LARGE",
            Self::UrlTooLong(_) => "URL_TOO_LONG",
            Self::Twice(_) => "DUPLICATE_HEADER",
            Self::NoHost => "HOST_MISSING",
            Self::OtherHost => "HOST_MISMATCH",
            Self::Malformed => "MALFORMED_HEAD",
            Self::BareLineFeed => "BARE_LINE_FEED",
            Self::TwoLengths => "AMBIGUOUS_LENGTH",
            Self::BadLength => "INVALID_LENGTH",
            Self::TooManyStreams(_) => "STREAMS_OF_CONNECTION",
        }
    }

    /// What is allowed and what to do.
    pub fn text(self) -> String {
        match self {
            Self::TooLarge(n_bytes) => format!(
                "metadata: {n_bytes} (name, value and {FIELD_BYTES} a field); at most {MAX_BYTES}: send a shorter token or fewer fields"
            ),
            Self::UrlTooLong(n_bytes) => format!(
                "url: its path and query have {n_bytes}; at most {MAX_BYTES} with all header fields: ask for less in one request"
            ),
            Self::Twice(name) => format!("{name}: came more than once; send it once"),
            Self::NoHost => "host: missing; HTTP/1.1 needs it".to_owned(),
            Self::OtherHost => "host: is not the :authority of the request; send one of them".to_owned(),
            Self::Malformed => {
                "head: is none of HTTP/1.1; send `GET /path HTTP/1.1`, with %20 for a space in the path, then each \
                                header field as `name: value` on one line, and an empty line"
                    .to_owned()
            }
            Self::BareLineFeed => "a line ends with a line feed alone; end lines with CR LF".to_owned(),
            Self::TwoLengths => {
                "content-length: came twice, or with transfer-encoding; send one of them once".to_owned()
            }
            Self::BadLength => {
                "content-length, transfer-encoding: send `content-length` with the body's bytes in digits, once; or, with \
                                HTTP/1.1, `transfer-encoding: chunked`"
                    .to_owned()
            }
            Self::TooManyStreams(n) => {
                format!("this connection has {n} streams open, as many as it may; end one, or open another connection")
            }
        }
    }
}
