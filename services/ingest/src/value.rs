//! Checks a value against its metric: what is no value is refused, what cannot be true is marked.

use crate::{fault::Fault, other_unit::OtherUnits};
use model::{Absence, Bound, Comparator, Factor, Kind, Metric, Nanos, Quality, Reach, Values, Waveform, quoted};
use proto::{
    in_place::{ReadingView, ValueView},
    problem::NO_NUMBER,
    telemetry::v1 as wire,
};
use std::ops::RangeInclusive;

/// Most samples of one waveform reading: a minute at 500 Hz, twice over.
pub const MAX_SAMPLES: usize = 65_536;
/// Nanoseconds between samples: no sensor of a patient is faster than 100 kHz, and what comes less than once a minute are readings.
const PERIODS_NS: RangeInclusive<i64> = 10_000..=60 * Nanos::SECOND;

/// One value that was found good.
pub(crate) enum One<'a> {
    Number(f64),
    Code(&'a str),
    Waveform(Waveform),
    Bound(Bound),
    Absent(Absence),
}

/// Whether values of a column are of the kind that a reading has: bounds and what is absent have columns of their own.
pub(crate) fn is_kind(values: &Values, value: &Option<ValueView<'_>>) -> bool {
    match value {
        Some(ValueView::Bound(_)) => matches!(values, Values::Bounded(_)),
        Some(ValueView::Absent(_)) => matches!(values, Values::Absent(_)),
        _ => !matches!(values, Values::Bounded(_) | Values::Absent(_)),
    }
}

/// Checks a value against its metric, and marks it when it is not plausible, or looks as if it were in another unit.
pub(crate) fn accept<'a>(
    metric: &'static Metric,
    factor: Factor,
    others: &OtherUnits,
    reading: &'a ReadingView<'_>,
    quality: &mut Quality,
) -> Result<One<'a>, Fault> {
    match (metric.kind, &reading.value) {
        (_, None) => {
            let text = "missing; give number, code, waveform or bound, or absent_reason where there is no value";
            Err(Fault::new("value", "VALUE_MISSING", text))
        }
        (Kind::Number, Some(ValueView::Number(number))) => {
            let canonical = factor.apply(*number);
            // nearly all are: then nothing else is asked
            if !metric.is_typical(canonical) {
                if !number.is_finite() || !canonical.is_finite() {
                    let text = "must be a finite number, also in the canonical unit; where there is none send absent_reason, such \
                                as not-a-number (ABSENT_REASON_NOT_A_NUMBER), where the device can measure no farther bound";
                    return Err(Fault::new("number", "NOT_FINITE", text));
                }
                *quality = quality.with(doubts(metric, others, *number, canonical));
            }
            Ok(One::Number(*number))
        }
        (Kind::Coded(codes), Some(ValueView::Code(code))) => {
            if !codes.contains(code) {
                let text = format!("{} is none of {}", quoted(code), codes.join(", "));
                return Err(Fault::new("code", "UNKNOWN_CODE", text));
            }
            Ok(One::Code(code))
        }
        (Kind::Waveform, Some(ValueView::Waveform(wave))) => {
            let wave = waveform(wave)?;
            *quality = quality.with(of_samples(metric, factor, others, &wave)?);
            Ok(One::Waveform(wave))
        }
        (Kind::Number, Some(ValueView::Bound(bound))) => {
            let bound = accept_bound(bound, factor)?;
            *quality = quality.with(doubts_of_bound(metric, others, bound, factor.apply(bound.number)));
            Ok(One::Bound(bound))
        }
        (Kind::Number | Kind::Coded(_) | Kind::Waveform, Some(ValueView::Absent(reason))) => {
            let text = "say why there is no value, by one of the reasons of FHIR's data-absent-reason";
            let known = Absence::from_code(*reason);
            known.map(One::Absent).ok_or_else(|| Fault::new("absent_reason", "UNKNOWN_ABSENT_REASON", text))
        }
        (Kind::Number, Some(ValueView::Code(code))) => {
            let Fault(field, reason, text) = wrong_kind(metric);
            Err(Fault::new(field, reason, format!("{text}, and not {}; {NO_NUMBER}", quoted(code))))
        }
        _ => Err(wrong_kind(metric)),
    }
}

/// A bound that says something, also in the canonical unit.
fn accept_bound(bound: &wire::Bound, factor: Factor) -> Result<Bound, Fault> {
    let comparator = Comparator::from_code(bound.comparator).ok_or_else(|| {
        let text = "say on which side of the number the value lies: LESS, LESS_OR_EQUAL, GREATER_OR_EQUAL or GREATER";
        Fault::new("bound.comparator", "COMPARATOR_MISSING", text)
    })?;
    let number = bound.number.ok_or_else(|| {
        let text = "missing; give the number beyond which the value lies; where there is none send absent_reason";
        Fault::new("bound.number", "NUMBER_MISSING", text)
    })?;
    if !number.is_finite() || !factor.apply(number).is_finite() {
        let text = "must be a finite number, also in the canonical unit; where there is no limit send absent_reason";
        return Err(Fault::new("bound.number", "NOT_FINITE", text));
    }
    Ok(Bound { comparator, number })
}

