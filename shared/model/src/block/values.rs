//! The values of a column, and their bytes: see the layout of a block.

use crate::{
    bytes::{Malformed, Reader, put_ints, put_signed, put_text, put_varint, read_ints},
    reading::{Absence, Bound, Comparator, Waveform},
};

const RAW: u8 = 16;
const CODED: u8 = 17;
const WAVEFORM: u8 = 18;
const BOUNDED: u8 = 19;
const ABSENT: u8 = 20;
const WAVEFORM_WITH_GAPS: u8 = 21;
const POWERS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// The values of one column, in the device's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One finite number a reading.
    Number(Vec<f64>),
    /// Codes from the metric's value set.
    Coded(Vec<Box<str>>),
    /// One block of samples a reading.
    Waveform(Vec<Waveform>),
    /// A number beyond which the value lies, of a device that can measure no farther.
    Bounded(Vec<Bound>),
    /// Why there is no value.
    Absent(Vec<Absence>),
}

impl Values {
    /// Whether the first version of blocks has a form for them.
    pub(super) fn are_plain(&self) -> bool {
        match self {
            Self::Number(_) | Self::Coded(_) => true,
            Self::Waveform(waves) => !has_gaps(waves),
            Self::Bounded(_) | Self::Absent(_) => false,
        }
    }

    /// Takes all out and keeps their room.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Number(values) => values.clear(),
            Self::Coded(values) => values.clear(),
            Self::Waveform(values) => values.clear(),
            Self::Bounded(values) => values.clear(),
            Self::Absent(values) => values.clear(),
        }
    }

    /// Keeps these, in this order.
    pub(crate) fn pick(&mut self, order: &[usize]) {
        match self {
            Self::Number(values) => permute(values, order),
            Self::Coded(values) => permute(values, order),
            Self::Waveform(values) => permute(values, order),
            Self::Bounded(values) => permute(values, order),
            Self::Absent(values) => permute(values, order),
        }
    }
}

/// Keeps the items at these places, in this order.
pub(crate) fn permute<T: Clone>(items: &mut Vec<T>, order: &[usize]) {
    *items = order.iter().map(|&at| items[at].clone()).collect();
}

