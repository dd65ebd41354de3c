//! Why a request is refused before anything reads what it asks.

/// Largest header list: a token and a few more. Counted as HTTP/2 does: name, value and 32 bytes a field (RFC 9113, 10.5.1).
pub(crate) const MAX_BYTES: usize = 8 << 10;
/// What a field costs besides its text.
pub(super) const FIELD_BYTES: usize = 32;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The head has so many bytes, more than 8 KiB.
    TooLarge(usize),
    /// This field came more than once.
    Twice(&'static str),
    /// HTTP/1.1 without a host.
    NoHost,
    /// HTTP/2 with an `:authority` and another `host`.
    OtherHost,
    /// A line that does not end with CR LF.
    BareLineFeed,
    /// A body with two lengths, or with a length and in chunks.
    TwoLengths,
    /// The connection has so many streams open, as many as it may.
    TooManyStreams(u32),
}

impl Fault {
    /// The reason that the caller is told: UPPER_SNAKE_CASE, never changed.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "METADATA_TOO_LARGE",
            Self::Twice(_) => "DUPLICATE_HEADER",
            Self::NoHost => "HOST_MISSING",
            Self::OtherHost => "HOST_MISMATCH",
            Self::BareLineFeed => "BARE_LINE_FEED",
            Self::TwoLengths => "AMBIGUOUS_LENGTH",
            Self::TooManyStreams(_) => "STREAMS_OF_CONNECTION",
        }
    }

    /// What is allowed and what to do.
    pub fn text(self) -> String {
        match self {
            Self::TooLarge(n_bytes) => format!(
                "metadata: {n_bytes} bytes (name, value and {FIELD_BYTES} a field); at most {MAX_BYTES}: send a shorter token or fewer fields"
            ),
            Self::Twice(name) => format!("{name}: came more than once; send it once"),
            Self::NoHost => "host: missing; HTTP/1.1 needs it".to_owned(),
            Self::OtherHost => "host: is not the :authority of the request; send one of them".to_owned(),
            Self::BareLineFeed => "a line ends with a line feed alone; end lines with CR LF".to_owned(),
            Self::TwoLengths => {
                "content-length: came twice, or with transfer-encoding; send one of them once".to_owned()
            }
            Self::TooManyStreams(n) => {
                format!("this connection has {n} streams open, as many as it may; end one, or open another connection")
            }
        }
    }
}
