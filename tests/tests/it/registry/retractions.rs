//! Readings that must not count: their device takes them back, or who treats the patient does; and that can be ended.

use super::{Asking, refusal, refused};
use crate::{
    bad_batches::tags,
    doubtful::{columns, counts, latest, trend},
};
use anyhow::Context;
use auth::demo_person;
use guard::convert;
use model::{Nanos, StreamId};
use proto::{
    registry::v1::{
        CreateRetractionRequest, EndRetractionRequest, GetRetractionRequest, ListRetractionsRequest, Retraction,
    },
    telemetry::v1::{
        ReadTimelineRequest, Reading,
        ReadingFlag::{Correction, EnteredInError},
    },
};
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading},
    wait::until,
};
use tonic::{Code, Status};
use uuid::Uuid;

const PULSE: &str = "8867-4";
const MINUTE: i64 = 60 * Nanos::SECOND;
const WHY: &str = "the probe had come off the finger";

/// Number and flags of all readings, ascending by time.
async fn shown(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<Vec<(f64, Vec<i32>)>> {
    let request: ReadTimelineRequest = everything(bed);
    let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?;
    Ok(page.into_inner().readings.iter().map(tags).collect())
}

/// Good and doubtful readings of the heart rate in the hours around a time.
async fn counted(sandbox: &Sandbox, bed: &Bed, at: Nanos) -> anyhow::Result<(u64, u64)> {
    Ok(counts(&trend(sandbox, bed, PULSE, at.plus(-60 * MINUTE), at.plus(60 * MINUTE)).await?))
}

/// Of a bed's patient, from one time to another.
fn retraction(bed: &Bed, from: Nanos, to: Nanos) -> Retraction {
    Retraction {
        patient_id: bed.patient.uuid().to_string(),
        start_time: Some(convert::timestamp(from)),
        end_time: Some(convert::timestamp(to)),
        reason: WHY.into(),
        ..Retraction::default()
    }
}

async fn create(asking: &mut Asking, retraction: Retraction) -> Result<Retraction, Status> {
    let request = asking.request(CreateRetractionRequest { retraction: Some(retraction) });
    Ok(asking.client.create_retraction(request).await?.into_inner().retraction.unwrap_or_default())
}

async fn end(asking: &mut Asking, patient_id: &str, retraction_id: &str) -> Result<Retraction, Status> {
    let request = asking.request(EndRetractionRequest {
        patient_id: patient_id.into(),
        retraction_id: retraction_id.into(),
        ..Default::default()
    });
    Ok(asking.client.end_retraction(request).await?.into_inner().retraction.unwrap_or_default())
}

async fn list(asking: &mut Asking, patient_id: &str, page_size: i32) -> Result<(Vec<Retraction>, String), Status> {
    let request =
        asking.request(ListRetractionsRequest { patient_id: patient_id.into(), page_size, ..Default::default() });
    let page = asking.client.list_retractions(request).await?.into_inner();
    Ok((page.retractions, page.next_page_token))
}

#[tokio::test]
async fn what_a_device_takes_back_is_kept_and_counts_nowhere() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (first, wrong) = (now.plus(-3 * MINUTE), now.plus(-2 * MINUTE));
    sandbox.write(&bed, 1, vec![pulse(70.0, first), pulse(190.0, wrong)]).await?;
    sandbox.readable(&bed, 2).await?;
    assert_eq!(latest(&sandbox, &bed).await?, [(190.0, vec![])]);
    let back = Reading { entered_in_error: true, ..pulse(190.0, wrong) };
    let answer = sandbox.write(&bed, 2, vec![back]).await?;
    assert_eq!((answer.accepted_readings, answer.refused.len()), (1, 0));
    let in_error = vec![EnteredInError as i32];
    let gone = async || latest(&sandbox, &bed).await;
    until("the reading to be taken back", gone, |found| *found == [(70.0, vec![])]).await?;
    // once, and as what it is
    assert_eq!(shown(&sandbox, &bed).await?, [(70.0, vec![]), (190.0, in_error.clone())]);
    assert_eq!(columns(&sandbox, &bed, PULSE).await?, [(vec![70.0, 190.0], vec![0, 128])]);
    assert_eq!(counted(&sandbox, &bed, wrong).await?, (1, 1));
    // what comes in its place counts
    sandbox.write(&bed, 3, vec![pulse(72.0, wrong)]).await?;
    let correction = vec![Correction as i32];
    until("the right one", gone, |found| *found == [(72.0, correction.clone())]).await?;
    assert_eq!(shown(&sandbox, &bed).await?, [(70.0, vec![]), (190.0, in_error), (72.0, correction)]);
    // and what was corrected is in no trend any more, not even as doubtful
    assert_eq!(counted(&sandbox, &bed, wrong).await?, (2, 0));
    Ok(())
}

