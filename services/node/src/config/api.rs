//! Settings of the JSON API that are more than a word or a number.

use serde::Deserialize;
use std::net::{AddrParseError, SocketAddr};

/// `server.api_listen`: an address, or an empty text for none.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub Option<SocketAddr>);

impl TryFrom<String> for Listen {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Self, AddrParseError> {
        Ok(Self(if text.is_empty() { None } else { Some(text.parse()?) }))
    }
}

/// `server.api_origins`: whose pages may call.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Origins(pub gateway::Origins);

impl TryFrom<Vec<String>> for Origins {
    type Error = String;

    fn try_from(origins: Vec<String>) -> Result<Self, String> {
        gateway::Origins::new(&origins).map(Self)
    }
}
