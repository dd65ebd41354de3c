//! A token's segments, read so that there is one way to read them: three of them, base64url without padding, each of the first
//! two one JSON object in which no name occurs twice.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// What a header may not ask for: extensions (RFC 7515), unencoded payloads (RFC 7797), encryption, tokens in tokens.
const NOT_DONE: [&str; 5] = ["crit", "b64", "zip", "enc", "cty"];

/// What must be known of a token before its signature can be checked. Nothing of it is believed until then.
#[derive(Debug)]
pub(super) struct Parts {
    /// The header's `alg`: how it was signed, such as `ES256`.
    pub algorithm: String,
    /// The header's `typ`, as it was written; a token without one is not read.
    pub typ: String,
    /// The header's `kid`: which of the issuer's keys signed it; a token without one is not read.
    pub kid: String,
    /// The claim `iss`: who says to have issued it.
    pub issuer: String,
}

impl Parts {
    /// `None`: no signed token of the kind that is read here.
    pub fn read(token: &str) -> Option<Self> {
        let mut segments = token.split('.');
        let (head, body) = (segments.next()?, segments.next()?);
        let signature = segments.next()?;
        if signature.is_empty() || segments.next().is_some() {
            return None;
        }
        let Object(mut head) = Object::read(head)?;
        if NOT_DONE.iter().any(|name| head.contains_key(*name)) {
            return None;
        }
        let Object(mut body) = Object::read(body)?;
        let issuer = text(&mut body, "iss")?;
        Some(Self {
            algorithm: text(&mut head, "alg")?,
            typ: text(&mut head, "typ")?,
            kid: text(&mut head, "kid")?,
            issuer,
        })
    }
}

fn text(object: &mut Map<String, Value>, name: &str) -> Option<String> {
    match object.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A JSON object in which no name occurs twice: two readers cannot see two different ones.
pub(super) struct Object(pub Map<String, Value>);

impl Object {
    fn read(segment: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose names differ")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
                let mut object = Map::new();
                while let Some((name, value)) = entries.next_entry()? {
                    if object.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name occurs twice"));
                    }
                }
                Ok(Object(object))
            }
        }
        deserializer.deserialize_map(Names)
    }
}