#[tokio::test]
async fn who_treats_a_patient_retracts_readings_and_takes_that_back() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |minutes: i64| now.plus(minutes * MINUTE);
    let written = vec![pulse(70.0, at(-30)), pulse(190.0, at(-20)), reading("8310-5", "Cel", 37.0, at(-20))];
    sandbox.write(&bed, 1, written).await?;
    sandbox.readable(&bed, 3).await?;
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let wanted = Retraction {
        device_id: bed.device.uuid().to_string(),
        metrics: vec![PULSE.into()],
        ..retraction(&bed, at(-25), at(-10))
    };
    let made = create(&mut nurse, wanted.clone()).await?;
    assert_eq!(made.user_id, demo_person("nurse").context("nobody")?.uuid().to_string());
    assert!(made.created_at.is_some() && made.ended_at.is_none() && made.ended_by.is_empty());
    let given = (made.device_id.clone(), made.metrics.clone(), made.start_time, made.end_time, made.reason.clone());
    assert!(given == (wanted.device_id, wanted.metrics, wanted.start_time, wanted.end_time, wanted.reason));

    let in_error = vec![EnteredInError as i32];
    let marked = [(70.0, vec![]), (37.0, vec![]), (190.0, in_error.clone())];
    let all = async || {
        let mut all = shown(&sandbox, &bed).await?;
        all.sort_by(|a, b| a.1.cmp(&b.1).then(b.0.total_cmp(&a.0)));
        Ok(all)
    };
    until("the mark", all, |found| *found == marked).await?;
    // by code: the temperature, then the heart rate
    assert_eq!(latest(&sandbox, &bed).await?, [(37.0, vec![]), (70.0, vec![])]);
    assert_eq!(columns(&sandbox, &bed, PULSE).await?, [(vec![70.0, 190.0], vec![0, 128])]);
    assert_eq!(counted(&sandbox, &bed, at(-20)).await?, (1, 1));

    // what is received afterwards counts, also of the same time
    sandbox.write(&bed, 2, vec![pulse(75.0, at(-19))]).await?;
    let newest = async || latest(&sandbox, &bed).await;
    until("what came later", newest, |found| found[1] == (75.0, vec![])).await?;
    assert_eq!(counted(&sandbox, &bed, at(-20)).await?, (2, 1));

    let ended = end(&mut nurse, &made.patient_id, &made.retraction_id).await?;
    assert!(ended.ended_at.is_some() && ended.ended_by == made.user_id && ended.etag != made.etag);
    until("the mark to go", all, |found| found.iter().all(|(_, flags)| flags.is_empty())).await?;
    assert_eq!(counted(&sandbox, &bed, at(-20)).await?, (3, 0));
    // once more changes nothing, and it stays in the list
    assert!(end(&mut nurse, &made.patient_id, &made.retraction_id).await? == ended);
    let second = create(&mut nurse, retraction(&bed, at(-40), at(0))).await?;
    let (page, more) = list(&mut nurse, &made.patient_id, 1).await?;
    assert!(page == [second.clone()] && !more.is_empty());
    assert!(list(&mut nurse, &made.patient_id, 0).await? == (vec![second, ended], String::new()));
    Ok(())
}

