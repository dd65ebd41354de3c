//! Extracts of a small archive: who is in them, what they tell, and what they do not.

pub(crate) mod fixture;

use super::{
    Extract,
    judge::{Judgement, TakenBack, judge},
    rows::Rows,
};
use crate::{archive::file_of, days, jobs::kinds::Failure};
use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType},
};
use fixture::{DAY, MAX_DAYS, NOW, THEN, Ward, good, name, names, patient, pulse};
use model::{ClockTolerance, Nanos, Quality, Range, Retraction};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = cast(rows.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect()
}

fn numbers(rows: &RecordBatch, name: &str) -> Vec<f64> {
    let column = cast(rows.column_by_name(name).unwrap(), &DataType::Float64).unwrap();
    column.as_primitive::<Float64Type>().iter().map(|number| number.unwrap_or(-1.0)).collect()
}

fn micros(rows: &RecordBatch, name: &str) -> Vec<i64> {
    rows.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

#[tokio::test]
async fn subjects_have_other_names_and_times_and_each_reading_once() {
    let ward = Ward::new(2);
    let first = good(&[(10, 60.0), (3_700, 61.0), (90_000, 62.0)]);
    let wrong = (20, 99.0, Quality::ENTERED_IN_ERROR);
    ward.archive(&[
        pulse(1, (1, 1), 100_000, &first),
        pulse(2, (2, 1), 100_000, &good(&[(5, 70.0)])),
        // nobody's of the study
        pulse(3, (3, 1), 100_000, &good(&[(5, 80.0)])),
    ])
    .await;
    ward.archive(&[
        // all again in another stream, then what is new; of a clock that was never set
        pulse(1, (9, 1), 200_000, &first),
        pulse(1, (9, 2), 200_001, &[(20, 99.0, Quality::GOOD)]),
        pulse(1, (9, 3), 200_002, &[wrong]),
        pulse(1, (9, 4), 200_003, &[(30, 50.0, Quality::UNSET_CLOCK)]),
    ])
    .await;
    let done = ward.run(&Extract::readings(ward.studies.clone()), &[("study", "heart")]).await.unwrap();
    // all of the two, repeats and the one of an unset clock, too; nothing of the third
    assert_eq!(done.rows, (10, 5));
    let (result, rows) = ward.rows(done);
    let mut subjects = [1, 2].map(|number| (name(number), names().moved_by("heart", patient(number)), number));
    subjects.sort();
    let mut expected = Vec::new();
    for (name, moved_by, number) in subjects {
        let numbers =
            if number == 1 { &[(10, 60.0), (20, 99.0), (3_700, 61.0), (90_000, 62.0)][..] } else { &[(5, 70.0)] };
        expected.extend(
            numbers
                .iter()
                .map(|(second, value)| (name.clone(), THEN.plus(second * Nanos::SECOND - moved_by).0 / 1_000, *value)),
        );
    }
    let found: Vec<_> = texts(&rows, "subject_id")
        .into_iter()
        .zip(micros(&rows, "measured_at"))
        .zip(numbers(&rows, "value"))
        .map(|((name, at), value)| (name, at, value))
        .collect();
    assert_eq!(found, expected);
    let taken_back = found.iter().position(|row| row.2 == 99.0).unwrap();
    let quality = rows.column_by_name("quality").unwrap().as_primitive::<Int32Type>().values().to_vec();
    let of_good: Vec<_> = rows.column_by_name("good").unwrap().as_boolean().iter().map(Option::unwrap).collect();
    assert_eq!(quality.iter().position(|bits| *bits == 128), Some(taken_back));
    assert_eq!(of_good.iter().filter(|good| !**good).count(), 1);
    for hidden in ["patient_id", "device_id", "stream_id", "received_at", "sequence"] {
        assert!(rows.column_by_name(hidden).is_none(), "{hidden}");
    }
    let card = &result["card"];
    // the third is what takes the second back
    assert_eq!((&card["n_rows"], &card["n_repeats_left_out"]), (&5.into(), &4.into()), "{card}");
    assert_eq!((&card["n_subjects"], &card["rare_combinations"]["k"]), (&2.into(), &1.into()));
    assert_eq!(card["rare_combinations"]["n_subjects_with_rare_combinations"], 2);
    let shown: Vec<_> = ward.written.0.lock().unwrap().iter().filter_map(|event| event.patient).collect();
    assert_eq!(shown, [patient(1), patient(2)]);
}

#[tokio::test]
async fn made_twice_it_is_the_same_and_who_has_left_is_not_in_the_next() {
    let ward = Ward::new(2);
    let day = |of| pulse(of, (of, 1), 100_000, &good(&[(10, 60.0), (20, 61.0)]));
    ward.archive(&[day(1), day(2)]).await;
    let (first, _) = ward.extract(&[("study", "heart")]).await;
    let (again, _) = ward.extract(&[("study", "heart")]).await;
    assert_eq!(first["sha256"], again["sha256"]);
    assert_eq!(first["card"], again["card"]);
    ward.take_part(1..=1);
    let (next, rows) = ward.extract(&[("study", "heart")]).await;
    assert_ne!(first["sha256"], next["sha256"]);
    assert_eq!(texts(&rows, "subject_id"), [name(1), name(1)]);
    ward.take_part(2..=2);
    let (other, rows) = ward.extract(&[("study", "heart"), ("metrics", "8867-4")]).await;
    assert_eq!((texts(&rows, "subject_id"), &other["card"]["n_subjects"]), (vec![name(2); 2], &1.into()));
    ward.take_part(std::iter::empty());
    let none = ward.run(&Extract::readings(ward.studies.clone()), &[("study", "heart")]).await;
    assert!(matches!(none, Err(Failure::Final(_))), "{none:?}");
}

#[tokio::test]
async fn ranges_are_of_moved_times_and_nothing_young_is_shown() {
    let ward = Ward::new(1);
    let moved_by = names().moved_by("heart", patient(1));
    let now = (NOW.0 - THEN.0) / Nanos::SECOND;
    let days = |days: i64| days * 86_400;
    // by its moved time the last one is of a day that is not shown yet
    let shown_until = (NOW.0 - i64::from(MAX_DAYS) * DAY) / DAY * DAY;
    let edge = (shown_until + moved_by - THEN.0) / Nanos::SECOND;
    ward.archive(&[pulse(1, (1, 1), now, &good(&[(0, 50.0), (days(1), 51.0), (edge - 1, 52.0), (edge, 53.0)]))]).await;
    let (result, rows) = ward.extract(&[("study", "heart")]).await;
    assert_eq!(numbers(&rows, "value"), [50.0, 51.0, 52.0]);
    assert!(result["card"]["to"].is_null(), "the same tomorrow, if nothing comes: {result}");
    let from = days::named(THEN.plus(DAY - moved_by));
    let to = days::named(THEN.plus(2 * DAY - moved_by));
    let (_, rows) = ward.extract(&[("study", "heart"), ("from", &from), ("to", &to)]).await;
    assert_eq!(numbers(&rows, "value"), [51.0]);
    let late = days::named(Nanos(shown_until));
    let refused = ward.run(&Extract::readings(ward.studies.clone()), &[("study", "heart"), ("from", &late)]).await;
    assert!(matches!(&refused, Err(Failure::Final(text)) if text.starts_with("parameters.from: ")), "{refused:?}");
    for (name, value) in
        [("from", "2027-13-01"), ("from", "1800-01-01"), ("to", "x"), ("metrics", "8867-4,no"), ("subjects", "a")]
    {
        let refused = ward.run(&Extract::readings(ward.studies.clone()), &[("study", "heart"), (name, value)]).await;
        let Err(Failure::Final(text)) = refused else { panic!("{name} {value}: {refused:?}") };
        assert!(text.starts_with(&format!("parameters.{name}: ")), "{text}");
    }
}

#[test]
fn what_people_took_back_stands_until_they_did_and_again_when_they_ended_that() {
    let batch = pulse(1, (1, 1), 100, &good(&[(10, 60.0), (20, 61.0), (30, 62.0)]));
    let later = pulse(1, (1, 2), 500, &good(&[(20, 63.0)]));
    let mistake = pulse(1, (1, 3), 900, &[(10, 60.0, Quality::ENTERED_IN_ERROR)]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file_of(&[batch, later, mistake])).unwrap().build().unwrap();
    let rows = Rows::of(&reader.map(Result::unwrap).next().unwrap()).unwrap();
    let at = |second: i64| THEN.plus(second * Nanos::SECOND);
    let taken_back = |(from, to): (i64, i64), (received_until, ended): (i64, i64)| TakenBack {
        what: Retraction {
            device: None,
            metrics: None,
            range: Range::new(at(from), at(to)).unwrap(),
            received_until: at(received_until),
        },
        ended_at: if ended == 0 { Nanos::MAX } else { at(ended) },
    };
    let all = [taken_back((0, 20), (300, 0)), taken_back((0, 40), (400, 450))];
    let judgement = judge(THEN.hour(), &rows, ClockTolerance::default(), &all);
    // in the order of time: 60 and that it was a mistake, 61 and 63 of one instant, 62
    let in_error: Vec<_> = judgement.quality.iter().map(|quality| quality.has(Quality::ENTERED_IN_ERROR)).collect();
    assert_eq!((in_error[0], &in_error[2..]), (true, &[false; 3][..]), "what was ended is not in force");
    let stands =
        |row: usize| [299, 301, 420, 460, 600, 1_000].map(|second| Judgement::stands(judgement.away(row), at(second)));
    assert_eq!(stands(0), [true, false, false, false, false, false]);
    // 61 was corrected at 500
    assert_eq!(stands(2), [true, true, false, true, false, false]);
    assert_eq!(stands(4), [true, true, false, true, true, true]);
    assert!(judgement.quality[3].has(Quality::CORRECTION));
}

#[tokio::test]
async fn features_know_nothing_from_after_the_instant_of_prediction() {
    let ward = Ward::new(1);
    let hour = 3_600;
    let taken_back = (2 * hour - 30, 200.0, Quality::ENTERED_IN_ERROR);
    ward.archive(&[
        pulse(1, (1, 1), 2 * hour - 5, &good(&[(hour, 60.0), (hour + 60, 80.0), (2 * hour - 60, 70.0)])),
        // measured before two o'clock, and received after it
        pulse(1, (1, 2), 2 * hour + 5, &good(&[(2 * hour - 50, 100.0)])),
        // known at two, taken back at half past two
        pulse(1, (1, 3), 2 * hour - 1, &good(&[(2 * hour - 30, 200.0)])),
        pulse(1, (1, 4), 2 * hour + 1_800, &[taken_back]),
        pulse(1, (1, 5), 2 * hour + 9, &[(2 * hour + 8, 1.0, Quality::IMPLAUSIBLE)]),
        // known at two, corrected after it; and said again, which corrects nothing
        pulse(1, (1, 6), 2 * hour - 2, &good(&[(2 * hour - 40, 90.0)])),
        pulse(1, (1, 7), 2 * hour + 60, &good(&[(2 * hour - 40, 95.0)])),
        pulse(1, (2, 1), 2 * hour + 70, &good(&[(2 * hour - 60, 70.0)])),
    ])
    .await;
    let kind = Extract::features(ward.studies.clone());
    let given = [("study", "heart"), ("metrics", "8867-4"), ("every_hours", "1"), ("window_hours", "1")];
    let (result, rows) = ward.rows(ward.run(&kind, &given).await.unwrap());
    let moved_by = names().moved_by("heart", patient(1));
    let at = [2, 3].map(|hours| THEN.plus(hours * hour * Nanos::SECOND - moved_by).0 / 1_000);
    assert_eq!(micros(&rows, "at"), at[..1], "after three nothing good of the hour before is known");
    assert_eq!(numbers(&rows, "n_8867_4"), [5.0]);
    assert_eq!((numbers(&rows, "last_8867_4"), numbers(&rows, "age_s_8867_4")), (vec![200.0], vec![30.0]));
    assert_eq!((numbers(&rows, "least_8867_4"), numbers(&rows, "greatest_8867_4")), (vec![60.0], vec![200.0]));
    assert_eq!(numbers(&rows, "mean_8867_4"), [100.0]);
    assert_eq!(result["card"]["n_rows"], 1);
    let wide = [("study", "heart"), ("metrics", "8867-4"), ("every_hours", "1"), ("window_hours", "2")];
    let (_, rows) = ward.rows(ward.run(&kind, &wide).await.unwrap());
    assert_eq!(micros(&rows, "at"), at);
    // by three of the corrected one the correction counts: (60 + 80 + 70 + 100 + 95) / 5
    assert_eq!(numbers(&rows, "mean_8867_4"), [100.0, 81.0]);
    // by three what was received late is known, and what was taken back is not
    assert_eq!((numbers(&rows, "n_8867_4"), numbers(&rows, "greatest_8867_4")), (vec![5.0, 5.0], vec![200.0, 100.0]));
    // a range has the instants of the whole, and each of those in one of two that follow each other
    let day = days::named(THEN.plus(-moved_by));
    let [before, after] = [("to", day.as_str()), ("from", day.as_str())];
    let (_, first) = ward.rows(ward.run(&kind, &[&wide[..], &[before]].concat()).await.unwrap());
    let (_, second) = ward.rows(ward.run(&kind, &[&wide[..], &[after]].concat()).await.unwrap());
    assert_eq!((first.num_rows(), micros(&second, "at")), (0, at.to_vec()));
    let none = ward.run(&kind, &[("study", "heart"), ("metrics", "-")]).await;
    assert!(matches!(&none, Err(Failure::Final(text)) if text.starts_with("parameters.metrics")), "{none:?}");
}
