//! What is drawn of readings, and what is told of those that are not.

use super::*;

const HOUR: i64 = 3_600 * Nanos::SECOND;

fn plot() -> Plot {
    // 20 characters, 40 dot columns of three minutes
    Plot::new(Range::new(Nanos(0), Nanos(2 * HOUR)).unwrap(), 20 + LABEL_WIDTH + 2, "/min")
}

fn minutes(plot: &mut Plot, points: impl IntoIterator<Item = (i64, f64)>) {
    points.into_iter().for_each(|(minute, value)| plot.add(Nanos(minute * 60 * Nanos::SECOND), value));
}

#[test]
fn a_ramp_is_a_ramp() {
    let mut plot = plot();
    minutes(&mut plot, (0..120).map(|minute| (minute, 60.0 + minute as f64)));
    let expected = [
        "      179 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⢀⣠⠴⠚",
        "     /min │⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⢀⡤⠖⠋⠀⠀⠀",
        "          │⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⣠⠴⠚⠉⠀⠀⠀⠀⠀⠀",
        "          │⠀⠀⠀⠀⠀⠀⢀⡤⠖⠋⠁⠀⠀⠀⠀⠀⠀⠀⠀⠀",
        "          │⠀⠀⠀⣀⡴⠚⠉⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
        "       60 ┤⣠⠖⠋⠁⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
        "          └────────────────────",
        "           00:00   01:00  02:00",
    ];
    assert_eq!(plot.lines(), expected, "{}", plot.lines().join("\n"));
}

#[test]
fn a_gap_is_shown_and_the_usual_distance_is_not_one() {
    let mut plot = plot();
    minutes(&mut plot, (0..120).step_by(10).filter(|m| !(40..90).contains(m)).map(|minute| (minute, 70.0)));
    let lines = plot.lines();
    let drawn: Vec<char> = lines[2].chars().skip(LABEL_WIDTH + 2).collect();
    let is_empty = |c: &char| *c == '\u{2800}';
    assert!(!drawn[..5].iter().any(is_empty), "{}", lines.join("\n"));
    assert!(drawn[6..14].iter().all(is_empty) && !is_empty(&drawn[16]), "{}", lines.join("\n"));
}

#[test]
fn short_peaks_are_not_lost() {
    let mut plot = Plot::new(Range::new(Nanos(0), Nanos(24 * HOUR)).unwrap(), 30, "%");
    for second in 0..86_400 {
        plot.add(Nanos(second * Nanos::SECOND), if second == 50_000 { 80.0 } else { 97.0 });
    }
    assert!(plot.lines()[5].contains(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    assert!(plot.lines()[5].trim_start().starts_with("80 "));
    assert_eq!(plot.n_readings(), 86_400);
}

#[test]
fn what_is_no_plain_value_is_told_and_a_bound_stands_at_its_number() {
    let mut plot = plot();
    minutes(&mut plot, (0..50).step_by(10).map(|minute| (minute, 97.0)));
    assert_eq!(plot.others(), "");
    assert!(plot.count_doubts(Quality::SUSPECT_UNIT));
    plot.add_bound(Nanos(HOUR), Some(Comparator::Less), 70.0);
    plot.add_bound(Nanos(HOUR), None, f64::NAN);
    plot.count_absent();
    assert_eq!((plot.n_readings(), &*plot.others()), (9, "1 suspect unit, 2 bounds, 1 without a value"));
    let lines = plot.lines();
    let drawn = lines.join("\n");
    assert!(lines[0].starts_with("       97 ┤") && lines[5].starts_with("       70 ┤"), "{drawn}");
    // in the middle, at the bottom
    assert_eq!(lines[5].chars().nth(LABEL_WIDTH + 2 + 10), Some('<'), "{drawn}");
    assert_eq!(drawn.matches(['<', '>', '?']).count(), 1, "{drawn}");
}

#[test]
fn what_is_against_readings_is_told_and_what_cannot_be_sets_no_axis() {
    let mut plot = plot();
    for (minute, value, quality) in [
        (10, 70.0, Quality::GOOD),
        (20, 7_000.0, Quality::IMPLAUSIBLE),
        (30, 71.0, Quality::QUESTIONABLE),
        (40, 99.0, Quality::ENTERED_IN_ERROR.with(Quality::QUESTIONABLE)),
    ] {
        if !plot.count_doubts(quality) {
            minutes(&mut plot, [(minute, value)]);
        }
    }
    let others = "1 implausible, 1 questionable, 1 entered in error";
    assert_eq!((plot.n_readings(), &*plot.others()), (4, others));
    let lines = plot.lines();
    assert!(lines[0].starts_with("       71 ┤") && lines[5].starts_with("       70 ┤"), "{}", lines.join("\n"));
}

#[test]
fn where_nothing_is_drawn_it_is_told_what_there_is() {
    let mut plot = plot();
    assert_eq!(plot.lines(), ["  nothing that can be drawn"]);
    assert!(plot.count_doubts(Quality::IMPLAUSIBLE));
    plot.count_code();
    plot.count_code();
    assert_eq!(plot.lines(), ["  nothing that can be drawn: 2 codes, 1 implausible"]);
}

#[test]
fn what_began_before_the_range_and_reaches_into_it_stands_at_its_beginning() {
    let plot = Plot::new(Range::new(Nanos(HOUR), Nanos(2 * HOUR)).unwrap(), 30, "/min");
    for (at, until, place) in [(0, HOUR + 1, HOUR), (0, HOUR, 0), (0, 0, 0), (HOUR + 1, HOUR + 2, HOUR + 1)] {
        assert_eq!(plot.place(Nanos(at), Nanos(until)), Nanos(place), "{at} to {until}");
    }
}

#[test]
fn nothing_and_one_point_are_drawn_without_trouble() {
    assert_eq!(plot().lines().len(), 1);
    let mut one = plot();
    one.add(Nanos(HOUR), 5.0);
    one.add(Nanos(2 * HOUR), 9.0);
    one.add(Nanos(HOUR), f64::NAN);
    assert_eq!(one.n_readings(), 1, "the end is not in the range, and NaN is no value");
    assert_eq!(one.lines()[0].split_whitespace().next(), Some("6"));
    let mut narrow = Plot::new(Range::ALL, 0, "");
    narrow.add(Nanos(i64::MAX - 1), 1e300);
    narrow.add(Nanos(i64::MIN), -1e300);
    assert_eq!(narrow.lines().len(), HEIGHT + 2);
}
