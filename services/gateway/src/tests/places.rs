//! What a request made has a place: where it can be read, and nothing where it cannot.

use super::*;
use proto::{
    analytics::v1::{Job, PipelineRun, RunPipelineResponse, SubmitJobResponse},
    registry::v1::{BreakGlass, Consent, CreateConsentResponse, OpenBreakGlassResponse},
};

/// Status and `Location` of the answer to a request at `path`, whose rpc answers with `message`.
async fn made(path: &str, message: impl Message) -> (u16, Option<String>) {
    let message = message.encode_to_vec();
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let answer = move || {
        let frame = frame.clone();
        async move { ([("content-type", "application/grpc"), ("grpc-status", "0")], frame) }
    };
    let gateway = over(Routes::from(Router::new().fallback(answer)));
    let request = Request::post(path).header("content-type", "application/json").body(Body::from("{}")).unwrap();
    let answer = gateway.answer(request).await;
    let location = answer.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
    (answer.status().as_u16(), location)
}

#[tokio::test]
async fn what_is_made_is_201_with_the_path_where_it_is_read() {
    let place = |path: &str| (201, Some(path.to_owned()));
    let submitted = || SubmitJobResponse { job: Some(Job { job_id: "j-1".into(), ..Job::default() }) };
    assert_eq!(made("/v1/jobs", submitted()).await, place("/v1/jobs/j-1"));
    let run = PipelineRun { run_id: "r-1".into(), ..PipelineRun::default() };
    let run = RunPipelineResponse { run: Some(run) };
    assert_eq!(made("/v1/pipelines/daily:run", run).await, place("/v1/pipelines/daily/runs/r-1"));
    let consent = Consent { consent_id: "c-1".into(), patient_id: "p-1".into(), ..Consent::default() };
    let consent = CreateConsentResponse { consent: Some(consent) };
    assert_eq!(made("/v1/patients/p-1/consents", consent).await, place("/v1/patients/p-1/consents/c-1"));
    // no path shows one emergency
    let opened = BreakGlass { break_glass_id: "b-1".into(), ..BreakGlass::default() };
    assert_eq!(made("/v1/break-glass", OpenBreakGlassResponse { break_glass: Some(opened) }).await, (201, None));
    // as the system before had it; and what is queued again was there
    assert_eq!(made("/jobs/task", submitted()).await, (200, None));
    assert_eq!(made("/v1/jobs/j-1:retry", submitted()).await, (200, None));
}

#[test]
fn every_rpc_that_makes_something_has_its_place() {
    let all = served().unwrap();
    let without = all.iter().filter(|served| served.creates() && !served.has_location());
    assert_eq!(without.map(|served| served.method.name().to_owned()).collect::<Vec<_>>(), ["OpenBreakGlass"]);
    let with = all.iter().filter(|served| served.has_location()).count();
    assert!(with >= 10, "{with}");
}
