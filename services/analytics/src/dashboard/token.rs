//! Tokens of pages: where a page begins, in which version of the data, of which filters.

use crate::hexadecimal::hexadecimal;
use proto::problem;
use tonic::{Code, Status};
use uuid::Uuid;

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The version that the page before was made of.
    pub(super) version: Uuid,
    /// A digest of its filters.
    pub(super) filters: u64,
    /// The key of its last row.
    pub(super) after: String,
}

impl Token {
    /// As callers get it.
    pub(super) fn written(&self) -> String {
        let parts = [&self.version.as_bytes()[..], &self.filters.to_be_bytes()[..], self.after.as_bytes()];
        hexadecimal(parts.concat())
    }

    /// What a caller sends; nothing: the first page.
    ///
    /// # Errors
    /// INVALID_PAGE_TOKEN: it is none of ours, or of other filters.
    pub(super) fn read(text: &str, filters: u64) -> Result<Option<Self>, Status> {
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = |what: &str| problem::invalid("INVALID_PAGE_TOKEN", "page_token", what);
        let token = Self::parsed(text).ok_or_else(|| wrong("must be the next_page_token of a page before"))?;
        if token.filters != filters {
            return Err(wrong(
                "belongs to other filters; send those of the page before, or begin anew without a token",
            ));
        }
        Ok(Some(token))
    }

    fn parsed(text: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
        let bytes: Vec<u8> = text.as_bytes().chunks(2).map(byte).collect::<Option<_>>()?;
        let (version, rest) = bytes.split_first_chunk::<16>()?;
        let (filters, after) = rest.split_first_chunk::<8>()?;
        let after = String::from_utf8(after.to_vec()).ok().filter(|after| !after.is_empty())?;
        Some(Self { version: Uuid::from_bytes(*version), filters: u64::from_be_bytes(*filters), after })
    }

    /// Refuses to go on in another version: its rows are others.
    ///
    /// # Errors
    /// OTHER_DATA_VERSION.
    pub(super) fn check_version(&self, current: &str) -> Result<(), Status> {
        if self.version.to_string() == current {
            return Ok(());
        }
        let text = format!(
            "belongs to version {} of the data, and {current} is the current one by now: begin anew without a token",
            self.version
        );
        Err(problem::field(Code::FailedPrecondition, "OTHER_DATA_VERSION", "page_token", &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let token = Token { version: Uuid::from_u128(7), filters: 9, after: "02013F".to_owned() };
        let text = token.written();
        assert_eq!(Token::read(&text, 9).unwrap(), Some(token.clone()));
        assert_eq!(Token::read("", 9).unwrap(), None);
        let of_others = Token::read(&text, 8).unwrap_err();
        assert!(of_others.message().contains("other filters"), "{of_others}");
        for wrong in ["0", "zz", "010001", &text[..48], &text[1..], &format!("{text}0"), &format!("{text}\u{e9}"), "+f"]
        {
            assert!(Token::read(wrong, 9).is_err(), "{wrong}");
        }
        assert!(token.check_version(&token.version.to_string()).is_ok());
        let other = token.check_version("0190").unwrap_err();
        assert_eq!(other.code(), Code::FailedPrecondition);
        assert!(other.message().contains("begin anew"), "{other}");
    }
}
