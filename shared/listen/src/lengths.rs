//! The two fields that say where a body of HTTP/1.1 ends (RFC 9112, 6): the first byte of such a line that may not be there, and what
//! makes of those before it a line that is none of them or a right one. The library would refuse a wrong one without a word.

use super::{
    grammar::is_token,
    line_faults::{BAD_LENGTH, MALFORMED, TWO_LENGTHS},
};

/// The fields, as far as each is told from all others.
pub(super) const NAMES: [&[u8]; 2] = [b"content-length:", b"transfer-encoding:"];
/// The only coding that is understood, and the end of its line.
const CHUNKED: &[u8] = b"chunked\r\n";
/// However large they are, so many digits fit into 64 bits.
const MAX_DIGITS: usize = 19;
/// Most blanks before a value, and after it; more are no use, and the whole line is to be kept.
const MAX_BLANKS: usize = 64;
/// What makes another name of one of the two.
const OTHER_NAME: &[u8] = b"-:\r\n";

/// Where a line goes wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// So many bytes of the line may be passed on.
    pub(super) n_good: usize,
    /// What makes a whole line of them.
    pub(super) missing: &'static [u8],
    /// What is found, as `LineFaults` knows it.
    pub(super) found: u8,
}

/// Judges a field's line, as far as it came, with its end; `has_length`: the head has one of the two fields already.
pub(super) fn wrong(line: &[u8], has_length: bool, is_http10: bool) -> Option<Wrong> {
    let n_name = line.iter().position(|byte| !is_token(*byte))?;
    let is = |name: &[u8]| line[..n_name].eq_ignore_ascii_case(&name[..name.len() - 1]);
    let (is_length, is_coding) = (is(NAMES[0]), is(NAMES[1]));
    if !is_length && !is_coding {
        return None;
    }
    let other_name = |found| Some(Wrong { n_good: n_name, missing: OTHER_NAME, found });
    match line[n_name] {
        b':' if has_length => return other_name(TWO_LENGTHS),
        b':' if is_coding && is_http10 => return other_name(BAD_LENGTH),
        b':' => {}
        _ => return other_name(MALFORMED),
    }
    let blanks = |from: usize| {
        let blanks = line[from..].iter().take(MAX_BLANKS).take_while(|byte| matches!(**byte, b' ' | b'\t'));
        from + blanks.count()
    };
    let from = blanks(n_name + 1);
    let value = &line[from..];
    let (n_value, is_whole, missing) = if is_length {
        let n_digits = value.iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
        (n_digits, n_digits > 0, if n_digits > 0 { &CHUNKED[7..] } else { b"0\r\n" })
    } else {
        let alike = value.iter().zip(&CHUNKED[..7]).take_while(|(byte, letter)| byte.eq_ignore_ascii_case(letter));
        let n_letters = alike.count();
        (n_letters, n_letters == 7, &CHUNKED[n_letters..])
    };
    let n_good = if is_whole { blanks(from + n_value) } else { from + n_value };
    match line.get(n_good) {
        None => None,
        Some(b'\r' | b'\n') if is_whole => None,
        Some(_) => Some(Wrong { n_good, missing, found: BAD_LENGTH }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on in place of a line, and what is found; the same at each byte as for the whole line.
    fn passed(line: &str, has_length: bool, is_http10: bool) -> (String, u8) {
        let all = wrong(line.as_bytes(), has_length, is_http10);
        for n_bytes in 0..line.len() {
            let so_far = wrong(&line.as_bytes()[..n_bytes], has_length, is_http10);
            let expected = all.as_ref().filter(|all| all.n_good < n_bytes);
            assert_eq!(so_far.as_ref(), expected, "{:?}", &line[..n_bytes]);
        }
        match all {
            None => (line.to_owned(), 0),
            Some(Wrong { n_good, missing, found }) => {
                (line[..n_good].to_owned() + std::str::from_utf8(missing).unwrap(), found)
            }
        }
    }

    #[test]
    fn a_length_is_a_number_and_a_coding_is_chunked() {
        for line in ["content-length: 0\r\n", "Content-Length:\t42 \r\n", "content-length: 9999999999999999999\n"] {
            assert_eq!(passed(line, false, true), (line.to_owned(), 0));
        }
        for line in ["transfer-encoding: chunked\r\n", "TRANSFER-ENCODING:Chunked  \r\n", "content-lengths: a\r\n"] {
            assert_eq!(passed(line, false, false), (line.to_owned(), 0));
        }
        let (blank, kept) = (" ".repeat(70), " ".repeat(63) + "0");
        for (value, instead) in [
            ("", "0"),
            ("abc", "0"),
            ("-1", "0"),
            ("+1", "0"),
            ("2, 2", "2"),
            ("2 2", "2 "),
            ("0x10", "0"),
            ("99999999999999999999", "9999999999999999999"),
            (blank.as_str(), kept.as_str()),
        ] {
            let expected = (format!("content-length: {instead}\r\n"), BAD_LENGTH);
            assert_eq!(passed(&format!("content-length: {value}\r\n"), false, false), expected, "{value:?}");
        }
        for value in ["gzip", "identity", "chunked, gzip", "chunkedx", "chu", "", "gzip, chunked"] {
            let expected = ("transfer-encoding: chunked\r\n".to_owned(), BAD_LENGTH);
            assert_eq!(passed(&format!("transfer-encoding: {value}\r\n"), false, false), expected, "{value:?}");
        }
    }

    #[test]
    fn one_too_many_becomes_another_field() {
        for (name, end) in [("content-length", ": 2\r\n"), ("transfer-encoding", ": chunked\r\n")] {
            let (line, other) = (format!("{name}{end}"), format!("{name}-:\r\n"));
            assert_eq!(passed(&line, true, false), (other.clone(), TWO_LENGTHS));
            assert_eq!(passed(&format!("{name} {end}"), false, false), (other, MALFORMED));
        }
        let coding = passed("transfer-encoding: chunked\r\n", false, true);
        assert_eq!(coding, ("transfer-encoding-:\r\n".to_owned(), BAD_LENGTH), "HTTP/1.0 has no chunks");
    }
}