pub(super) fn encode_values(values: &Values, out: &mut Vec<u8>) {
    match values {
        Values::Number(values) => encode_numbers(values, out),
        Values::Coded(values) => {
            out.push(CODED);
            values.iter().for_each(|code| put_text(out, code));
        }
        Values::Waveform(values) => {
            let gaps = has_gaps(values);
            out.push(if gaps { WAVEFORM_WITH_GAPS } else { WAVEFORM });
            for wave in values {
                encode_waveform(wave, out);
                if gaps {
                    encode_missing(&wave.missing, out);
                }
            }
        }
        Values::Bounded(values) => {
            out.push(BOUNDED);
            for Bound { comparator, number } in values {
                out.push(comparator.code());
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        Values::Absent(values) => {
            out.push(ABSENT);
            out.extend(values.iter().map(|reason| reason.code()));
        }
    }
}

/// Whether any of these lacks a sample.
fn has_gaps(waves: &[Waveform]) -> bool {
    waves.iter().any(|wave| !wave.missing.is_empty())
}

fn encode_missing(missing: &[u32], out: &mut Vec<u8>) {
    put_varint(out, missing.len() as u64);
    let mut last = 0;
    for place in missing {
        put_varint(out, u64::from(*place) - last);
        last = u64::from(*place);
    }
}

fn encode_numbers(values: &[f64], out: &mut Vec<u8>) {
    for (kind, &power) in POWERS.iter().enumerate() {
        if values.iter().all(|&v| decimal(v, power).is_some()) {
            out.push(kind as u8);
            // decimal() just gave a number for each
            put_ints(out, values.iter().map(|&v| decimal(v, power).unwrap_or_default()), &[0]);
            return;
        }
    }
    out.push(RAW);
    values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
}

/// The integer that gives `value` back bit for bit when divided by `power`.
#[inline]
fn decimal(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round();
    // through the integer, so that -0.0 is seen to lose its sign
    let integer = scaled as i64;
    let exact = scaled.abs() < 9e15 && (integer as f64 / power).to_bits() == value.to_bits();
    exact.then_some(integer)
}

fn encode_waveform(wave: &Waveform, out: &mut Vec<u8>) {
    out.extend_from_slice(&wave.origin.to_le_bytes());
    put_varint(out, wave.period_ns as u64);
    out.extend_from_slice(&wave.scale.to_le_bytes());
    put_varint(out, wave.samples.len() as u64);
    let mut last = 0i64;
    for &sample in &wave.samples {
        put_signed(out, i64::from(sample) - last);
        last = i64::from(sample);
    }
}

/// Adds `n` values; `false`, with nothing added, when they are of another kind and `any` does not allow that.
pub(super) fn decode_values(
    input: &mut Reader<'_>,
    n: usize,
    values: &mut Values,
    any: bool,
) -> Result<bool, Malformed> {
    let kind = input.byte()?;
    if any {
        // what is of the right kind keeps its room
        match (kind, &*values) {
            (CODED, Values::Coded(_)) | (WAVEFORM | WAVEFORM_WITH_GAPS, Values::Waveform(_)) => {}
            (BOUNDED, Values::Bounded(_)) | (ABSENT, Values::Absent(_)) => {}
            (CODED, _) => *values = Values::Coded(Vec::new()),
            (WAVEFORM | WAVEFORM_WITH_GAPS, _) => *values = Values::Waveform(Vec::new()),
            (BOUNDED, _) => *values = Values::Bounded(Vec::new()),
            (ABSENT, _) => *values = Values::Absent(Vec::new()),
            (_, Values::Number(_)) => {}
            _ => *values = Values::Number(Vec::new()),
        }
    }
    match (kind, values) {
        (CODED, Values::Coded(codes)) => {
            codes.reserve(n.min(input.remaining()));
            for _ in 0..n {
                codes.push(input.text()?.into());
            }
        }
        (WAVEFORM | WAVEFORM_WITH_GAPS, Values::Waveform(waves)) => {
            waves.reserve(n.min(input.remaining()));
            for _ in 0..n {
                let mut wave = decode_waveform(input)?;
                if kind == WAVEFORM_WITH_GAPS {
                    wave.missing = decode_missing(input, wave.samples.len())?;
                }
                waves.push(wave);
            }
        }
        (RAW, Values::Number(numbers)) => {
            // chunks_exact(8) gives eight bytes
            let floats = input.take(n.saturating_mul(8))?.chunks_exact(8);
            numbers.extend(floats.map(|c| f64::from_le_bytes(c.try_into().unwrap_or_default())));
        }
        (kind, Values::Number(numbers)) if usize::from(kind) < POWERS.len() => {
            let power = POWERS[usize::from(kind)];
            numbers.reserve(n);
            read_ints(input, n, |v| numbers.push(v as f64 / power))?;
        }
        (BOUNDED, Values::Bounded(bounds)) => {
            let pairs = input.take(n.saturating_mul(9))?.chunks_exact(9);
            let bound = |pair: &[u8]| {
                let (comparator, number) = pair.split_first()?;
                let number = f64::from_le_bytes(number.try_into().ok()?);
                Some(Bound { comparator: Comparator::from_code((*comparator).into())?, number })
            };
            for pair in pairs {
                bounds.push(bound(pair).ok_or_else(|| input.malformed("a comparator"))?);
            }
        }
        (ABSENT, Values::Absent(reasons)) => {
            for code in input.take(n)? {
                reasons
                    .push(Absence::from_code((*code).into()).ok_or_else(|| input.malformed("a reason for no value"))?);
            }
        }
        (CODED | WAVEFORM | WAVEFORM_WITH_GAPS | RAW | BOUNDED | ABSENT, _) => return Ok(false),
        (kind, _) if usize::from(kind) < POWERS.len() => return Ok(false),
        _ => return Err(input.malformed("a known kind of values")),
    }
    Ok(true)
}

fn decode_waveform(input: &mut Reader<'_>) -> Result<Waveform, Malformed> {
    let origin = input.float()?;
    let period_ns = input.varint()? as i64;
    let scale = input.float()?;
    let n = input.count(1)?;
    let mut samples = Vec::with_capacity(n);
    let mut last = 0i64;
    for _ in 0..n {
        last = last.wrapping_add(input.signed()?);
        samples.push(i32::try_from(last).map_err(|_| input.malformed("samples of 32 bits"))?);
    }
    Ok(Waveform { origin, period_ns, scale, samples, missing: Vec::new() })
}

/// Places of samples, ascending, below `n`.
fn decode_missing(input: &mut Reader<'_>, n: usize) -> Result<Vec<u32>, Malformed> {
    let count = input.count(1)?;
    let mut missing: Vec<u32> = Vec::with_capacity(count);
    let mut last = 0u64;
    for _ in 0..count {
        last = last.saturating_add(input.varint()?);
        let place = u32::try_from(last).ok().filter(|place| (*place as usize) < n);
        let place = place.filter(|place| missing.last().is_none_or(|before| before < place));
        missing.push(place.ok_or_else(|| input.malformed("places of samples in ascending order"))?);
    }
    Ok(missing)
}
