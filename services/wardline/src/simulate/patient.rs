//! What a simulated patient's monitor measures: a function of seed, patient and reading number, so any batch can be made
//! again.

use clap::ValueEnum;
use guard::convert::timestamp;
use model::Nanos;
use proto::telemetry::v1::{
    AbsentReason, Bound, ClockQuality, Comparator, Reading, SampleWidth, Waveform, reading::Value,
};
use std::{f64::consts::TAU, time::Duration};

/// Metrics that can be simulated.
pub const METRICS: [&str; 8] = ["8867-4", "59408-5", "9279-1", "8480-6", "8462-4", "8478-0", "8310-5", "mdc:131330"];
/// Heart rate, SpO2, respiratory rate, systolic blood pressure, temperature: what NEWS2 needs of a monitor.
pub const DEFAULT_METRICS: [&str; 5] = ["8867-4", "59408-5", "9279-1", "8480-6", "8310-5"];

/// 2026-01-01T00:00:00Z: where time starts unless said otherwise.
const START: Nanos = Nanos(1_767_225_600 * Nanos::SECOND);
/// Samples a second of an ECG, as bedside monitors store it.
const ECG_HERTZ: f64 = 250.0;
/// Samples of one waveform reading at most: ten seconds.
const ECG_SAMPLES_MAX: f64 = 2_500.0;
/// Millivolts of one step of a sample: 5 uV, the resolution AAMI EC11 asks for.
const ECG_STEP_MV: f64 = 0.005;

/// What happens to a patient or to its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// An adult with stable vital signs.
    Calm,
    /// Fast heart and breath, falling pressure, fever: from NEWS2 0 to above 10 over the run.
    Sepsis,
    /// Apnoea every two minutes: SpO2 falls to about 82 % within 40 s and the heart races.
    Desaturation,
    /// Movement: one reading in fifty cannot be true; half of those the device itself doubts.
    Artefact,
    /// The ECG electrode is off for 30 s in every two minutes: no heart rate, the rest goes on.
    LeadOff,
    /// Clocks run free: up to 90 s off and 1,000 ppm fast (a quartz has 20 to 100 ppm; more, so that it shows).
    ClockDrift,
    /// All devices lose their connection in the same instant, every ten seconds.
    ReconnectStorm,
    /// One batch in five is sent again; at the end the first fifth once more (100 batches at most), by a device that lost its state:
    /// in a new stream.
    Duplicates,
    /// Half of the batches were measured 15 minutes to 6 hours before (as in the MIMIC-III recordings).
    Late,
    /// Vital signs and an ECG of 250 samples a second.
    Waveform,
    /// One reading in ten is no plain number: a bound, no value and why, one that lasts, one in another unit than its label says, one
    /// that takes back the last of its metric.
    Exceptions,
    /// Each device another one of these.
    Mixed,
}

/// One patient with one monitor.
#[derive(Debug, Clone)]
pub struct Patient {
    seed: u64,
    scenario: Scenario,
    metrics: Vec<&'static str>,
    start: Nanos,
    period_ns: i64,
    course_seconds: f64,
}

impl Patient {
    /// The `number`th patient of a seed, from 0; five readings a second, from 2026 on, a course of ten minutes.
    pub fn new(seed: u64, number: u32, scenario: Scenario) -> Self {
        let scenario = match scenario {
            // the last one is `Mixed` itself
            Scenario::Mixed => Scenario::value_variants()[number as usize % (Scenario::value_variants().len() - 1)],
            one => one,
        };
        let patient = Self {
            seed: mix(seed ^ mix(u64::from(number))),
            scenario,
            metrics: Vec::new(),
            start: START,
            period_ns: Nanos::SECOND / 5,
            course_seconds: 600.0,
        };
        patient.with_metrics(&DEFAULT_METRICS)
    }

