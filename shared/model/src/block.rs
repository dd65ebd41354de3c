//! A block: some readings of one hour, column by column, in few bytes.
//!
//! Layout (little-endian; `v` = LEB128 varint, `z` = zigzag varint), version 1:
//!
//! ```text
//! block  = 1:u8, v n_columns, column*
//! column = v metric, text unit ("" = canonical), factor, v n, ints index, ints time, quality, values
//! factor = 0 (value is canonical) | 1, f64 scale, f64 offset
//! ints   = 0, v exponent, z first, z step          every item is first + i * step, times 10^exponent
//!        | 1, v exponent, z first, z delta * (n-1)
//! quality= 0, u8 (all the same) | 1, u8 * n
//! values = 0..=4, ints                             decimal: integer / 10^kind
//!        | 16, f64 * n | 17, text * n | 18, waveform * n
//! waveform = f64 origin, v period_ns, f64 scale, v n, z delta * n
//! ```
//!
//! Times are kept relative to the hour's start, so a block means nothing without its hour. Original values are
//! kept bit for bit: a decimal form is used only where it gives the same `f64` back.

use crate::{
    bytes::{Malformed, Reader, put_signed, put_text, put_varint},
    catalog::{Factor, MetricId},
    reading::{Quality, Waveform},
    time::{Hour, Nanos},
};

const VERSION: u8 = 1;
/// More readings than any hour of one device holds; bounds what a hostile block can make a reader allocate.
const MAX_READINGS: usize = 1 << 20;
const RAW: u8 = 16;
const CODED: u8 = 17;
const WAVEFORM: u8 = 18;
const POWERS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
/// Times come in whole seconds, milliseconds or microseconds more often than not.
const TIME_EXPONENTS: [u32; 4] = [9, 6, 3, 0];

/// Readings of one hour, grouped by metric and unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    /// The columns, in the order in which the device first used them.
    pub columns: Vec<Column>,
}

/// Readings of one metric in one unit. All vectors have the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What was measured.
    pub metric: MetricId,
    /// The unit as the device wrote it; empty for the metric's canonical unit.
    pub unit: Box<str>,
    /// Turns original values into the metric's canonical unit.
    pub factor: Factor,
    /// Place of each reading in the device's batch: with device, stream and sequence its identity.
    pub index: Vec<u32>,
    /// When each was measured, by the device's clock.
    pub measured_at: Vec<Nanos>,
    /// What is doubtful about each.
    pub quality: Vec<Quality>,
    /// Original values.
    pub values: Values,
}

/// The values of one column, in the device's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers.
    Number(Vec<f64>),
    /// Codes from the metric's value set.
    Coded(Vec<Box<str>>),
    /// Blocks of samples.
    Waveform(Vec<Waveform>),
}

impl Column {
    /// How many readings the column has.
    pub fn len(&self) -> usize {
        self.measured_at.len()
    }

    /// Whether the column has no reading.
    pub fn is_empty(&self) -> bool {
        self.measured_at.is_empty()
    }

    /// Adds what every kind of value has; the value itself goes into `values`.
    pub fn note(&mut self, index: u32, at: Nanos, quality: Quality) {
        self.index.push(index);
        self.measured_at.push(at);
        self.quality.push(quality);
    }
}

impl Block {
    /// How many readings the block has.
    pub fn len(&self) -> usize {
        self.columns.iter().map(Column::len).sum()
    }

    /// Whether the block has no reading.
    pub fn is_empty(&self) -> bool {
        self.columns.iter().all(Column::is_empty)
    }

    /// Appends the block's bytes; times are written relative to `hour`.
    pub fn encode(&self, hour: Hour, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_varint(out, self.columns.len() as u64);
        for column in &self.columns {
            encode_column(column, hour, out);
        }
    }

    /// Reads a block of `hour` back.
    pub fn decode(hour: Hour, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        if input.byte()? != VERSION {
            return Err(input.malformed("block version 1"));
        }
        let n = input.count(8)?;
        let columns = (0..n).map(|_| decode_column(&mut input, hour)).collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self { columns })
    }
}

