//! Reports of the archive's readings, by hand.

use super::tables::{Tables, limits};

/// The headings of [`readings`].
const HEADINGS: &str = "patient_id|metric|measured_at|measured_at_ns|value|comparator|absent_reason|quality|good|clock|received_at\
                        |device_id|stream_id|sequence|place";

/// Readings: so many patients a line, one after the other from the number given.
fn readings(lines: &[(u32, u32, &str)]) -> Tables {
    let mut text = HEADINGS.to_owned();
    for (first, n, rest) in lines {
        for patient in *first..first + n {
            text += &format!("\np{patient}|{}", rest.replace("{p}", &patient.to_string()));
        }
    }
    Tables::of(&[("readings", &text)])
}

#[tokio::test]
async fn a_device_is_late_silent_or_doubtful() {
    let tables = readings(&[
        (1, 1, "8867-4|2026-11-01T10:00:00Z|0|60|||0|true|free|2026-11-01T10:00:10Z|d1|s1|1|0"),
        (1, 1, "8867-4|2026-11-01T10:00:01Z|0|61|||0|true|free|2026-11-01T10:00:10Z|d1|s1|1|1"),
        (1, 1, "59408-5|2026-11-01T11:00:00Z|0|0.97|||32|false|free|2026-11-01T11:00:00Z|d1|s2|1|0"),
        (2, 1, "8867-4|2026-11-01T10:30:00Z|0|||error|0|true|unset|2026-11-01T13:30:00Z|d2|s3|7|0"),
        // longer ago than a day before the newest
        (3, 1, "8867-4|2026-10-30T10:00:00Z|0|60|||0|true|free|2026-10-30T10:00:00Z|d3|s4|1|0"),
    ]);
    let lines = tables.lines("device_fleet", &[("days", "1")]).await;
    assert_eq!(lines, ["d1|2.5|2|2|3|2|33.33|1|0|0|6.3|10", "d2|0|1|1|1|1|0|0|1|1|10800|10800"]);
    assert_eq!(tables.lines("device_fleet", &[]).await.len(), 3);
    // all are looked at
    let answer = tables.run("device_fleet", &[], &limits()).await.unwrap();
    let scans = answer.scans();
    answer.collect().await.unwrap();
    assert_eq!((scans.n_rows(&["readings"]), scans.n_rows(&["audit_counts"])), (5, 0));
}

#[tokio::test]
async fn what_was_asked_is_counted_by_day() {
    let text = "hour|action|purpose|refused|n_entries
2026-11-01T23:00:00Z|timeline.read|TREAT||5
2026-11-02T00:00:00Z|timeline.read|TREAT||7
2026-11-02T01:00:00Z|timeline.read|TREAT|NO_RELATION|2
2026-11-02T02:00:00Z|timeline.read|TREAT|CONSENT|1
2026-11-02T02:00:00Z|users.manage|HOPERAT||1";
    let tables = Tables::of(&[("audit_counts", text)]);
    let newest = ["2026-11-02|timeline.read|TREAT|7|3|2", "2026-11-02|users.manage|HOPERAT|1|0|0"];
    assert_eq!(tables.lines("audit_activity", &[("days", "1")]).await, newest);
    assert_eq!(tables.lines("audit_activity", &[]).await[2..], ["2026-11-01|timeline.read|TREAT|5|0|0"]);
}

