//! A block: some readings of one hour, column by column, in few bytes.
//!
//! Layout (little-endian; `v` = LEB128 varint, `z` = zigzag varint), version 2. Version 1, which is written where it can say all,
//! has no `lasting` and no values of kinds 19 to 21:
//!
//! ```text
//! block  = 2:u8, v n_columns, column*
//! column = v metric, text unit ("" = canonical), factor, v n, ints index, ints time, quality, lasting, values
//! factor = 0 (value is canonical) | 1, f64 scale, f64 offset
//! ints   = 0, v exponent, z first, z step          every item is first + i * step, times 10^exponent
//!        | 1, v exponent, z first, z delta * (n-1)
//! quality= 0, u8 (all the same) | 1, u8 * n
//! lasting= 0 (each is of an instant) | 1, ints     nanoseconds from time to end
//! values = 0..=4, ints                             decimal: integer / 10^kind
//!        | 16, f64 * n | 17, text * n | 18, waveform * n | 19, (comparator u8, f64) * n | 20, absence u8 * n
//!        | 21, (waveform, v n, (v place - the last one's) * n) * n      with places of missing samples
//! waveform = f64 origin, v period_ns, f64 scale, v n, z delta * n
//! ```
//!
//! Times are kept relative to the hour's start, so a block means nothing without its hour. Original values are
//! kept bit for bit: a decimal form is used only where it gives the same `f64` back.

mod values;

pub use values::Values;
pub(crate) use values::permute;

use crate::{
    bytes::{Malformed, Reader, put_ints, put_text, put_varint, read_ints},
    catalog::{Factor, MetricId},
    reach::Reach,
    reading::Quality,
    time::{Hour, Nanos, Range},
};
use values::{decode_values, encode_values};

/// What most blocks are written in.
const PLAIN: u8 = 1;
/// With readings that last, bounds, or readings without a value.
const VERSION: u8 = 2;
/// More readings than any hour of one device holds; bounds what a hostile block can make a reader allocate.
pub(crate) const MAX_READINGS: usize = 1 << 20;
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
    /// Nanoseconds from the beginning of each to its end, 0 where it is of an instant; empty: all are.
    pub lasting: Vec<i64>,
    /// Values in the unit that the device sent.
    pub values: Values,
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
        self.lasting.clear();
        self.values.clear();
    }

    /// When the reading on a line was over: after the last sample of a waveform, at the end of what lasts; its time where it is
    /// of an instant.
    pub fn end(&self, line: usize) -> Nanos {
        let lasting = match &self.values {
            Values::Waveform(waves) => waves[line].lasting(),
            _ => self.lasting.get(line).copied().unwrap_or_default(),
        };
        self.measured_at[line].plus(lasting)
    }

    /// Whether the reading on a line has a part in a range: it was taken in it, or has begun before and reaches into it.
    pub fn overlaps(&self, line: usize, range: Range) -> bool {
        let begin = self.measured_at[line];
        begin < range.to() && (self.end(line) > range.from() || begin >= range.from())
    }

    /// Whether a line may end after the time that it is ordered by.
    pub(crate) fn lasts(&self) -> bool {
        !self.lasting.is_empty() || matches!(self.values, Values::Waveform(_))
    }

    /// How far its readings reach beyond their hour.
    fn reach(&self, hour: Hour) -> Reach {
        if !self.lasts() {
            return Reach::Within;
        }
        Reach::of((0..self.len()).map(|line| self.end(line)).max().unwrap_or(Nanos::MIN), hour)
    }

    /// Whether it can be written in the first version.
    fn is_plain(&self) -> bool {
        self.lasting.is_empty() && self.values.are_plain()
    }

    /// Adds what every kind of value has; the value itself goes into `values`. `lasting` as in [`Self::lasting`].
    pub fn note(&mut self, index: u32, at: Nanos, lasting: i64, quality: Quality) {
        if lasting != 0 || !self.lasting.is_empty() {
            self.lasting.resize(self.index.len(), 0);
            self.lasting.push(lasting);
        }
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
        let version = version_of(&self.columns);
        out.push(version);
        put_varint(out, self.columns.len() as u64);
        for column in &self.columns {
            encode_column(column, hour, version, out);
        }
    }

    /// Reads a block of `hour` back.
    pub fn decode(hour: Hour, bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut input, version, n) = open(bytes)?;
        let columns = (0..n).map(|_| decode_column(&mut input, version, hour)).collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self { columns })
    }
}

