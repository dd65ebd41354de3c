//! What a head of HTTP/1.1 is made of (RFC 9112, 3 and 5), byte by byte: which one does not belong where it is, and what makes a
//! whole head of those before it.

/// A head in place of one that cannot be passed on. Of one that has begun, the end of it is what is missing.
const PLACEHOLDER: &[u8] = b"\nGET / HTTP/1.1\r\nhost: none\r\n";
/// How each version begins that is spoken in lines; a digit follows, 0 or 1.
const VERSION: &[u8] = b"HTTP/1.";

/// Where the next byte belongs. A number says how much there is of it already.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Method(usize),
    Target(usize),
    Version(usize),
    Name(usize),
    Value,
    /// Behind a carriage return, with what is missing to a whole head then.
    End(&'static [u8]),
}

impl At {
    /// How many of these bytes belong here, one after the other.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        for (n_taken, &byte) in bytes.iter().enumerate() {
            let Some(next) = self.next(byte) else { return n_taken };
            *self = next;
        }
        bytes.len()
    }

    /// Behind this byte, when it belongs here. Behind a line feed whoever follows the lines knows what comes.
    fn next(self, byte: u8) -> Option<Self> {
        let next = match (self, byte) {
            (Self::Method(0) | Self::Version(8) | Self::Name(0) | Self::Value | Self::End(_), b'\n') => Self::Name(0),
            (Self::Method(0), b'\r') => Self::End(PLACEHOLDER),
            (Self::Version(8), b'\r') => Self::End(&PLACEHOLDER[16..]),
            (Self::Name(0) | Self::Value, b'\r') => Self::End(b"\n"),
            (Self::Method(1..), b' ') => Self::Target(0),
            (Self::Target(1..), b' ') => Self::Version(0),
            (Self::Name(1..), b':') => Self::Value,
            (Self::Method(n), _) if is_token(byte) => Self::Method(n + 1),
            (Self::Target(n), b'!'..=b'~' | 0x80..) => Self::Target(n + 1),
            (Self::Version(n), _) if VERSION.get(n) == Some(&byte) => Self::Version(n + 1),
            (Self::Version(7), b'0' | b'1') => Self::Version(8),
            (Self::Name(n), _) if is_token(byte) => Self::Name(n + 1),
            (Self::Value, b'\t' | b' '..=b'~' | 0x80..) => Self::Value,
            _ => return None,
        };
        Some(next)
    }

    /// What is missing to a whole head, but for the empty line at its end.
    pub(super) fn missing(self) -> &'static [u8] {
        match self {
            Self::Method(0) => &PLACEHOLDER[1..],
            Self::Method(_) => &PLACEHOLDER[4..],
            Self::Target(0) => &PLACEHOLDER[5..],
            Self::Target(_) => &PLACEHOLDER[6..],
            Self::Version(n) => &PLACEHOLDER[7 + n.min(8)..],
            Self::Name(0) => b"",
            Self::Name(_) => b":\r\n",
            Self::Value => b"\r\n",
            Self::End(missing) => missing,
        }
    }
}

/// Whether a byte may stand in a method or in a field's name (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of a text is taken, and the whole head that is made of it.
    fn taken(text: &[u8]) -> (usize, String) {
        let mut at = At::Method(0);
        let n_taken = text.split_inclusive(|byte| *byte == b'\n').try_fold(0, |n_before, line| {
            let n_taken = n_before + at.take(line);
            if n_taken == n_before + line.len() { Ok(n_taken) } else { Err(n_taken) }
        });
        let n_taken = n_taken.unwrap_or_else(|n_taken| n_taken);
        (n_taken, String::from_utf8([&text[..n_taken], at.missing(), b"\r\n"].concat()).unwrap())
    }

    #[test]
    fn what_is_a_head_is_taken() {
        for text in [
            "GET /a?b=%20\u{e9} HTTP/1.1\r\nhost: w\r\nx:\r\nx-y:  a\tb\u{e9}  \r\n\r\n",
            "M-SEARCH * HTTP/1.0\nhost: w\n\n",
        ] {
            assert_eq!(taken(text.as_bytes()).0, text.len(), "{text:?}");
        }
    }

    #[test]
    fn wherever_a_head_ends_it_can_be_made_whole() {
        let text = "GET /a HTTP/1.1\r\nhost: w\r\n";
        for n_bytes in 0..=text.len() {
            // a byte that belongs into no head
            let (n_taken, whole) = taken(&[&text.as_bytes()[..n_bytes], b"\0"].concat());
            let expected = match n_bytes {
                0 | 4 | 5 => "GET / HTTP/1.1\r\nhost: none\r\n".to_owned(),
                1..4 => format!("{} / HTTP/1.1\r\nhost: none\r\n", &text[..n_bytes]),
                6..17 => "GET /a HTTP/1.1\r\nhost: none\r\n".to_owned(),
                17 => text[..17].to_owned(),
                18..22 => format!("{}:\r\n", &text[..n_bytes]),
                22..25 => format!("{}\r\n", &text[..n_bytes]),
                _ => text.to_owned(),
            };
            assert_eq!((n_taken, whole), (n_bytes, expected + "\r\n"));
        }
    }
}