#[tokio::test]
async fn of_few_patients_nothing_is_told() {
    let tables = readings(&[
        (1, 11, "8867-4|2026-11-01T10:00:00Z|0|60|||0|true|free|2026-11-01T10:00:10Z|d{p}|s{p}|1|0"),
        (1, 11, "8867-4|2026-11-01T11:30:00Z|0|60|||1|false|free|2026-11-01T11:30:10Z|d{p}|s{p}|2|0"),
        (1, 10, "59408-5|2026-11-01T10:00:00Z|0|97|||0|true|free|2026-11-01T10:00:10Z|d{p}|s{p}|1|1"),
        (1, 12, "8867-4|2026-11-02T10:00:00Z|0|60|||0|true|free|2026-11-02T10:00:10Z|d{p}|s{p}|3|0"),
        // a clock that was never set does not say which day is the newest
        (1, 1, "8867-4|2036-01-01T00:00:00Z|0|60|||64|false|free|2026-11-02T10:00:10Z|d1|s1|4|0"),
    ]);
    let lines = tables.lines("data_completeness", &[]).await;
    assert_eq!(
        lines,
        ["2026-11-02|8867-4|false|12|12|0|1|0", "2026-11-01|59408-5|true|||||", "2026-11-01|8867-4|false|11|22|50|2|0",]
    );
    assert_eq!(tables.lines("data_completeness", &[("days", "1")]).await, lines[..1]);
}

#[tokio::test]
async fn what_was_sent_again_counts_once_and_what_was_taken_back_is_not_good() {
    let tables = readings(&[
        (1, 11, "99504-3|2026-11-01T10:00:00Z|0|100|||0|true|free|2026-11-01T10:00:10Z|d{p}|s{p}|1|0"),
        // in its own stream a device may have two events of one instant
        (2, 1, "99504-3|2026-11-01T10:00:00Z|0|100|||0|true|free|2026-11-01T10:00:10Z|d{p}|s{p}|1|1"),
        (1, 1, "99504-3|2026-11-01T11:00:00Z|0|400|||0|true|free|2026-11-01T11:00:10Z|d1|s1|2|0"),
        (1, 1, "99504-3|2026-11-01T11:00:00Z|0|400|||128|false|free|2026-11-01T11:10:00Z|d1|s1|3|0"),
        // all of it once more
        (1, 11, "99504-3|2026-11-01T10:00:00Z|0|100|||0|true|free|2026-11-01T12:00:10Z|d{p}|a{p}|1|0"),
        (1, 1, "99504-3|2026-11-01T11:00:00Z|0|400|||0|true|free|2026-11-01T12:00:10Z|d1|a1|2|0"),
        (1, 1, "99504-3|2026-11-01T11:00:00Z|0|400|||128|false|free|2026-11-01T12:10:00Z|d1|a1|3|0"),
    ]);
    assert_eq!(tables.lines("glucose_in_range", &[]).await, ["2026-11-01|false|11|12|0|0|100|0|0|100|5.7"]);
    // what was taken back is doubtful: 1 of 13
    assert_eq!(tables.lines("data_completeness", &[]).await, ["2026-11-01|99504-3|false|11|13|7.69|1.09|0"]);
}

#[tokio::test]
async fn glucose_is_below_in_or_above_range() {
    let line = |value: &str, rest: &str| {
        format!("99504-3|2026-11-01T10:00:00Z|0|{value}|{rest}||0|true|free|2026-11-01T10:00:10Z|d{{p}}|s{{p}}|1|0")
    };
    let texts = [line("40", "<"), line("54", ""), line("70", ""), line("180", ""), line("181", ""), line("400", ">")];
    let counts = [1, 1, 4, 2, 1, 2];
    let mut lines: Vec<_> = counts.iter().zip(&texts).map(|(n, text)| (*n, text.as_str())).collect();
    // of others nothing counts: flagged, without a value, of another metric, on a day of few
    lines.push((1, "99504-3|2026-11-01T10:00:00Z|0|300|||1|false|free|2026-11-01T10:00:10Z|d1|s1|2|0"));
    lines.push((1, "99504-3|2026-11-01T10:00:00Z|0|||error|0|true|free|2026-11-01T10:00:10Z|d1|s1|3|0"));
    lines.push((1, "2339-0|2026-11-01T10:00:00Z|0|20|||0|true|free|2026-11-01T10:00:10Z|d1|s1|4|0"));
    lines.push((9, "99504-3|2026-11-02T10:00:00Z|0|100|||0|true|free|2026-11-02T10:00:10Z|d{p}|s{p}|5|0"));
    let mut first = 0;
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(n, text)| {
            first += n;
            (first - n, n, text)
        })
        .collect();
    // 11 patients: 40 54 70 70 70 70 180 180 181 400 400; the mean is 1715 / 11
    let tables = readings(&lines);
    assert_eq!(
        tables.lines("glucose_in_range", &[]).await,
        ["2026-11-02|true|||||||||", "2026-11-01|false|11|11|9.09|18.18|54.55|27.27|18.18|155.9|7.04"]
    );
}

