//! Why nobody is let in, or not yet: every refusal of the auth layer, by the reason that its caller is told. Reasons are never
//! changed; the manual on access (`services/registry/README.md`) has this table.

use auth::{MAX_TOKEN_BYTES, Rejected};
use proto::problem;
use std::time::Duration;
use tonic::Status;

/// When to try again while an issuer does not answer.
const ISSUER_RETRY: Duration = Duration::from_secs(5);
/// The same, until this process knows what the registry knows.
const REGISTRY_RETRY: Duration = Duration::from_secs(1);

pub(super) fn no_token() -> Status {
    problem::unauthenticated("NO_TOKEN", "send a token as `authorization: Bearer ...`")
}

pub(super) fn unclear_certificate() -> Status {
    let text = "the client certificate must have exactly one name like URI:urn:wardline:device:UUID, in lower case";
    problem::unauthenticated("INVALID_CERTIFICATE", text)
}

pub(super) fn other_device() -> Status {
    let text =
        "the token is of another device than the client certificate; send each device's token on its own connection";
    problem::unauthenticated("OTHER_DEVICE", text)
}

pub(super) fn behind() -> Status {
    let text = "the token is newer than what this process knows of the registry, and may be good; try again";
    problem::unavailable("REGISTRY_BEHIND", text, REGISTRY_RETRY)
}

pub(super) fn token(rejected: Rejected) -> Status {
    match rejected {
        Rejected::Expired => problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; get a new one"),
        Rejected::IssuerUnavailable => problem::unavailable(
            "ISSUER_UNAVAILABLE",
            "the token's issuer does not answer, so the token cannot be checked; try again",
            ISSUER_RETRY,
        ),
        Rejected::TooLarge => {
            let text = format!("the token is longer than {MAX_TOKEN_BYTES} bytes; have its issuer leave claims out");
            problem::unauthenticated("TOKEN_TOO_LARGE", &text)
        }
        Rejected::UnknownRestriction => {
            let text = "the token's scope, or another claim that restricts it, is not understood; a scope has words like \
                        wardline/readings.read with spaces between them";
            problem::unauthenticated("UNKNOWN_RESTRICTION", text)
        }
        Rejected::Invalid => problem::unauthenticated("INVALID_TOKEN", "the token is not valid here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use tonic::Code;
    use tonic_types::StatusExt;

    /// Each reason: the code, and as what it is counted.
    fn refusals() -> BTreeMap<String, (String, BTreeSet<String>)> {
        let mut refusals = BTreeMap::<_, (String, BTreeSet<String>)>::new();
        let others =
            [(no_token(), Some("no_token")), (unclear_certificate(), None), (other_device(), None), (behind(), None)];
        let tokens = auth::faults().map(|(label, rejected)| (token(rejected), Some(label)));
        for (status, label) in others.into_iter().chain(tokens) {
            let code = match status.code() {
                Code::Unauthenticated => "UNAUTHENTICATED",
                Code::Unavailable => "UNAVAILABLE",
                code => panic!("{code:?}"),
            };
            assert_eq!(status.get_details_retry_info().is_some(), status.code() == Code::Unavailable);
            let (named, labels) = refusals.entry(status.get_details_error_info().unwrap().reason).or_default();
            *named = code.to_owned();
            labels.extend(label.map(str::to_owned));
        }
        refusals
    }

    #[test]
    fn the_manual_has_every_refusal() {
        let manual = include_str!("../../../../services/registry/README.md");
        let (_, table) = manual.split_once("| Reason | Status | Counted as |").expect("the table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let told: BTreeMap<_, _> = rows
            .map(|row| {
                let cells: Vec<_> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
                let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
                (cells[1].clone(), (cells[2].clone(), labels))
            })
            .collect();
        assert_eq!(told, refusals());
        assert!(manual.contains(&format!("{MAX_TOKEN_BYTES} bytes")), "the largest token");
    }

    #[test]
    fn each_refusal_of_a_device_is_counted_by_its_reason() {
        for (reason, _) in refusals().into_iter().filter(|(_, (code, _))| code == "UNAUTHENTICATED") {
            assert_eq!(crate::metrics::device_reason(&reason), reason);
        }
    }
}
