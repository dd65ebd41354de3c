//! The token of a request.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use proto::problem;
use tonic::metadata::MetadataMap;

/// The service of rpcs whose clients may send a token as a password.
pub const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";
/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bearer token; of a request to [`FLIGHT`] also the password of `authorization: Basic`, for tools that know nothing else. Whatever
/// name stands before it: the token says whose it is.
pub fn token(metadata: &MetadataMap, path: &str) -> Option<String> {
    if let Some(token) = problem::bearer(metadata) {
        return Some(token.to_owned());
    }
    let (scheme, encoded) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    if !path.starts_with(FLIGHT) || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_token_for_flight_alone() {
        let of = |header: &str, path: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", header.parse().unwrap());
            token(&metadata, path)
        };
        let (flight, other) = (format!("{FLIGHT}DoGet"), "/wardline.registry.v1.RegistryService/GetUser");
        let basic = format!("Basic {}", BASE64.encode("anna:a.b:c"));
        assert!(basic.ends_with("=="));
        for basic in [&basic, basic.trim_end_matches('=')] {
            assert_eq!(of(basic, &flight).as_deref(), Some("a.b:c"));
        }
        assert_eq!(of(&basic, other), None);
        assert_eq!(of("Bearer a.b.c", &flight).as_deref(), Some("a.b.c"));
        assert_eq!(of("Bearer a.b.c", other).as_deref(), Some("a.b.c"));
        for bad in ["Basic", "Basic %%%", "Basic YQ", "Digest YTpi"] {
            assert_eq!(of(bad, &flight), None, "{bad}");
        }
    }
}