#[tokio::test]
async fn each_patient_counts_once_a_day_however_often_they_were_measured() {
    let tables = readings(&[
        (1, 10, "9279-1|2026-11-01T10:00:00Z|0|12|||0|true|free|2026-11-01T10:00:10Z|d{p}|s{p}|1|0"),
        (11, 1, "9279-1|2026-11-01T10:00:00Z|0|10|||0|true|free|2026-11-01T10:00:10Z|d{p}|s{p}|1|0"),
        (11, 1, "9279-1|2026-11-01T11:00:00Z|0|36|||0|true|free|2026-11-01T11:00:10Z|d{p}|s{p}|2|0"),
        // flagged, without a value, on a day of few
        (1, 1, "9279-1|2026-11-01T12:00:00Z|0|90|||1|false|free|2026-11-01T12:00:10Z|d1|s1|3|0"),
        (1, 1, "9279-1|2026-11-01T12:00:00Z|0|||error|0|true|free|2026-11-01T12:00:10Z|d1|s1|4|0"),
        (1, 10, "9279-1|2026-11-02T10:00:00Z|0|12|||0|true|free|2026-11-02T10:00:10Z|d{p}|s{p}|5|0"),
    ]);
    // ten means of 12 and one of 23: 143 / 11, and 121 * 10 / 11 divided by 10 is the variance
    assert_eq!(
        tables.lines("patient_days", &[]).await,
        ["2026-11-02|9279-1|true||||||", "2026-11-01|9279-1|false|11|1.09|13|3.32|11.82|14.18"]
    );
}

#[tokio::test]
async fn a_stay_ends_in_silence_and_is_told_by_the_worst_of_its_first_day() {
    let line = |day: u32, hour: u32, metric: &str, value: &str| {
        format!(
            "{metric}|2026-11-{day:02}T{hour:02}:30:00Z|0|{value}|||0|true|free|2026-11-20T00:00:00Z|d{{p}}|s{{p}}|{day}|{hour}"
        )
    };
    let texts = [
        // 12 patients: a pulse of 72, worst 95 before a day is over, 140 afterwards; 37 hours
        (1, 12, line(1, 0, "8867-4", "72")),
        (1, 12, line(1, 23, "8889-8", "95")),
        (1, 12, line(2, 12, "8867-4", "140")),
        (1, 12, line(1, 0, "9279-1", "8.4")),
        // one of them again, after 24 hours without anything: 1 hour
        (1, 1, line(3, 13, "8867-4", "72")),
        // a stay of 25 hours, in which nothing is missing for as long
        (21, 11, line(1, 0, "8867-4", "60")),
        (21, 11, line(2, 0, "8867-4", "60")),
        // too few to be told of, with the next larger group
        (41, 5, line(1, 0, "8867-4", "130.6")),
        // not over yet; and what has a flag is no worst
        (51, 11, line(19, 12, "8867-4", "200")),
        (21, 11, line(1, 1, "8867-4", "300").replace("||0|true", "||1|false")),
        (99, 1, line(20, 0, "99504-3", "100")),
    ];
    let tables = readings(&texts.iter().map(|(first, n, text)| (*first, *n, text.as_str())).collect::<Vec<_>>());
    assert_eq!(
        tables.lines("length_of_stay", &[]).await,
        [
            // 11 and the one that came again: 11 * 25 + 1 hours
            "any|0|false|12|12|23|25",
            "any|3|false|17|17|26.4|37",
            "pulse|0|true||||",
            "pulse|1|false|12|12|37|37",
            "pulse|3|true||||",
            "respiratory rate|3|false|12|12|37|37",
        ]
    );
    // an hour of silence ends it: the first day alone is left, and what came after it
    let short = tables.lines("length_of_stay", &[("silent_hours", "1")]).await;
    assert!(short.contains(&"respiratory rate|3|false|12|12|1|1".to_owned()), "{short:?}");
    // that comes within a day, and is another stay's: each of 12 + 1 and 2 * 11 stays has its own pulse
    assert!(short.contains(&"pulse|0|false|23|35|1|1".to_owned()), "{short:?}");
}

