//! What a request's head must be before anything reads it: not too large, each field that decides something once, and on
//! HTTP/1.1 a `Host` and whole line ends. Whoever is refused is told why.

use crate::{
    fault::{Amount, FIELD_BYTES, Fault, MAX_BYTES},
    line_faults::LineFaults,
};
use hyper::{HeaderMap, Request, Version, header::HOST};

/// So much is read, so that who sends more than [`MAX_BYTES`] can be told in the terms of its protocol. Above this HTTP/2 itself
/// answers 431 (Request Header Fields Too Large), without more words: however much were read, more could come, and each connection
/// may hold as much before anybody knows whose it is. Of HTTP/1.1 the rest is left out (`lines.rs`).
pub(crate) const MAX_READ_BYTES: usize = 64 << 10;
/// Fields of HTTP/1.1 that are read at all, for the same reason.
pub(crate) const MAX_READ_FIELDS: usize = 512;
/// Fields that decide something here. Sent twice, a proxy in front may go by the one and this node by the other.
const ONCE: [&str; 7] =
    ["host", "authorization", "content-type", "purpose-of-use", "grpc-encoding", "grpc-timeout", "te"];

/// What is wrong with a request, if something is.
pub(crate) fn check<B>(request: &Request<B>, found: &LineFaults) -> Result<(), Fault> {
    let headers = request.headers();
    let url_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let n_bytes = bytes(headers) + url_bytes + FIELD_BYTES;
    if n_bytes > MAX_BYTES || found.is_cut() {
        // what was left out may have been white space, which does not count
        let n_bytes = n_bytes.max(MAX_BYTES);
        let amount = |n: usize| if found.is_cut() { Amount::MoreThan(n - 1) } else { Amount::Exactly(n) };
        // of what a caller can make shorter, the larger one
        let is_url = url_bytes > n_bytes / 2;
        return Err(if is_url { Fault::UrlTooLong(amount(url_bytes)) } else { Fault::TooLarge(amount(n_bytes)) });
    }
    if let Some(fault) = found.fault() {
        return Err(fault);
    }
    if let Some(twice) = ONCE.into_iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        return Err(Fault::Twice(twice));
    }
    match (request.version(), request.uri().authority(), headers.get(HOST)) {
        (Version::HTTP_11, _, None) => Err(Fault::NoHost),
        (Version::HTTP_2, Some(authority), Some(host))
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Err(Fault::OtherHost)
        }
        _ => Ok(()),
    }
}

fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, uri: &str, fields: &[(&str, &str)]) -> Result<(), Fault> {
        let mut request = Request::get(uri).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), &LineFaults::default())
    }

    #[test]
    fn each_field_that_decides_something_may_come_once() {
        for name in ONCE {
            let fields = [("host", "w"), (name, "w"), (name, "w")];
            let fields = if name == "host" { &fields[1..] } else { &fields };
            assert_eq!(asked(Version::HTTP_11, "/", fields), Err(Fault::Twice(name)));
        }
        assert_eq!(asked(Version::HTTP_11, "/", &[("host", "w"), ("accept", "a"), ("accept", "b")]), Ok(()));
    }

    #[test]
    fn a_host_is_needed_where_the_protocol_needs_it_and_there_is_one_only() {
        assert_eq!(asked(Version::HTTP_11, "/", &[]), Err(Fault::NoHost));
        assert_eq!(asked(Version::HTTP_10, "/", &[]), Ok(()));
        assert_eq!(asked(Version::HTTP_2, "http://ward/", &[]), Ok(()));
        assert_eq!(asked(Version::HTTP_2, "http://ward/", &[("host", "Ward")]), Ok(()));
        assert_eq!(asked(Version::HTTP_2, "http://ward/", &[("host", "other")]), Err(Fault::OtherHost));
    }

    #[test]
    fn a_large_head_is_refused_whether_in_one_field_or_in_many_or_in_its_path() {
        let (large, path) = ("x".repeat(MAX_BYTES), format!("/{}", "x".repeat(MAX_BYTES)));
        let fault = |outcome| matches!(outcome, Err(Fault::TooLarge(Amount::Exactly(n))) if n > MAX_BYTES);
        assert!(fault(asked(Version::HTTP_2, "/", &[("x", &large)])));
        assert!(fault(asked(Version::HTTP_2, "/", &[("x", "y"); 400])));
        for version in [Version::HTTP_2, Version::HTTP_11] {
            assert_eq!(asked(version, &path, &[("host", "w")]), Err(Fault::UrlTooLong(Amount::Exactly(MAX_BYTES + 1))));
        }
        assert!(fault(asked(Version::HTTP_2, &path[..1_000], &[("x", &large)])));
        assert_eq!(asked(Version::HTTP_2, "/", &[("x", &large[..7_900])]), Ok(()));
    }
}
