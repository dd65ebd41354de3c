//! Whose a reading is: one patient's, for all of it.

use super::*;

/// Why a reading of this time is refused for a device that has had a patient for an hour.
fn not_assigned_at(at: Nanos) -> String {
    not_assigned_from(at, None, ClockQuality::Unknown)
}

fn not_assigned_from(at: Nanos, until: Option<Nanos>, clock: ClockQuality) -> String {
    let held = directory::Assignment {
        patient: PatientId::from_bytes([1; 16]),
        from: NOW.plus(-3_600 * Nanos::SECOND),
        to: NOW.plus(3_600 * Nanos::SECOND),
    };
    let measured_at = Some(guard::convert::timestamp(at));
    let (measured_until, value) = (until.map(guard::convert::timestamp), Some(ValueView::Number(60.0)));
    let reading = ReadingView { metric: "8867-4", measured_at, measured_until, value, ..Default::default() };
    let judge = Judge::new(10, ClockTolerance::default());
    let judged = judge.judge(&[reading], &mut Assigned::new(vec![held]), (clock, NOW));
    let refusal = &judged.refused.named[0];
    assert_eq!((refusal.reason.as_str(), refusal.field.as_str()), ("NOT_ASSIGNED", "readings[0].measured_at"));
    refusal.description.clone()
}

#[test]
fn where_the_clock_is_the_likelier_cause_no_patient_is_said_to_be_missing() {
    let never_set = [0, 315_964_800, 946_684_805, 1_420_070_400, -2_300_000_000];
    for seconds in never_set {
        let text = not_assigned_at(Nanos(seconds * Nanos::SECOND));
        assert!(text.contains("clock that was never set; set the device's clock"), "{seconds}: {text}");
    }
    assert!(not_assigned_at(NOW.plus(9 * Nanos::DAY)).contains("has not come yet; set the device's clock"));
    // its time has come, whatever its end
    for until in [None, Some(NOW.plus(Nanos::DAY))] {
        let text = not_assigned_from(NOW.plus(-Nanos::DAY), until, ClockQuality::Free);
        assert!(text.contains("assign one") && !text.contains("clock"), "{text}");
    }
    // the device says so itself
    let text = not_assigned_from(NOW.plus(-Nanos::DAY), None, ClockQuality::Unset);
    assert!(text.contains("clock that was never set") && !text.contains("assign one"), "{text}");
}

/// Field, reason and text of a refusal.
type Refusal = (String, String, String);

/// What becomes of readings of a device that was one patient's until ten minutes ago, then another's, and then nobody's for the last
/// five: by patient how many are kept, and field, reason and text of each that is refused.
fn of_patients(readings: &[ReadingView<'_>]) -> (Vec<(u8, usize)>, Vec<Refusal>) {
    let minutes = |ago: i64| NOW.plus(-ago * 60 * Nanos::SECOND);
    let held = |patient: u8, from, to| {
        let patient = PatientId::from_bytes([patient; 16]);
        directory::Assignment { patient, from: minutes(from), to: minutes(to) }
    };
    // the first one's in two parts, without a gap
    let held = vec![held(1, 60, 30), held(1, 30, 10), held(2, 10, 5)];
    let judge = Judge::new(10, ClockTolerance::default());
    let judged = judge.judge(readings, &mut Assigned::new(held), (ClockQuality::Free, NOW));
    assert_eq!(judged.settled, judged.refused.named.is_empty(), "an assignment may yet be made");
    let n_of = |slices: &[Slice]| {
        slices.iter().map(|slice| Block::decode(slice.hour, &slice.block).unwrap().len()).sum::<usize>()
    };
    let first_byte = |patient: &PatientId| patient.uuid().as_bytes()[0];
    let kept = judged.parts.iter().map(|(patient, slices)| (first_byte(patient), n_of(slices))).collect();
    let refused = judged.refused.named.into_iter().map(|r| (r.field, r.reason, r.description)).collect();
    (kept, refused)
}

#[test]
fn what_lasts_beyond_an_assignment_is_refused_by_itself_and_told_to_be_sent_in_two() {
    let minutes = |ago: i64| NOW.plus(-ago * 60 * Nanos::SECOND);
    let of = |from, to| steps(minutes(from), minutes(to));
    let strip = ecg(minutes(11), 120, Nanos::SECOND);
    let (kept, refused) = of_patients(&[of(20, 10), of(20, 9), of(40, 11), strip, of(9, 5), of(8, 1)]);
    assert_eq!(kept, [(1, 2), (2, 1)], "up to its end, and over the seam of one patient's two");
    let told: Vec<_> = refused.iter().map(|(field, reason, _)| (field.as_str(), reason.as_str())).collect();
    let expected = ["readings[1].measured_until", "readings[3].waveform", "readings[5].measured_until"];
    assert_eq!(told, expected.map(|field| (field, "NOT_ASSIGNED")));
    let [at, until, end] = [20, 10, 9].map(|ago| guard::convert::timestamp(minutes(ago)).to_string());
    let (.., text) = &refused[0];
    assert!(text.starts_with("not one patient's for all of it") && text.contains("send it in two"), "{text}");
    assert!([at, until, end].iter().all(|time| text.contains(time)), "{text}");
}

#[test]
fn a_strip_that_is_longer_than_any_may_be_is_refused_for_that() {
    let strip = ecg(NOW.plus(-20 * 60 * Nanos::SECOND), 20_000, 60 * Nanos::SECOND);
    let held = directory::Assignment { patient: PatientId::from_bytes([1; 16]), from: Nanos::MIN, to: NOW };
    let judge = Judge::new(10, ClockTolerance::default());
    let judged = judge.judge(&[strip], &mut Assigned::new(vec![held]), (ClockQuality::Free, NOW));
    assert_eq!((judged.accepted, &*judged.refused.named[0].reason), (0, "BAD_WAVEFORM"));
}
