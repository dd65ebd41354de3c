//! One issuer in the settings, and what can be wrong with it.

use anyhow::Context;
use auth::{Discovery, Pace, SubjectKind, TokenType};
use serde::{Deserialize, Deserializer};
use std::{collections::HashSet, fmt, path::PathBuf, time::Duration};

/// `[[auth.issuers]]`. Everything has a default, so that each key can be checked alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct Issuer {
    pub name: String,
    pub audience: String,
    pub algorithm: Option<Algorithm>,
    pub kid: String,
    pub public_key_file: PathBuf,
    pub discovery: DiscoveryAt,
    pub ca_file: PathBuf,
    pub token_type: Type,
    pub nbf: Nbf,
    pub subject_claim: String,
    pub subjects: Vec<Subject>,
    pub bare_uuid: Bare,
}

choices! {
    Algorithm { EdDsa = "EdDSA", Es256 = "ES256", Rs256 = "RS256", Ps256 = "PS256" }
    Type { AccessToken = "at+jwt", Any = "JWT" }
    Nbf { Required = "required", Optional = "optional" }
    Subject { User = "user", Device = "device" }
    Bare { User = "user", Device = "device", None = "none" }
}

/// Where the discovery document is: `false`, `true` or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryAt {
    /// There is a key file.
    Off,
    /// Below the issuer's name.
    Name,
    /// At this address.
    Url(String),
}

impl<'de> Deserialize<'de> for DiscoveryAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = DiscoveryAt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or an address")
            }

            fn visit_bool<E>(self, on: bool) -> Result<DiscoveryAt, E> {
                Ok(if on { DiscoveryAt::Name } else { DiscoveryAt::Off })
            }

            fn visit_str<E>(self, url: &str) -> Result<DiscoveryAt, E> {
                Ok(DiscoveryAt::Url(url.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            name: String::new(),
            audience: String::new(),
            algorithm: None,
            kid: String::new(),
            public_key_file: PathBuf::new(),
            discovery: DiscoveryAt::Off,
            ca_file: PathBuf::new(),
            token_type: Type::AccessToken,
            nbf: Nbf::Required,
            subject_claim: "sub".to_owned(),
            subjects: vec![Subject::User],
            bare_uuid: Bare::User,
        }
    }
}

impl super::Auth {
    /// How often issuers are asked.
    pub fn pace(&self) -> Pace {
        let [every, unknown_every] = [self.keys_every_seconds, self.unknown_key_every_seconds].map(Duration::from_secs);
        Pace { every, unknown_every }
    }
}

impl Issuer {
    fn discovery(&self, pace: Pace) -> Option<Discovery> {
        let url = match &self.discovery {
            DiscoveryAt::Off => return None,
            DiscoveryAt::Name => None,
            DiscoveryAt::Url(url) => Some(url.clone()),
        };
        let ca_file = (!self.ca_file.as_os_str().is_empty()).then(|| self.ca_file.clone());
        Some(Discovery { url, ca_file, pace })
    }

    /// Reads its files; asks nobody.
    pub fn build(&self, pace: Pace) -> anyhow::Result<auth::Issuer> {
        let algorithm = match self.algorithm.context("algorithm")? {
            Algorithm::EdDsa => auth::Algorithm::EdDsa,
            Algorithm::Es256 => auth::Algorithm::Es256,
            Algorithm::Rs256 => auth::Algorithm::Rs256,
            Algorithm::Ps256 => auth::Algorithm::Ps256,
        };
        let kinds: Vec<_> = self.subjects.iter().map(|subject| subject.kind()).collect();
        let bare = match self.bare_uuid {
            Bare::None => None,
            Bare::User => Some(SubjectKind::User),
            Bare::Device => Some(SubjectKind::Device),
        };
        let typ = match self.token_type {
            Type::AccessToken => TokenType::AccessToken,
            Type::Any => TokenType::Any,
        };
        let mut issuer = auth::Issuer::new(&self.name, &self.audience, algorithm)
            .speaking_for(&kinds, bare)
            .with_subject_claim(&self.subject_claim)
            .of_type(typ);
        if self.nbf == Nbf::Optional {
            issuer = issuer.without_nbf();
        }
        if let Some(discovery) = self.discovery(pace) {
            return Ok(issuer.with_discovery(&discovery)?);
        }
        let path = &self.public_key_file;
        let pem = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        Ok(issuer.with_pem(&self.kid, &pem)?)
    }