/// What is against a number that is none of the typical ones.
fn doubts(metric: &Metric, others: &OtherUnits, number: f64, canonical: f64) -> Quality {
    let plausible = metric.plausible.is_none_or(|(low, high)| low <= canonical && canonical <= high);
    marks(plausible, others.suspects(metric, number))
}

/// What is against a bound: it is plausible where something plausible lies on its side; a number that is typical tells no other unit.
fn doubts_of_bound(metric: &Metric, others: &OtherUnits, bound: Bound, canonical: f64) -> Quality {
    let plausible = metric.plausible.is_none_or(|(low, high)| match bound.comparator {
        Comparator::Less => low < canonical,
        Comparator::LessOrEqual => low <= canonical,
        Comparator::GreaterOrEqual => canonical <= high,
        Comparator::Greater => canonical < high,
    });
    let is_suspect = !metric.is_typical(canonical) && others.suspects_bound(metric, bound, canonical);
    marks(plausible, is_suspect)
}

fn marks(is_plausible: bool, is_suspect: bool) -> Quality {
    let implausible = if is_plausible { Quality::GOOD } else { Quality::IMPLAUSIBLE };
    implausible.with(if is_suspect { Quality::SUSPECT_UNIT } else { Quality::GOOD })
}

/// What is against a waveform: each of its ends must be plausible, its highest sample tells the unit.
fn of_samples(metric: &Metric, factor: Factor, others: &OtherUnits, wave: &Waveform) -> Result<Quality, Fault> {
    let ends = [wave.measured().min(), wave.measured().max()];
    let ends = ends.map(|sample| wave.origin + f64::from(sample.unwrap_or(0)) * wave.scale);
    let canonical = ends.map(|value| factor.apply(value));
    let all_finite = canonical.into_iter().chain([factor.apply(wave.origin), wave.scale * factor.scale]);
    if !all_finite.into_iter().all(f64::is_finite) {
        let text = "every sample must be finite, also in the canonical unit";
        return Err(Fault::new("waveform.scale", "BAD_WAVEFORM", text));
    }
    // a negative scale turns it over
    let highest = usize::from(ends[1] > ends[0]);
    let lowest = doubts(metric, others, ends[1 - highest], canonical[1 - highest]);
    let mut quality = if lowest.has(Quality::IMPLAUSIBLE) { Quality::IMPLAUSIBLE } else { Quality::GOOD };
    if !metric.is_typical(canonical[highest]) {
        quality = quality.with(doubts(metric, others, ends[highest], canonical[highest]));
    }
    Ok(quality)
}

pub(crate) fn wrong_kind(metric: &Metric) -> Fault {
    let takes = match metric.kind {
        Kind::Number => "a number or a bound",
        Kind::Coded(_) => "a code",
        Kind::Waveform => "a waveform",
        Kind::Panel => "no value of its own: send its members",
    };
    Fault::new("value", "WRONG_VALUE_KIND", format!("{} takes {takes}", metric.key))
}

/// Nanoseconds from the first sample of a waveform to after the last one.
pub(crate) fn samples_ns(wave: &wire::Waveform) -> i64 {
    let n = i64::try_from(wave.samples.len()).unwrap_or(i64::MAX);
    wave.period_ns.saturating_mul(n)
}

fn waveform(wave: &wire::Waveform) -> Result<Waveform, Fault> {
    let bad = |field, text: &str| Err(Fault::new(field, "BAD_WAVEFORM", text));
    if wave.samples.is_empty() || wave.samples.len() > MAX_SAMPLES {
        return bad("waveform.samples", "1 to 65,536 samples; send longer runs as several readings");
    }
    if !PERIODS_NS.contains(&wave.period_ns) {
        return bad("waveform.period_ns", "from 10,000 (100 kHz) to 60,000,000,000 nanoseconds (one a minute)");
    }
    if samples_ns(wave) > Reach::LONGEST {
        let text = "all samples together (their number times period_ns) last at most a week, 604,800,000,000,000 nanoseconds; send \
                    longer runs as several readings";
        return bad("waveform.samples", text);
    }
    let is_inside = wave.missing.last().is_none_or(|last| (*last as usize) < wave.samples.len());
    let is_ascending = wave.missing.is_sorted_by(|a, b| a < b);
    if !is_inside || !is_ascending || wave.missing.len() == wave.samples.len() {
        let text = "places of samples from 0, ascending, not all; where all are missing send absent_reason";
        return bad("waveform.missing", text);
    }
    if !wave.origin.is_finite() || !wave.scale.is_finite() || wave.scale == 0.0 {
        return bad("waveform.scale", "origin and scale must be finite, scale not 0");
    }
    let narrow = wave.width == wire::SampleWidth::Int16 as i32;
    if narrow && wave.samples.iter().any(|&s| i16::try_from(s).is_err()) {
        return bad("waveform.samples", "a sample does not fit into 16 bits; widen `width` or mend the device");
    }
    let wire::Waveform { origin, period_ns, scale, ref samples, ref missing, .. } = *wave;
    Ok(Waveform { origin, period_ns, scale, samples: samples.clone(), missing: missing.clone() })
}
