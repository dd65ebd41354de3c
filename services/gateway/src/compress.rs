//! Answers compressed with gzip, for who accepts it.

use axum::http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};
use flate2::{Compression, write::GzEncoder};
use std::io::{self, Write};

/// Less is sent as it is: it fits one packet either way.
const MIN_BYTES: usize = 1 << 10;

/// Whether an answer of so many bytes is worth it.
pub(super) fn is_worth_it(n_bytes: usize) -> bool {
    n_bytes >= MIN_BYTES
}

/// Whether a file of this media type is not compressed already.
pub(super) fn is_text(media_type: &HeaderValue) -> bool {
    media_type.to_str().is_ok_and(|text| text.starts_with("text/") || text.starts_with("application/json"))
}

/// Whether gzip is accepted (RFC 9110, 12.5.3): named, or covered by `*`, and not with a weight of 0.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let (mut named, mut any) = (None, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for coding in values.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let is_wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        match name {
            _ if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => named = Some(is_wanted),
            "*" => any = Some(is_wanted),
            _ => {}
        }
    }
    named.or(any).unwrap_or(false)
}

/// Compressed, at the fastest level: JSON of readings becomes a tenth.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_used_for_who_accepts_it() {
        let accepts = |text: &'static str| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(text))]);
            is_accepted(&headers)
        };
        for text in ["gzip", "br, GZIP;q=0.5", "*", "deflate, *;q=0.1", "x-gzip", "*;q=0, gzip"] {
            assert!(accepts(text), "{text}");
        }
        for text in ["", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "identity", "gzip;q=much"] {
            assert!(!accepts(text), "{text}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[test]
    fn what_is_compressed_is_what_was_there() {
        use std::io::Read;
        let text = r#"{"metric":"8867-4","number":72}"#.repeat(1_000);
        let small = gzip(text.as_bytes()).unwrap();
        assert!(small.len() * 10 < text.len(), "{}", small.len());
        let mut back = String::new();
        flate2::read::GzDecoder::new(&*small).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
    }
}