    /// With other metrics, of [`METRICS`].
    pub fn with_metrics(mut self, metrics: &[&'static str]) -> Self {
        self.metrics = metrics.to_vec();
        if self.scenario == Scenario::Waveform && !metrics.contains(&"mdc:131330") {
            self.metrics.push("mdc:131330");
        }
        self
    }

    /// With the first reading at another time, and another time from each reading to the next.
    pub fn with_clock(mut self, start: Nanos, period_ns: i64) -> Self {
        (self.start, self.period_ns) = (start, period_ns);
        self
    }

    /// How long it takes until an illness has fully developed.
    pub fn with_course(mut self, course: Duration) -> Self {
        self.course_seconds = course.as_secs_f64().max(1.0);
        self
    }

    /// What happens to it; never `Mixed`.
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// How far its device's clock can be trusted.
    pub fn clock(&self) -> ClockQuality {
        if self.scenario == Scenario::ClockDrift { ClockQuality::Free } else { ClockQuality::Synchronized }
    }

    /// The readings of a batch of `n`; sequences are from 1. The same arguments give the same readings.
    pub fn batch(&self, sequence: u64, n: u32) -> Vec<Reading> {
        let first = sequence.saturating_sub(1) * u64::from(n);
        let mut readings: Vec<Reading> =
            (first..first + u64::from(n)).filter_map(|number| self.reading(number, sequence, false)).collect();
        if readings.is_empty() {
            // an empty batch is refused: the device says something rather than nothing
            readings.extend(self.reading(first, sequence, true));
        }
        readings
    }

    /// The reading with a number, from 0; `None` while the electrode is off.
    fn reading(&self, number: u64, sequence: u64, forced: bool) -> Option<Reading> {
        let metric = self.metrics[(number % self.metrics.len() as u64) as usize];
        let elapsed_ns = i64::try_from(number).ok()?.saturating_mul(self.period_ns);
        let seconds = elapsed_ns as f64 / 1e9;
        let is_off = self.scenario == Scenario::LeadOff && metric == "8867-4" && seconds % 120.0 >= 90.0;
        if is_off && !forced {
            return None;
        }
        let measured_at = self.device_time(elapsed_ns, seconds, sequence);
        if metric == "mdc:131330" {
            return Some(self.ecg(measured_at, seconds));
        }
        let chance = self.random(number, 77);
        let is_artefact = self.scenario == Scenario::Artefact && chance < 0.02;
        let (unit, value) = if is_artefact { artefact(metric) } else { self.vital(metric, seconds) };
        let reading = Reading {
            metric: metric.to_owned(),
            measured_at: Some(timestamp(measured_at)),
            unit: unit.to_owned(),
            measured_until: None,
            questionable: is_off || (is_artefact && chance < 0.01),
            entered_in_error: false,
            value: Some(Value::Number(value)),
        };
        Some(if self.scenario == Scenario::Exceptions {
            self.exception(number, measured_at, value, reading)
        } else {
            reading
        })
    }

    /// A reading of a number, or what it is said as instead.
    fn exception(&self, number: u64, measured_at: Nanos, value: f64, reading: Reading) -> Reading {
        let n_metrics = self.metrics.len() as u64;
        match (self.random(number, 81) * 50.0) as u64 {
            0 => {
                let bound = Bound { comparator: Comparator::GreaterOrEqual.into(), number: Some(value) };
                Reading { value: Some(Value::Bound(bound)), ..reading }
            }
            1 => Reading { value: Some(Value::AbsentReason(AbsentReason::Error.into())), ..reading },
            2 => {
                let until = measured_at.plus(self.period_ns.saturating_mul(self.metrics.len() as i64));
                Reading { measured_until: Some(timestamp(until)), ..reading }
            }
            3 if reading.unit == "%" => Reading { value: Some(Value::Number(value / 100.0)), ..reading },
            4 if number >= n_metrics => {
                // its time is the same whichever batch it is in
                let last = self.reading(number - n_metrics, 0, true);
                last.map_or(reading, |last| Reading { entered_in_error: true, ..last })
            }
            _ => reading,
        }
    }

    /// What the device's clock shows.
    fn device_time(&self, elapsed_ns: i64, seconds: f64, sequence: u64) -> Nanos {
        let at = self.start.plus(elapsed_ns);
        match self.scenario {
            Scenario::ClockDrift => {
                let offset_seconds = 90.0 * (2.0 * self.random(0, 78) - 1.0) + seconds * 1e-3;
                at.plus((offset_seconds * 1e9) as i64)
            }
            Scenario::Late if self.random(sequence, 79) < 0.5 => {
                let minutes = 15.0 + 345.0 * self.random(sequence, 80);
                at.plus(-(minutes * 60e9) as i64)
            }
            _ => at,
        }
    }

    /// Unit and value. Resting values and spreads of a healthy adult; what illness adds stays inside what is survived.
    fn vital(&self, metric: &str, seconds: f64) -> (&'static str, f64) {
        let sepsis = if self.scenario == Scenario::Sepsis { (seconds / self.course_seconds).min(1.0) } else { 0.0 };
        let apnoea = if self.scenario == Scenario::Desaturation { apnoea(seconds) } else { 0.0 };
        // base, between patients, within a patient, with sepsis, with apnoea, smallest step of the monitor
        let (unit, base, spread, wander, ill, breathless, step) = match metric {
            "8867-4" => ("/min", 76.0, 10.0, 6.0, 50.0, 18.0, 1.0),
            "59408-5" => ("%", 97.0, 1.0, 0.8, -6.0, -15.0, 1.0),
            "9279-1" => ("/min", 15.0, 2.0, 2.0, 15.0, -11.0, 1.0),
            "8480-6" => ("mm[Hg]", 122.0, 9.0, 5.0, -38.0, 8.0, 1.0),
            "8462-4" => ("mm[Hg]", 76.0, 6.0, 4.0, -26.0, 4.0, 1.0),
            "8478-0" => ("mm[Hg]", 91.0, 7.0, 4.0, -30.0, 5.0, 1.0),
            _ => ("Cel", 36.9, 0.2, 0.1, 2.4, 0.0, 0.1),
        };
        let stream = metric.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        let person = spread * (2.0 * self.random(stream, 1) - 1.0);
        let value = base + person + wander * self.wander(stream, seconds) + ill * sepsis + breathless * apnoea;
        let value = if unit == "%" { value.min(100.0) } else { value };
        // division by ten, not multiplication by 0.1: 36.9 and not 36.900000000000006
        let rounded = if step < 1.0 { (value * 10.0).round() / 10.0 } else { value.round() };
        (unit, rounded)
    }

    /// Smooth noise between -1 and 1 that looks like a random walk and can be asked for any time: three layers, of 5 min,
    /// 1 min and 10 s.
    fn wander(&self, stream: u64, seconds: f64) -> f64 {
        let layer = |length: f64, salt: u64| {
            let place = seconds / length;
            let (whole, part) = (place.floor() as u64, place.fract());
            let (a, b) = (self.random(whole ^ stream, salt), self.random((whole + 1) ^ stream, salt));
            2.0 * (a + (b - a) * part * part * (3.0 - 2.0 * part)) - 1.0
        };
        0.6 * layer(300.0, 2) + 0.3 * layer(60.0, 3) + 0.1 * layer(10.0, 4)
    }

    /// As much of lead II as lies between this waveform reading and the next.
    fn ecg(&self, measured_at: Nanos, seconds: f64) -> Reading {
        let cycle_seconds = self.period_ns as f64 / 1e9 * self.metrics.len() as f64;
        let n_samples = (cycle_seconds * ECG_HERTZ).clamp(1.0, ECG_SAMPLES_MAX) as u32;
        let beats_per_second = self.vital("8867-4", seconds).1 / 60.0;
        let sample = |i: u32| {
            let phase = ((seconds + f64::from(i) / ECG_HERTZ) * beats_per_second).fract();
            let mains = 0.01 * (TAU * 50.0 * f64::from(i) / ECG_HERTZ).sin();
            ((beat(phase) + mains) / ECG_STEP_MV).round() as i32
        };
        Reading {
            metric: "mdc:131330".to_owned(),
            measured_at: Some(timestamp(measured_at)),
            unit: "mV".to_owned(),
            questionable: false,
            entered_in_error: false,
            measured_until: None,
            value: Some(Value::Waveform(Waveform {
                origin: 0.0,
                period_ns: (1e9 / ECG_HERTZ) as i64,
                scale: ECG_STEP_MV,
                width: SampleWidth::Int16.into(),
                samples: (0..n_samples).map(sample).collect(),
                missing: Vec::new(),
            })),
        }
    }

    /// 0 to 1, the same for the same arguments.
    fn random(&self, place: u64, salt: u64) -> f64 {
        (mix(self.seed ^ mix(place ^ mix(salt))) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Millivolts of lead II at a phase of the heart beat: P, Q, R, S and T as bell curves (McSharry and others, 2003).
fn beat(phase: f64) -> f64 {
    const WAVES: [(f64, f64, f64); 5] =
        [(0.15, 0.12, 0.025), (0.28, -0.12, 0.010), (0.30, 1.1, 0.012), (0.33, -0.25, 0.012), (0.55, 0.3, 0.045)];
    WAVES.iter().map(|(at, height, width)| height * (-(phase - at).powi(2) / (2.0 * width * width)).exp()).sum()
}

/// 0 to 1: a breath-hold of 40 s at the end of every two minutes.
fn apnoea(seconds: f64) -> f64 {
    let place = (seconds % 120.0 - 80.0) / 40.0;
    if place < 0.0 { 0.0 } else { (TAU / 2.0 * place).sin() }
}

/// What a moving sensor reports: outside of what can be true.
fn artefact(metric: &str) -> (&'static str, f64) {
    match metric {
        "8867-4" => ("/min", 400.0),
        "59408-5" => ("%", 127.0),
        "9279-1" => ("/min", 180.0),
        "8310-5" => ("Cel", 8.0),
        _ => ("mm[Hg]", 380.0),
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every bit of the answer depends on every bit of the question.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(patient: &Patient, metric: &str, n: u32) -> Vec<f64> {
        let number = |reading: &Reading| match reading.value {
            Some(Value::Number(value)) if reading.metric == metric => Some(value),
            _ => None,
        };
        patient.batch(1, n).iter().filter_map(number).collect()
    }

    #[test]
    fn batches_can_be_made_again_and_differ_by_seed_and_patient() {
        for scenario in Scenario::value_variants() {
            let patient = Patient::new(1, 3, *scenario);
            let batches: Vec<_> = (1..100).map(|sequence| patient.batch(sequence, 7)).collect();
            assert!(batches[41] == Patient::new(1, 3, *scenario).batch(42, 7));
            assert!(batches[41] != Patient::new(2, 3, *scenario).batch(42, 7));
            assert!(batches[41] != Patient::new(1, 4, *scenario).batch(42, 7) || *scenario == Scenario::Mixed);
        }
    }

    #[test]
    fn all_metrics_are_known_and_values_plausible() {
        for scenario in [Scenario::Calm, Scenario::Sepsis, Scenario::Desaturation] {
            let patient = Patient::new(5, 0, scenario).with_metrics(&METRICS);
            for reading in patient.batch(1, 24_000) {
                let metric = model::by_code(&reading.metric).unwrap();
                assert_eq!(reading.unit, metric.unit);
                let (low, high) = metric.plausible.unwrap();
                if let Some(Value::Number(value)) = reading.value {
                    assert!((low..=high).contains(&value), "{scenario:?} {} {value}", metric.name);
                }
            }
        }
    }

    #[test]
    fn scenarios_do_what_they_say() {
        let of = |scenario| Patient::new(1, 0, scenario);
        let heart = values(&of(Scenario::Sepsis), "8867-4", 3_000);
        assert!(heart[heart.len() - 1] > heart[0] + 30.0);
        let lowest = |scenario| values(&of(scenario), "59408-5", 3_000).into_iter().fold(100.0, f64::min);
        assert!(lowest(Scenario::Desaturation) < 86.0 && lowest(Scenario::Calm) > 93.0);
        let n_absurd = values(&of(Scenario::Artefact), "8867-4", 3_000).iter().filter(|v| **v > 350.0).count();
        assert!((3..30).contains(&n_absurd), "{n_absurd}");
        assert!(values(&of(Scenario::LeadOff), "8867-4", 3_000).len() < 480);
        assert_eq!(of(Scenario::LeadOff).with_metrics(&["8867-4"]).batch(500, 1).len(), 1, "no batch is empty");
        let waves = |reading: &&Reading| matches!(&reading.value, Some(Value::Waveform(w)) if w.samples.len() == 300);
        assert_eq!(of(Scenario::Waveform).batch(1, 12).iter().filter(waves).count(), 2);
        let said = of(Scenario::Exceptions).batch(1, 5_000);
        let has = |what: fn(&Reading) -> bool| said.iter().filter(|reading| what(reading)).count() > 10;
        assert!(has(|reading| matches!(reading.value, Some(Value::Bound(_)))));
        assert!(has(|reading| matches!(reading.value, Some(Value::AbsentReason(_)))));
        assert!(has(|reading| reading.measured_until.is_some()) && has(|reading| reading.entered_in_error));
        assert!(has(|reading| reading.unit == "%" && matches!(reading.value, Some(Value::Number(..1.1)))));
        let earlier = |readings: &[Reading]| readings[0].measured_at.as_ref().unwrap().seconds < START.parts().0 - 800;
        let n_late = (1..1_000).filter(|sequence| earlier(&of(Scenario::Late).batch(*sequence, 1))).count();
        assert!((400..600).contains(&n_late), "{n_late}");
    }
}