#[tokio::test]
async fn a_retraction_lasts_over_a_restart() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let (bed, at) = (Bed::numbered(0), guard::clock::now().plus(-9 * 60 * MINUTE));
    sandbox.write(&bed, 1, vec![pulse(70.0, at), pulse(190.0, at.plus(MINUTE))]).await?;
    sandbox.readable(&bed, 2).await?;
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    create(&mut nurse, retraction(&bed, at.plus(1), at.plus(2 * MINUTE))).await?;
    sandbox.stop().await?;
    sandbox.run().await?;
    assert_eq!(shown(&sandbox, &bed).await?, [(70.0, vec![]), (190.0, vec![EnteredInError as i32])]);
    assert_eq!(counted(&sandbox, &bed, at).await?, (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_retraction_is_for_who_treats_and_shown_to_who_reads() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (patient_id, other_id) = (bed.patient.uuid().to_string(), Bed::numbered(1).patient.uuid().to_string());
    let (from, to) = (now.plus(-MINUTE), now);
    sandbox.write(&bed, 1, vec![pulse(190.0, from)]).await?;
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let id = create(&mut nurse, retraction(&bed, from, to)).await?.retraction_id;
    let get = async |asking: &mut Asking, patient_id: &str, retraction_id: &str| {
        let request =
            asking.request(GetRetractionRequest { patient_id: patient_id.into(), retraction_id: retraction_id.into() });
        asking.client.get_retraction(request).await
    };
    let mut doctor = Asking::demo(&sandbox, "doctor").await?;
    let read = get(&mut doctor, &patient_id, &id).await?.into_inner().retraction.unwrap_or_default();
    assert_eq!(read.reason, WHY);
    // by another's id, and none at all
    refused!(get(&mut doctor, &other_id, &id).await, NotFound, "NOT_FOUND");
    refused!(get(&mut doctor, &patient_id, &Uuid::new_v4().to_string()).await, NotFound, "NOT_FOUND");
    let of_other = end(&mut doctor, &other_id, &id).await.map(tonic::Response::new);
    refused!(of_other, NotFound, "NOT_FOUND");
    for role in ["administrator", "auditor", "device-integrator", "ml-scientist"] {
        let mut asking = Asking::demo(&sandbox, role).await?;
        for answer in [
            create(&mut asking, retraction(&bed, from, to)).await.map(drop),
            end(&mut asking, &patient_id, &id).await.map(drop),
            list(&mut asking, &patient_id, 0).await.map(drop),
        ] {
            assert_eq!(answer.map_err(|status| status.code()), Err(Code::PermissionDenied), "{role}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_retraction_that_cannot_be_meant_is_refused_by_its_field() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let good = retraction(&bed, now.plus(-MINUTE), now);
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let day = |n: i64| Some(convert::timestamp(now.plus(n * Nanos::DAY)));
    let bad = [
        (Retraction { start_time: None, ..good.clone() }, "INVALID_FIELD", "retraction.start_time"),
        (Retraction { end_time: None, ..good.clone() }, "INVALID_FIELD", "retraction.end_time"),
        (Retraction { end_time: day(-1), ..good.clone() }, "TIMES_REVERSED", "end_time"),
        (Retraction { start_time: day(-32), ..good.clone() }, "RANGE_TOO_LONG", "retraction.end_time"),
        (Retraction { reason: "wrong".into(), ..good.clone() }, "INVALID_FIELD", "retraction.reason"),
        (Retraction { metrics: vec!["x".into()], ..good.clone() }, "UNKNOWN_METRIC", "retraction.metrics[0]"),
        (
            Retraction { metrics: vec![PULSE.into(), PULSE.into()], ..good.clone() },
            "INVALID_FIELD",
            "retraction.metrics[1]",
        ),
        (Retraction { metrics: vec![PULSE.into(); 101], ..good.clone() }, "INVALID_FIELD", "retraction.metrics"),
        (
            Retraction { device_id: Uuid::new_v4().to_string(), ..good.clone() },
            "NO_SUCH_DEVICE",
            "retraction.device_id",
        ),
        (Retraction { user_id: Uuid::new_v4().to_string(), ..good.clone() }, "OUTPUT_ONLY", "retraction.user_id"),
        (Retraction { patient_id: "x".into(), ..good.clone() }, "INVALID_ID", "patient_id"),
    ];
    for (retraction, reason, field) in bad {
        let (_, found, at) = refusal(create(&mut nurse, retraction).await.map(tonic::Response::new))?;
        assert_eq!((found.as_str(), at.as_str()), (reason, field));
    }
    sandbox.write(&bed, 1, vec![pulse(190.0, now.plus(-MINUTE))]).await?;
    let made = create(&mut nurse, Retraction { start_time: day(-31), end_time: day(0), ..good.clone() }).await?;
    let again = Retraction { retraction_id: made.retraction_id, ..good };
    refused!(create(&mut nurse, again).await.map(tonic::Response::new), AlreadyExists, "EXISTS");
    Ok(())
}

#[tokio::test]
async fn the_same_value_sent_again_in_another_stream_stays_taken_back_until_the_retraction_ends() -> anyhow::Result<()>
{
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    // of one hour, so that one hour has all
    let at = |minutes: i64| now.hour().start().plus((minutes - 60) * MINUTE);
    sandbox.write(&bed, 1, vec![pulse(70.0, at(1)), pulse(190.0, at(2))]).await?;
    sandbox.readable(&bed, 2).await?;
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let made = create(&mut nurse, retraction(&bed, at(2), at(3))).await?;
    let newest = async || latest(&sandbox, &bed).await;
    until("the mark", newest, |found| *found == [(70.0, vec![])]).await?;
    // unchanged, and with a new one after it
    let again = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    sandbox.write(&again, 1, vec![pulse(190.0, at(2)), pulse(72.0, at(4))]).await?;
    until("the new one", newest, |found| *found == [(72.0, vec![])]).await?;
    let in_error = vec![EnteredInError as i32];
    assert_eq!(shown(&sandbox, &bed).await?, [(70.0, vec![]), (190.0, in_error), (72.0, vec![])]);
    assert_eq!(counted(&sandbox, &bed, at(2)).await?, (2, 1));
    end(&mut nurse, &made.patient_id, &made.retraction_id).await?;
    let all = async || shown(&sandbox, &bed).await;
    until("the mark to go", all, |found| *found == [(70.0, vec![]), (190.0, vec![]), (72.0, vec![])]).await?;
    assert_eq!(counted(&sandbox, &bed, at(2)).await?, (3, 0));
    Ok(())
}

#[tokio::test]
async fn the_same_readings_are_retracted_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |minutes: i64| now.plus(minutes * MINUTE);
    sandbox.write(&bed, 1, vec![pulse(70.0, at(-30)), pulse(190.0, at(-20))]).await?;
    sandbox.readable(&bed, 2).await?;
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let wide = retraction(&bed, at(-25), at(-10));
    let made = create(&mut nurse, wide.clone()).await?;
    let narrow = Retraction {
        device_id: bed.device.uuid().to_string(),
        metrics: vec![PULSE.into()],
        ..retraction(&bed, at(-21), at(-19))
    };
    for same in [&wide, &narrow] {
        let refused = create(&mut nurse, same.clone()).await;
        assert!(refused.as_ref().is_err_and(|status| status.message().contains(&made.retraction_id)));
        refused!(refused.map(tonic::Response::new), AlreadyExists, "RETRACTION_EXISTS");
    }
    // of wider words, which is about the same readings and no other
    let wider = retraction(&bed, at(-26), at(-10));
    refused!(create(&mut nurse, wider.clone()).await.map(tonic::Response::new), AlreadyExists, "RETRACTION_EXISTS");
    // by two together
    let first = create(&mut nurse, retraction(&bed, at(-35), at(-25))).await?;
    let both = retraction(&bed, at(-40), at(0));
    refused!(create(&mut nurse, both.clone()).await.map(tonic::Response::new), AlreadyExists, "RETRACTION_EXISTS");
    end(&mut nurse, &first.patient_id, &first.retraction_id).await?;
    create(&mut nurse, both).await?;
    // ending the one leaves the other, which is of more readings
    end(&mut nurse, &made.patient_id, &made.retraction_id).await?;
    refused!(create(&mut nurse, wide.clone()).await.map(tonic::Response::new), AlreadyExists, "RETRACTION_EXISTS");
    // of what was received since, alone or with others
    sandbox.write(&bed, 2, vec![pulse(191.0, at(-18))]).await?;
    refused!(create(&mut nurse, narrow).await.map(tonic::Response::new), AlreadyExists, "RETRACTION_EXISTS");
    create(&mut nurse, wider).await?;
    refused!(create(&mut nurse, wide).await.map(tonic::Response::new), AlreadyExists, "RETRACTION_EXISTS");
    Ok(())
}

#[tokio::test]
async fn a_retraction_of_nothing_is_refused() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |minutes: i64| now.plus(minutes * MINUTE);
    sandbox.write(&bed, 1, vec![pulse(190.0, at(-20))]).await?;
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let meant = retraction(&bed, at(-21), at(-19));
    let (other_time, other_metric) =
        (retraction(&bed, at(-19), at(-10)), Retraction { metrics: vec!["8310-5".into()], ..meant.clone() });
    for nothing in [other_time, other_metric] {
        let refused = create(&mut nurse, nothing).await.map(tonic::Response::new);
        assert_eq!(refused!(refused, FailedPrecondition, "NOTHING_TO_RETRACT"), "retraction");
    }
    create(&mut nurse, meant).await?;
    Ok(())
}

#[tokio::test]
async fn a_time_to_come_is_retracted_where_a_clock_that_is_ahead_has_measured_in_it() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let to_come = retraction(&bed, now.plus(Nanos::DAY), now.plus(2 * Nanos::DAY));
    let field = refused!(
        create(&mut nurse, to_come.clone()).await.map(tonic::Response::new),
        InvalidArgument,
        "TIME_OUT_OF_RANGE"
    );
    assert_eq!(field, "retraction.start_time");
    sandbox.write(&bed, 1, vec![pulse(190.0, now.plus(Nanos::DAY + 20 * 60 * MINUTE))]).await?;
    create(&mut nurse, to_come).await?;
    Ok(())
}