#[tokio::test]
async fn an_outbreak_stands_out_against_the_countys_own_weeks() {
    let (mut text, mut residences) = (HEADINGS.to_owned(), "patient_id|county".to_owned());
    let mut reading = |county: &str, patient: u32, day: &str, metric: &str, value: &str, rest: &str| {
        text += &format!("\n{county}-{patient}|{metric}|{day}T08:00:00Z|0|{value}|{rest}|free|{day}T08:00:05Z|d|s|1|0");
    };
    let (good, doubtful) = ("||0|true", "||1|false");
    // Mondays; the week of 2026-10-26 is the last that is whole
    let weeks: Vec<String> =
        (0..14).map(|n| (jiff::civil::date(2026, 8, 3) + jiff::Span::new().weeks(n)).to_string()).collect();
    for (n, week) in weeks[..13].iter().enumerate() {
        for patient in 0..40 {
            // of each 40 four have fever, in the last week of 01001 sixteen; in 01003 they always are sixteen
            for (county, usual, last) in [("01001", 4, 16), ("01003", 16, 16), ("01005", 0, 3)] {
                let ill = if n == 12 { last } else { usual };
                // of each week others, as far as there are
                let turn = (patient + n as u32 * usual) % 40;
                reading(county, patient, week, "8310-5", if turn < ill { "38.0" } else { "37.9" }, good);
            }
        }
        // one reading is no mean of a day above 20
        reading("01001", 0, week, "9279-1", "30", good);
        reading("01001", 0, week, "9279-1", "10", good);
        // the same one is ill each week, and in the last one nobody
        for patient in 0..12 {
            let value = if patient == 0 && n < 12 { "39" } else { "37" };
            reading("01011", patient, week, "8310-5", value, good);
        }
    }
    // a county of few, and the next larger one
    for (county, n) in [("01007", 6), ("01009", 12)] {
        (0..n).for_each(|patient| reading(county, patient, &weeks[12], "8310-5", "39", good));
    }
    reading("01005", 9, &weeks[12], "8310-5", "41", doubtful);
    reading("nowhere", 0, &weeks[12], "8310-5", "41", good);
    reading("01001", 0, &weeks[13], "8310-5", "41", good);
    for (county, n) in [("01001", 40), ("01003", 40), ("01005", 40), ("01007", 6), ("01009", 12), ("01011", 12)] {
        (0..n).for_each(|patient| residences += &format!("\n{county}-{patient}|{county}"));
    }
    let tables = Tables::of(&[("readings", &text), ("residences", &residences)]);
    assert_eq!(
        tables.lines("outbreak_signal", &[("weeks", "1")]).await,
        [
            "2026-10-26|01001|fast breathing|true||||||",
            // 16 where 4 are expected: the standard deviation is that of chance, with 40.5 of 401 among 40
            "2026-10-26|01001|fever|false|40|16|40|10|6.3|true",
            "2026-10-26|01003|fever|false|40|16|40|40|0|false",
            // three are too few to be told of
            "2026-10-26|01005|fever|true|40|||0||false",
            "2026-10-26|01007|fever|true||||||",
            "2026-10-26|01009|fever|true||||||",
            // whose history is that of one
            "2026-10-26|01011|fever|false|12|0|0|||",
        ]
    );
    // too few weeks before them: no signal, and none denied
    let short = tables.lines("outbreak_signal", &[("weeks", "1"), ("history_weeks", "9")]).await;
    assert_eq!(short[1], "2026-10-26|01001|fever|false|40|16|40|||");
    assert_eq!(tables.lines("outbreak_signal", &[]).await.len(), 7 + 3 * 5);
}
