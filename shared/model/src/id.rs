//! Identifiers. `Debug` shows four characters: enough to follow one through a log, not enough to name a person.

use std::{fmt, str::FromStr};
use uuid::Uuid;

/// A text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoId;

impl fmt::Display for NoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be a UUID with its four hyphens, as in 0191c3c8-7a00-7000-8000-00000000abcd, and not all zeros",
        )
    }
}

impl std::error::Error for NoId {}

/// The one way to write an identifier: 32 hexadecimal digits in either case with four hyphens, not all zero. In another form
/// one could pass for two somewhere.
///
/// # Errors
/// Anything else.
pub fn uuid(text: &str) -> Result<Uuid, NoId> {
    const LENGTH: usize = 36;
    let id = Uuid::try_parse(text).ok().filter(|id| text.len() == LENGTH && !id.is_nil());
    id.ok_or(NoId)
}

/// A text is no word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoWord;

impl fmt::Display for NoWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1 to 64 lower-case letters, digits and hyphens")
    }
}

impl std::error::Error for NoWord {}

/// The one way to write a ward, a study or a role, which people type: two spellings would be two of them.
///
/// # Errors
/// Anything else.
pub fn word(text: &str) -> Result<(), NoWord> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) { Ok(()) } else { Err(NoWord) }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The identifier with the value of a UUID.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// Reads the 16 big-endian bytes of a UUID.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 big-endian bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID itself, for a wire or a row.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = NoId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                uuid(text).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [.., a, b] = self.0.as_bytes();
                write!(f, concat!(stringify!($name), "(…{:02x}{:02x})"), a, b)
            }
        }
    };
}

identifier!(
    /// The person whom readings are about.
    PatientId
);
identifier!(
    /// A monitoring device, as the registry knows it.
    DeviceId
);
identifier!(
    /// One run of sequence numbers of a device; a new one after each loss of the device's own state.
    StreamId
);
identifier!(
    /// A person who signs in.
    UserId
);
identifier!(
    /// One run of a process that writes the audit log.
    WriterId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_written_in_one_way() {
        let written = "0191c3c8-7a00-7000-8000-00000000abcd";
        assert_eq!(uuid(written).unwrap().to_string(), written);
        assert_eq!(uuid(&written.to_uppercase()), uuid(written));
        let bare = written.replace('-', "");
        let others =
            [format!("{{{written}}}"), format!("urn:uuid:{written}"), format!(" {written}"), format!("{written}0")];
        let nil = "00000000-0000-0000-0000-000000000000".to_owned();
        for wrong in others.into_iter().chain([bare, nil, String::new(), "Jane Doe".to_owned()]) {
            assert_eq!(wrong.parse::<PatientId>(), Err(NoId), "{wrong:?}");
        }
    }

    #[test]
    fn a_word_is_written_in_one_way() {
        for good in ["icu", "ward-7", "7", &"x".repeat(64)] {
            assert_eq!(word(good), Ok(()), "{good:?}");
        }
        for wrong in ["", "Icu", "ICU x/é", "ward 7", "ward_7", "icu\n", &"x".repeat(65)] {
            assert_eq!(word(wrong), Err(NoWord), "{wrong:?}");
        }
    }

    #[test]
    fn debug_does_not_name_anybody() {
        let id: PatientId = "0191c3c8-7a00-7000-8000-00000000abcd".parse().unwrap();
        assert_eq!(format!("{id:?}"), "PatientId(…abcd)");
    }
}