    /// What is wrong, with the key that is at fault.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut unless = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(mistake.to_owned());
            }
        };
        unless(!self.name.is_empty(), "name: the `iss` of its tokens");
        unless(!self.audience.is_empty(), "audience: the `aud` of its tokens");
        unless(self.algorithm.is_some(), "algorithm: EdDSA, ES256, RS256 or PS256");
        unless(!self.subject_claim.is_empty(), "subject_claim: the claim that holds the subject");
        unless(!self.subjects.is_empty(), "subjects: user, device or both");
        let (kid, file) = (!self.kid.is_empty(), !self.public_key_file.as_os_str().is_empty());
        if self.discovery == DiscoveryAt::Off {
            unless(kid || !file, "kid: the key's id in its tokens");
            unless(file || !kid, "public_key_file: the key in PEM");
            unless(kid || file, "either kid and public_key_file, or discovery");
            unless(self.ca_file.as_os_str().is_empty(), "ca_file: is for discovery");
        } else {
            unless(!kid && !file, "either kid and public_key_file, or discovery, not both");
        }
        let pace = Pace::default();
        if let Some(Err(error)) = self.discovery(pace).map(|discovery| discovery.check(&self.name)) {
            mistakes.push(format!("discovery: {error}"));
        }
        mistakes
    }
}

impl Subject {
    fn kind(self) -> SubjectKind {
        match self {
            Self::User => SubjectKind::User,
            Self::Device => SubjectKind::Device,
        }
    }
}

/// What is wrong with the issuers' settings, one line a mistake; empty: nothing is.
pub(super) fn mistakes(issuers: &[Issuer]) -> Vec<String> {
    let mut names = HashSet::new();
    let mut mistakes = Vec::new();
    for (at, issuer) in issuers.iter().enumerate() {
        mistakes.extend(issuer.mistakes().into_iter().map(|mistake| format!("auth.issuers[{at}].{mistake}")));
        if !names.insert(&issuer.name) {
            mistakes.push(format!("auth.issuers[{at}].name: another issuer has it already"));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    fn load(issuers: &str) -> anyhow::Result<Config> {
        let flags = vec![format!("auth.issuers=[{issuers}]")];
        Config::load(&Sources { file: None, environment: Vec::new(), flags })
    }

    const NAMED: &str = r#"name = "https://id.example.org", audience = "wardline", algorithm = "RS256""#;

    #[test]
    fn keys_come_from_a_file_or_from_the_issuer() {
        for keys in [
            r#"kid = "1", public_key_file = "a.pem""#,
            "discovery = true",
            r#"discovery = "https://internal.example.org/document""#,
            r#"discovery = true, ca_file = "ca.pem", token_type = "JWT", nbf = "optional", subjects = ["user", "device"]"#,
            r#"discovery = "http://127.0.0.1:8080/document", subject_claim = "id", bare_uuid = "none""#,
        ] {
            let config = load(&format!("{{{NAMED}, {keys}}}")).unwrap();
            assert!(!config.demo(), "{keys}");
        }
        let local =
            r#"{name = "http://localhost:8080/realms/ward", audience = "a", algorithm = "PS256", discovery = true}"#;
        assert!(load(local).is_ok());
    }

    #[test]
    fn every_mistake_in_every_issuer_is_named() {
        for (keys, expected) in [
            ("", "either kid and public_key_file, or discovery"),
            (r#"kid = "1""#, "public_key_file: the key in PEM"),
            (r#"public_key_file = "a""#, "kid: the key's id"),
            (r#"kid = "1", public_key_file = "a", discovery = true"#, "or discovery, not both"),
            (r#"kid = "1", discovery = true"#, "or discovery, not both"),
            (r#"kid = "1", public_key_file = "a", ca_file = "ca.pem""#, "ca_file: is for discovery"),
            (r#"discovery = "http://id.example.org/document""#, "the address must be https"),
            (r#"discovery = "a word""#, "the address must be https"),
            ("discovery = true, subjects = []", "subjects: user, device or both"),
            (r#"discovery = true, subject_claim = """#, "subject_claim: "),
        ] {
            let text = load(&format!("{{{NAMED}, {keys}}}").replace(", }", "}")).unwrap_err().to_string();
            assert!(text.contains("auth.issuers[0]") && text.contains(expected), "{keys}: {text}");
        }
        let text = load(&format!("{{{NAMED}, discovery = true}}, {{{NAMED}, discovery = true}}, {{}}")).unwrap_err();
        let text = text.to_string();
        for part in ["[1].name: another", "[2].name: ", "[2].audience: ", "[2].algorithm: ", "[2].either kid"] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[test]
    fn a_wrong_kind_is_named_with_its_place() {
        let first = r#"{nam = "a", algorithm = "HS256", discovery = 7, subjects = ["admin"]}"#;
        let text = load(&format!("{first}, {{token_type = \"at\", nbf = false}}")).unwrap_err().to_string();
        for part in
            ["[0].nam: ", "[0].algorithm: ", "[0].discovery: ", "[0].subjects: ", "[1].token_type: ", "[1].nbf: "]
        {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[test]
    fn how_often_an_issuer_is_asked_is_bounded() {
        let flags = vec!["auth.keys_every_seconds=0".to_owned(), "auth.unknown_key_every_seconds=0".to_owned()];
        let text = Config::load(&Sources { file: None, environment: Vec::new(), flags }).unwrap_err().to_string();
        assert!(text.contains("auth.keys_every_seconds") && text.contains("auth.unknown_key_every_seconds"), "{text}");
    }
}