fn encode_column(column: &Column, hour: Hour, out: &mut Vec<u8>) {
    put_varint(out, u64::from(column.metric.0));
    put_text(out, &column.unit);
    if column.factor == Factor::IDENTITY {
        out.push(0);
    } else {
        out.push(1);
        out.extend_from_slice(&column.factor.scale.to_le_bytes());
        out.extend_from_slice(&column.factor.offset.to_le_bytes());
    }
    put_varint(out, column.len() as u64);
    put_ints(out, column.index.iter().map(|&i| i64::from(i)), &[0]);
    let start = hour.start().0;
    put_ints(out, column.measured_at.iter().map(|t| t.0.wrapping_sub(start)), &TIME_EXPONENTS);
    match column.quality.first() {
        Some(first) if column.quality.iter().all(|q| q == first) => out.extend_from_slice(&[0, first.0]),
        _ => {
            out.push(1);
            out.extend(column.quality.iter().map(|q| q.0));
        }
    }
    match &column.values {
        Values::Number(values) => encode_numbers(values, out),
        Values::Coded(values) => {
            out.push(CODED);
            values.iter().for_each(|code| put_text(out, code));
        }
        Values::Waveform(values) => {
            out.push(WAVEFORM);
            values.iter().for_each(|wave| encode_waveform(wave, out));
        }
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

/// Writes integers, divided by the largest power of ten in `exponents` that divides them all.
fn put_ints(out: &mut Vec<u8>, items: impl Iterator<Item = i64> + Clone, exponents: &[u32]) {
    let exponent = exponents.iter().copied().find(|&e| {
        let power = 10i64.pow(e);
        e == 0 || items.clone().all(|v| v % power == 0)
    });
    let exponent = exponent.unwrap_or(0);
    let power = 10i64.pow(exponent);
    let mut scaled = items.map(|v| if exponent == 0 { v } else { v / power });
    let probe = scaled.clone();
    let Some(first) = scaled.next() else {
        out.extend_from_slice(&[0, 0, 0, 0]);
        return;
    };
    let step = scaled.clone().next().map_or(0, |second| second.wrapping_sub(first));
    let mut expected = first;
    let regular = probe.clone().all(|v| {
        let same = v == expected;
        expected = expected.wrapping_add(step);
        same
    });
    out.push(u8::from(!regular));
    put_varint(out, u64::from(exponent));
    put_signed(out, first);
    if regular {
        put_signed(out, step);
        return;
    }
    let mut last = first;
    for v in scaled {
        put_signed(out, v.wrapping_sub(last));
        last = v;
    }
}

/// Reads `n` integers, handing each to `each`.
#[inline]
fn read_ints(input: &mut Reader<'_>, n: usize, mut each: impl FnMut(i64)) -> Result<(), Malformed> {
    let mode = input.byte()?;
    let exponent = input.varint()?;
    if mode > 1 || exponent > 9 {
        return Err(input.malformed("integer mode 0 or 1, exponent 0 to 9"));
    }
    let power = 10i64.pow(exponent as u32);
    let mut value = input.signed()?;
    if mode == 0 {
        let step = input.signed()?;
        for _ in 0..n {
            each(value.wrapping_mul(power));
            value = value.wrapping_add(step);
        }
        return Ok(());
    }
    for i in 0..n {
        if i > 0 {
            value = value.wrapping_add(input.signed()?);
        }
        each(value.wrapping_mul(power));
    }
    Ok(())
}

fn decode_column(input: &mut Reader<'_>, hour: Hour) -> Result<Column, Malformed> {
    let metric = u16::try_from(input.varint()?).map_err(|_| input.malformed("a metric number"))?;
    let unit = input.text()?.into();
    let factor = match input.byte()? {
        0 => Factor::IDENTITY,
        1 => Factor { scale: input.float()?, offset: input.float()? },
        _ => return Err(input.malformed("factor 0 or 1")),
    };
    let n = input.varint()?;
    let n = usize::try_from(n).ok().filter(|&n| n <= MAX_READINGS);
    let n = n.ok_or_else(|| input.malformed("at most 1,048,576 readings"))?;
    let mut index = Vec::with_capacity(n);
    let mut out_of_range = false;
    read_ints(input, n, |v| match u32::try_from(v) {
        Ok(v) => index.push(v),
        Err(_) => out_of_range = true,
    })?;
    if out_of_range {
        return Err(input.malformed("indices from 0 to 4,294,967,295"));
    }
    let start = hour.start().0;
    let mut measured_at = Vec::with_capacity(n);
    read_ints(input, n, |v| measured_at.push(Nanos(start.wrapping_add(v))))?;
    let quality = match input.byte()? {
        0 => vec![Quality(input.byte()?); n],
        1 => input.take(n)?.iter().map(|&q| Quality(q)).collect(),
        _ => return Err(input.malformed("quality 0 or 1")),
    };
    let values = decode_values(input, n)?;
    Ok(Column { metric: MetricId(metric), unit, factor, index, measured_at, quality, values })
}

fn decode_values(input: &mut Reader<'_>, n: usize) -> Result<Values, Malformed> {
    let kind = input.byte()?;
    if let Some(power) = POWERS.get(usize::from(kind)) {
        let mut values = Vec::with_capacity(n);
        read_ints(input, n, |v| values.push(v as f64 / power))?;
        return Ok(Values::Number(values));
    }
    match kind {
        RAW => {
            let floats = input.take(n * 8)?.chunks_exact(8);
            // chunks_exact(8) gives eight bytes
            Ok(Values::Number(floats.map(|c| f64::from_le_bytes(c.try_into().unwrap_or_default())).collect()))
        }
        CODED => Ok(Values::Coded((0..n).map(|_| input.text().map(Into::into)).collect::<Result<_, _>>()?)),
        WAVEFORM => Ok(Values::Waveform((0..n).map(|_| decode_waveform(input)).collect::<Result<_, _>>()?)),
        _ => Err(input.malformed("a known kind of values")),
    }
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
    Ok(Waveform { origin, period_ns, scale, samples })
}

#[cfg(test)]
mod tests;
