//! Writes that cost the sender nothing: refused claims, under made-up names and under a real device's; a device that
//! reports, and a patient who edits, as fast as they can. What of it was durable is counted by the node's own metrics.

use super::super::{
    http1,
    http2::{Answer, LARGEST_WINDOW, Session},
    tally::{Counts, none_of, of},
    target::{ATTACKERS, Target, address, nobody},
};
use futures::future::{join_all, join4};
use prost::Message as _;
use proto::{
    prost_types::FieldMask,
    registry::v1::{ClaimDeviceRequest, Contact, ReportDeviceRequest, UpdateUserRequest, User},
};
use rand::{Rng, rngs::StdRng};
use std::{net::Ipv4Addr, time::Duration};
use tokio::time::timeout;
use tonic::Code;

/// Calls on their way at once: of each of the two connections that claim, and of the device.
const AT_ONCE: usize = 16;
/// The patient's: of several at once all but one would be too late (`ABORTED`).
const EDITS_AT_ONCE: usize = 1;
/// Claims as JSON on their way at once.
const JSON_AT_ONCE: usize = 4;
const CLAIM: &str = "/wardline.registry.v1.EnrolmentService/ClaimDevice";
const REPORT: &str = "/wardline.registry.v1.RegistryService/ReportDevice";
const EDIT: &str = "/wardline.registry.v1.RegistryService/UpdateUser";
const PATIENCE: Duration = Duration::from_secs(60);

const CLAIMED: &str = "a wrong claim was taken";
const CLAIMS: &str = "claims refused";
const NO_HINT: &str = "refused as too much, without saying when to come again";
/// Without these it says nothing.
pub(super) const NEEDED: &[&str] = &[CLAIMS];

pub(super) async fn run(target: &Target) {
    let claims = target.at_once("claims", ATTACKERS.len(), |number, _| {
        calls(target, ATTACKERS[number], AT_ONCE, CLAIM, None, |random| {
            ClaimDeviceRequest {
                device_id: named(target, random),
                claim_code: format!("{:016x}", random.random::<u64>()),
                csr: String::new(),
            }
            .encode_to_vec()
        })
    });
    let json = target.at_once("claims-json", JSON_AT_ONCE, |_, mut random| async move {
        loop {
            claim_as_json(target, &mut random).await;
            target.pause().await;
        }
    });
    let reports = calls(target, ATTACKERS[0], AT_ONCE, REPORT, Some(&target.has.registered.1), |random| {
        let firmware_version = format!("{:x}", random.random::<u64>());
        ReportDeviceRequest { firmware_version, software_version: String::new() }.encode_to_vec()
    });
    let (patient, token) = &target.has.patient;
    let edits = calls(target, ATTACKERS[1], EDITS_AT_ONCE, EDIT, Some(token), |random| {
        let contact = Contact { phone: Some(random.random::<u32>().to_string()), ..Contact::default() };
        let user = User { user_id: patient.to_string(), contact: Some(contact), ..User::default() };
        let update_mask = Some(FieldMask { paths: vec!["contact.phone".to_owned()] });
        UpdateUserRequest { user: Some(user), update_mask }.encode_to_vec()
    });
    join4(claims, json, reports, edits).await;
}

/// Calls at full speed, over one connection.
async fn calls(
    target: &Target,
    from: Ipv4Addr,
    at_once: usize,
    path: &str,
    token: Option<&str>,
    message: impl Fn(&mut StdRng) -> Vec<u8>,
) {
    let rpc = path.rsplit('/').next().unwrap_or_default();
    let message = &message;
    loop {
        if let Ok(session) = Session::open(from, target.grpc, LARGEST_WINDOW).await {
            let session = &session;
            let loops = (0..target.n(at_once)).map(|number| async move {
                let mut random = target.random(rpc, number);
                while let Ok(Ok(answer)) = timeout(PATIENCE, session.call(path, token, &message(&mut random))).await {
                    count(target, rpc, &answer);
                    target.pause().await;
                }
            });
            join_all(loops).await;
        }
        target.reconnect().await;
    }
}

fn count(target: &Target, rpc: &str, answer: &Answer) {
    target.tally.add(&format!("{rpc}: {}", super::label(answer)));
    match answer.code() {
        Some(Code::Ok) if CLAIM.ends_with(rpc) => target.tally.add(CLAIMED),
        Some(Code::ResourceExhausted) if !answer.says_when() => target.tally.add(NO_HINT),
        Some(Code::Unauthenticated | Code::ResourceExhausted) if CLAIM.ends_with(rpc) => target.tally.add(CLAIMS),
        _ => {}
    }
}

async fn claim_as_json(target: &Target, random: &mut StdRng) {
    let body = format!("{{\"claim_code\":\"{:016x}\"}}", random.random::<u64>());
    let head = format!(
        "POST /v1/devices/{}:claim HTTP/1.1\r\nhost: wardline\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        named(target, random),
        body.len()
    );
    let Ok(reply) = http1::ask(address(random), target.api, &head, body.as_bytes()).await else {
        return target.reconnect().await;
    };
    target.tally.add(&format!("claim as JSON: {}", reply.label()));
    match reply.status {
        Some(200) => target.tally.add(CLAIMED),
        Some(429) if !reply.has("retry-after") => target.tally.add(NO_HINT),
        _ => {}
    }
}

/// Somebody else's device every second time, otherwise one that does not exist.
fn named(target: &Target, random: &mut StdRng) -> String {
    let name = if random.random() { target.has.named.uuid() } else { nobody(random) };
    name.to_string()
}

/// `most`: changes that one caller may make in the time of the attack, if that is judged.
pub(super) fn judge(counts: &Counts, most: Option<f64>) -> Vec<String> {
    let mut violations = none_of(counts, &[CLAIMED, NO_HINT]);
    for taken in ["ReportDevice: Ok", "UpdateUser: Ok"] {
        let n_taken = of(counts, taken);
        if let Some(most) = most.filter(|most| n_taken as f64 > *most) {
            violations.push(format!("{taken}: {n_taken} times, where {most:.0} are the most"));
        }
    }
    violations
}