/// The version that can say all of these columns.
pub(crate) fn version_of<'c>(columns: impl IntoIterator<Item = &'c Column>) -> u8 {
    if columns.into_iter().all(Column::is_plain) { PLAIN } else { VERSION }
}

/// Reads a version.
pub(crate) fn version(input: &mut Reader<'_>) -> Result<u8, Malformed> {
    match input.byte()? {
        version @ (PLAIN | VERSION) => Ok(version),
        _ => Err(input.malformed("version 1 or 2")),
    }
}

/// The first bytes of a block: a reader that stands before its columns, its version, and their number.
pub(crate) fn open(bytes: &[u8]) -> Result<(Reader<'_>, u8, usize), Malformed> {
    let mut input = Reader::new(bytes);
    let version = version(&mut input)?;
    let n = input.count(8)?;
    Ok((input, version, n))
}

pub(crate) fn encode_column(column: &Column, hour: Hour, version: u8, out: &mut Vec<u8>) {
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
        Some(first) if column.quality.iter().all(|q| q == first) => out.extend_from_slice(&[0, first.bits()]),
        _ => {
            out.push(1);
            out.extend(column.quality.iter().map(|q| q.bits()));
        }
    }
    if version != PLAIN {
        out.push(u8::from(!column.lasting.is_empty()));
        if !column.lasting.is_empty() {
            put_ints(out, column.lasting.iter().copied(), &TIME_EXPONENTS);
        }
    }
    encode_values(&column.values, out);
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
            lasting: Vec::new(),
            values: Values::Number(Vec::new()),
        }
    }
}

/// Which metrics a block holds, ascending, and how far it reaches ([`Reach`]); all of it is read, into `scratch`, to know that it can be.
pub(crate) fn metrics(hour: Hour, bytes: &[u8], scratch: &mut Column) -> Result<Vec<MetricId>, Malformed> {
    let (mut input, version, n) = open(bytes)?;
    let mut metrics = Vec::with_capacity(n);
    for _ in 0..n {
        let head = Head::read(&mut input)?;
        scratch.clear();
        decode_lines(&mut input, (hour, version), &head, scratch)?;
        metrics.push(head.metric);
        metrics.extend(scratch.reach(hour).mark());
    }
    input.end()?;
    metrics.sort_unstable();
    metrics.dedup();
    Ok(metrics)
}

fn decode_column(input: &mut Reader<'_>, version: u8, hour: Hour) -> Result<Column, Malformed> {
    let head = Head::read(input)?;
    let mut column = head.column();
    match decode_lines(input, (hour, version), &head, &mut column)? {
        true => Ok(column),
        // an empty column takes any kind
        false => Err(input.malformed("values of one kind")),
    }
}

fn flag(input: &mut Reader<'_>) -> Result<bool, Malformed> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(input.malformed("0 or 1")),
    }
}

/// Reads the lines that follow a head and adds them to a column that suits it. `false`, and the column as it was, when their
/// values are of another kind; `input` then stands before the values.
pub(crate) fn decode_lines(
    input: &mut Reader<'_>,
    (hour, version): (Hour, u8),
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
        0 => column.quality.resize(before + n, Quality::from_bits(input.byte()?)),
        1 => column.quality.extend(input.take(n)?.iter().map(|&bits| Quality::from_bits(bits))),
        _ => return Err(input.malformed("quality 0 or 1")),
    }
    let lasts = version != PLAIN && flag(input)?;
    if lasts || !column.lasting.is_empty() {
        column.lasting.resize(before, 0);
        match lasts {
            true => read_ints(input, n, |v| column.lasting.push(v))?,
            false => column.lasting.resize(before + n, 0),
        }
    }
    let taken = decode_values(input, n, &mut column.values, before == 0)?;
    if !taken {
        column.lasting.truncate(before);
        column.index.truncate(before);
        column.measured_at.truncate(before);
        column.quality.truncate(before);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests;
