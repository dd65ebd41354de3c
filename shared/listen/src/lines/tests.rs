//! What is found in the lines of heads, and what is passed on, however the bytes are cut.

use super::*;
use crate::fault::Fault;

/// What is found, however the bytes are cut.
fn fault(text: &str) -> Option<Fault> {
    let one = |n_bytes: usize| {
        let found = LineFaults::default();
        let mut lines = Lines::new(found.clone());
        let mut is_cut = false;
        for part in text.as_bytes().chunks(n_bytes) {
            let left_out = match is_cut {
                true => Some(part),
                false => lines.read(part).map(|cut| &part[cut.n_passed..]),
            };
            is_cut = left_out.is_some();
            // a head that was cut is the last that is read
            if left_out.is_some_and(|part| lines.leave_out(part)) {
                break;
            }
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
    assert_eq!(head("content-length: 4\r\ncontent-length: 5\r\n"), Some(Fault::TwoLengths));
    for wrong in ["content-length: 4, 4", "Content-Length: -1", "transfer-encoding: gzip", "content-length:"] {
        assert_eq!(head(&format!("{wrong}\r\nx: y\r\n")), Some(Fault::BadLength), "{wrong}");
    }
    assert_eq!(fault(&format!("POST / HTTP/1.0\r\n{chunked}\r\n")), Some(Fault::BadLength));
    assert_eq!(fault(&format!("POST / HTTP/1.0\r\n{length}\r\n")), None);
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
    for (length, instead) in [
        ("content-length: 2, 2", "content-length: 2"),
        ("content-length: abc", "content-length: 0"),
        ("content-length: 1\r\ncontent-length: 2", "content-length: 1\r\ncontent-length-:"),
        ("transfer-encoding: identity", "transfer-encoding: chunked"),
        ("content-length: \0", "content-length: 0"),
    ] {
        for n_bytes in [1, 2, 3, 7, 4_096] {
            let passed = passed(&format!("{host}{length}\r\n{page}"), n_bytes);
            assert_eq!(passed, format!("{host}{instead}\r\n{page}"), "{length:?}");
        }
    }
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
