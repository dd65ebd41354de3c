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
    bytes::{Malformed, Reader, put_ints, put_signed, put_text, put_varint, read_ints},
    catalog::{Factor, MetricId},
    reading::{Quality, Waveform},
    time::{Hour, Nanos},
};

const VERSION: u8 = 1;
/// More readings than any hour of one device holds; bounds what a hostile block can make a reader allocate.
pub(crate) const MAX_READINGS: usize = 1 << 20;
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
    /// Catalogue number of the metric that was measured.
    pub metric: MetricId,
    /// The unit as the device wrote it; empty for the metric's canonical unit.
    pub unit: Box<str>,
    /// Turns original values into the metric's canonical unit.
    pub factor: Factor,
    /// Place of each reading in the device's batch: with device, stream and sequence its identity.
    pub index: Vec<u32>,
    /// When each was measured, by the device's clock.
    pub measured_at: Vec<Nanos>,
    /// Flags of each reading: what is doubtful about it.
    pub quality: Vec<Quality>,
    /// Values in the unit that the device sent.
    pub values: Values,
}

/// The values of one column, in the device's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One finite number a reading.
    Number(Vec<f64>),
    /// Codes from the metric's value set.
    Coded(Vec<Box<str>>),
    /// One block of samples a reading.
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

    /// A column of nothing, to be read into.
    pub(crate) fn scratch() -> Self {
        Head { metric: MetricId(0), unit: "", factor: Factor::IDENTITY, n: 0 }.column()
    }

    /// Takes all readings out and keeps their room.
    pub fn clear(&mut self) {
        self.index.clear();
        self.measured_at.clear();
        self.quality.clear();
        match &mut self.values {
            Values::Number(values) => values.clear(),
            Values::Coded(values) => values.clear(),
            Values::Waveform(values) => values.clear(),
        }
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
        let (mut input, n) = open(bytes)?;
        let columns = (0..n).map(|_| decode_column(&mut input, hour)).collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self { columns })
    }
}

/// The first bytes of a block: a reader that stands before its columns, and their number.
pub(crate) fn open(bytes: &[u8]) -> Result<(Reader<'_>, usize), Malformed> {
    let mut input = Reader::new(bytes);
    if input.byte()? != VERSION {
        return Err(input.malformed("block version 1"));
    }
    let n = input.count(8)?;
    Ok((input, n))
}

pub(crate) fn encode_column(column: &Column, hour: Hour, out: &mut Vec<u8>) {
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

/// What a column's bytes begin with.
pub(crate) struct Head<'a> {
    pub metric: MetricId,
    unit: &'a str,
    factor: Factor,
    n: usize,
}

impl<'a> Head<'a> {
    pub(crate) fn read(input: &mut Reader<'a>) -> Result<Self, Malformed> {
        let metric = u16::try_from(input.varint()?).map_err(|_| input.malformed("a metric number"))?;
        let unit = input.text()?;
        let factor = match input.byte()? {
            0 => Factor::IDENTITY,
            1 => Factor { scale: input.float()?, offset: input.float()? },
            _ => return Err(input.malformed("factor 0 or 1")),
        };
        let n = usize::try_from(input.varint()?).ok().filter(|&n| n <= MAX_READINGS);
        let n = n.ok_or_else(|| input.malformed("at most 1,048,576 readings"))?;
        Ok(Self { metric: MetricId(metric), unit, factor, n })
    }

    /// Whether lines under this head may follow those of `column`, but for their kind of value.
    pub(crate) fn suits(&self, column: &Column) -> bool {
        self.metric == column.metric && *self.unit == *column.unit && self.factor == column.factor
    }

    /// A column without lines. Its kind of value is that of the first lines it is given.
    pub(crate) fn column(&self) -> Column {
        Column {
            metric: self.metric,
            unit: self.unit.into(),
            factor: self.factor,
            index: Vec::new(),
            measured_at: Vec::new(),
            quality: Vec::new(),
            values: Values::Number(Vec::new()),
        }
    }
}

/// Which metrics a block holds, ascending; all of it is read, into `scratch`, to know that it can be.
pub(crate) fn metrics(hour: Hour, bytes: &[u8], scratch: &mut Column) -> Result<Vec<MetricId>, Malformed> {
    let (mut input, n) = open(bytes)?;
    let mut metrics = Vec::with_capacity(n);
    for _ in 0..n {
        let head = Head::read(&mut input)?;
        scratch.clear();
        decode_lines(&mut input, hour, &head, scratch)?;
        metrics.push(head.metric);
    }
    input.end()?;
    metrics.sort_unstable();
    metrics.dedup();
    Ok(metrics)
}

fn decode_column(input: &mut Reader<'_>, hour: Hour) -> Result<Column, Malformed> {
    let head = Head::read(input)?;
    let mut column = head.column();
    match decode_lines(input, hour, &head, &mut column)? {
        true => Ok(column),
        // an empty column takes any kind
        false => Err(input.malformed("values of one kind")),
    }
}

/// Reads the lines that follow a head and adds them to a column that suits it. `false`, and the column as it was, when their
/// values are of another kind; `input` then stands before the values.
pub(crate) fn decode_lines(
    input: &mut Reader<'_>,
    hour: Hour,
    head: &Head<'_>,
    column: &mut Column,
) -> Result<bool, Malformed> {
    let n = head.n;
    let before = column.len();
    let mut out_of_range = false;
    column.index.reserve(n);
    read_ints(input, n, |v| match u32::try_from(v) {
        Ok(v) => column.index.push(v),
        Err(_) => out_of_range = true,
    })?;
    if out_of_range {
        return Err(input.malformed("indices from 0 to 4,294,967,295"));
    }
    let start = hour.start().0;
    column.measured_at.reserve(n);
    read_ints(input, n, |v| column.measured_at.push(Nanos(start.wrapping_add(v))))?;
    match input.byte()? {
        0 => column.quality.resize(before + n, Quality(input.byte()?)),
        1 => column.quality.extend(input.take(n)?.iter().map(|&q| Quality(q))),
        _ => return Err(input.malformed("quality 0 or 1")),
    }
    let taken = decode_values(input, n, &mut column.values, before == 0)?;
    if !taken {
        column.index.truncate(before);
        column.measured_at.truncate(before);
        column.quality.truncate(before);
    }
    Ok(taken)
}

/// Adds `n` values; `false`, with nothing added, when they are of another kind and `any` does not allow that.
fn decode_values(input: &mut Reader<'_>, n: usize, values: &mut Values, any: bool) -> Result<bool, Malformed> {
    let kind = input.byte()?;
    if any {
        // what is of the right kind keeps its room
        match (kind, &*values) {
            (CODED, Values::Coded(_)) | (WAVEFORM, Values::Waveform(_)) => {}
            (CODED, _) => *values = Values::Coded(Vec::new()),
            (WAVEFORM, _) => *values = Values::Waveform(Vec::new()),
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
        (WAVEFORM, Values::Waveform(waves)) => {
            waves.reserve(n.min(input.remaining()));
            for _ in 0..n {
                waves.push(decode_waveform(input)?);
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
        (CODED | WAVEFORM | RAW, _) => return Ok(false),
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
    Ok(Waveform { origin, period_ns, scale, samples })
}

#[cfg(test)]
mod tests;
