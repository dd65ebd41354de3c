//! A sheet: all readings of one patient's hour, from all batches, column by column in the order of time.
//!
//! Timelines are read from sheets: put together from rows, or read back from a sealed hour. Layout (notation and columns as in
//! [`crate::Block`]), version 1 or 2 as blocks are:
//!
//! ```text
//! sheet   = version:u8, v n_sources, source*, v n_batches, batch*, v n_columns, (v length, column, runs)*
//! source  = device (16), stream (16)
//! batch   = v source, z sequence - the last one's, digest (8), z received_at - the last one's, clock (1)
//! runs    = v n_runs, (z batch - the last one's, v n_lines)*
//! ```

use crate::{
    block::{Column, Head, MAX_READINGS, decode_lines, encode_column, permute, version, version_of},
    bytes::{Malformed, Reader, put_signed, put_varint},
    catalog::MetricId,
    id::{DeviceId, StreamId},
    reading::{ClockQuality, Quality},
    record::BatchId,
    time::{Hour, Nanos, Range},
};

/// The fewest bytes that a batch takes: what a claim of many can at most make a reader allocate.
const MIN_BATCH_BYTES: usize = 12;

/// What readings of one batch have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Identity of the batch: device, stream, sequence and digest.
    pub identity: BatchId,
    /// When it was accepted, by our clock.
    pub received_at: Nanos,
    /// What the device says of its clock.
    pub clock: ClockQuality,
}

/// All readings of one patient's hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// The hour (UTC) that all readings were measured in.
    pub hour: Hour,
    /// The batches, ascending by identity.
    pub batches: Vec<Batch>,
    /// The readings by metric and unit.
    pub columns: Vec<SheetColumn>,
}

/// Readings of one metric in one unit, ascending by time, then when they were received, then batch, then index: of several
/// at one instant the one received last comes last.
#[derive(Debug, Clone, PartialEq)]
pub struct SheetColumn {
    /// The readings, one a line: metric, unit, times, flags and values.
    pub lines: Column,
    /// The place of each line's batch in [`Sheet::batches`].
    pub batch: Vec<u32>,
}

impl SheetColumn {
    /// What a line's place in its column follows.
    fn key(&self, line: usize, batches: &[Batch]) -> (Nanos, Nanos, u32, u32) {
        let batch = self.batch[line];
        (self.lines.measured_at[line], batches[batch as usize].received_at, batch, self.lines.index[line])
    }

    /// Whether a line may end after the time that it is ordered by.
    pub fn lasts(&self) -> bool {
        self.lines.lasts()
    }

    /// Whether each line has a time of its own, as one device's readings mostly have.
    pub(crate) fn is_strictly_ascending(&self) -> bool {
        self.lines.measured_at.is_sorted_by(|a, b| a < b)
    }

    fn sort(&mut self, batches: &[Batch]) {
        let sorted = |column: &Self| {
            (1..column.batch.len()).all(|line| column.key(line - 1, batches) <= column.key(line, batches))
        };
        if self.is_strictly_ascending() || sorted(self) {
            return;
        }
        let mut order: Vec<usize> = (0..self.batch.len()).collect();
        order.sort_unstable_by_key(|&line| self.key(line, batches));
        self.pick(&order);
    }

    /// Keeps these lines, in this order.
    fn pick(&mut self, order: &[usize]) {
        permute(&mut self.batch, order);
        permute(&mut self.lines.index, order);
        permute(&mut self.lines.measured_at, order);
        permute(&mut self.lines.quality, order);
        if !self.lines.lasting.is_empty() {
            permute(&mut self.lines.lasting, order);
        }
        self.lines.values.pick(order);
    }
}

impl Sheet {
    /// Puts rows of one hour together: each a batch and its [`crate::Block`]. Of metrics only those `wanted` (ascending; empty: all).
    pub fn collect<'a>(
        hour: Hour,
        rows: impl IntoIterator<Item = (Batch, &'a [u8])>,
        wanted: &[MetricId],
    ) -> Result<Self, Malformed> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        if !rows.is_sorted_by_key(|(batch, _)| batch.identity) {
            rows.sort_by_key(|(batch, _)| batch.identity);
        }
        let mut columns: Vec<SheetColumn> = Vec::new();
        for (number, (_, block)) in (0u32..).zip(&rows) {
            add_block(&mut columns, number, hour, block, wanted)?;
        }
        let batches: Vec<_> = rows.into_iter().map(|(batch, _)| batch).collect();
        columns.iter_mut().for_each(|column| column.sort(&batches));
        Ok(Self { hour, batches, columns })
    }

    /// How many readings the sheet has.
    pub fn len(&self) -> usize {
        self.columns.iter().map(|column| column.batch.len()).sum()
    }

    /// Whether the sheet has no reading.
    pub fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.batch.is_empty())
    }

    /// Leaves out readings with any of these marks.
    pub fn leave_out(&mut self, marks: Quality) {
        for column in &mut self.columns {
            let quality = &column.lines.quality;
            let kept: Vec<usize> = (0..quality.len()).filter(|&line| !quality[line].has_any(marks)).collect();
            if kept.len() < quality.len() {
                column.pick(&kept);
            }
        }
    }

    /// Leaves out what lasts and has no part in a range: of what lasts, those who read by `measured_at` would see too much, and
    /// miss what has begun before.
    pub fn keep_overlapping(&mut self, range: Range) {
        self.keep_of_lasting(|lines, line| lines.overlaps(line, range));
    }

    /// Leaves out what lasts until an instant or longer.
    pub fn keep_ended(&mut self, before: Nanos) {
        self.keep_of_lasting(|lines, line| lines.end(line) < before);
    }

    fn keep_of_lasting(&mut self, is_kept: impl Fn(&Column, usize) -> bool) {
        for column in self.columns.iter_mut().filter(|column| column.lasts()) {
            let lines = &column.lines;
            let kept: Vec<usize> = (0..lines.len()).filter(|line| is_kept(lines, *line)).collect();
            if kept.len() < lines.len() {
                column.pick(&kept);
            }
        }
    }

    /// The sheet's bytes; `None` when a column has more than 1,048,576 readings, which no reader would take.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.columns.iter().any(|column| column.batch.len() > MAX_READINGS) {
            return None;
        }
        let version = version_of(self.columns.iter().map(|column| &column.lines));
        let mut out = vec![version];
        encode_batches(&self.batches, &mut out);
        put_varint(&mut out, self.columns.len() as u64);
        let mut bytes = Vec::new();
        for column in &self.columns {
            bytes.clear();
            encode_column(&column.lines, self.hour, version, &mut bytes);
            let runs = column.batch.chunk_by(|a, b| a == b);
            put_varint(&mut bytes, runs.clone().count() as u64);
            let mut last = 0;
            for run in runs {
                put_signed(&mut bytes, i64::from(run[0]) - last);
                put_varint(&mut bytes, run.len() as u64);
                last = i64::from(run[0]);
            }
            put_varint(&mut out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
        }
        Some(out)
    }

    /// Reads the sheet of `hour` back; of metrics only those `wanted` (ascending; empty: all).
    pub fn decode(hour: Hour, bytes: &[u8], wanted: &[MetricId]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let version = version(&mut input)?;
        let batches = decode_batches(&mut input)?;
        let mut columns = Vec::new();
        for _ in 0..input.count(8)? {
            let length = input.count(1)?;
            let mut column = Reader::new(input.take(length)?);
            let head = Head::read(&mut column)?;
            if wanted.is_empty() || wanted.binary_search(&head.metric).is_ok() {
                columns.push(decode_column(&mut column, (hour, version), &head, &batches)?);
                column.end()?;
            }
        }
        input.end()?;
        Ok(Self { hour, batches, columns })
    }
}

/// Adds a block's lines to the columns that they belong to.
fn add_block(
    columns: &mut Vec<SheetColumn>,
    number: u32,
    hour: Hour,
    block: &[u8],
    wanted: &[MetricId],
) -> Result<(), Malformed> {
    let (mut input, version, n_columns) = crate::block::open(block)?;
    let form = (hour, version);
    for ordinal in 0..n_columns {
        let head = Head::read(&mut input)?;
        let lines = input.clone();
        if !wanted.is_empty() && wanted.binary_search(&head.metric).is_err() {
            // read over
            decode_lines(&mut input, form, &head, &mut head.column())?;
            continue;
        }
        // one device's blocks mostly have the same columns at the same places
        let near = columns.get(ordinal).is_some_and(|column| head.suits(&column.lines)).then_some(ordinal);
        let suiting = |columns: &[SheetColumn], from: usize| {
            (from..columns.len()).find(|&at| Some(at) != near && head.suits(&columns[at].lines))
        };
        let mut found = near.or_else(|| suiting(columns, 0));
        loop {
            let at = found.unwrap_or_else(|| {
                columns.push(SheetColumn { lines: head.column(), batch: Vec::new() });
                columns.len() - 1
            });
            let column = &mut columns[at];
            input = lines.clone();
            if decode_lines(&mut input, form, &head, &mut column.lines)? {
                column.batch.resize(column.lines.len(), number);
                break;
            }
            // values of another kind; a new column takes any
            found = suiting(columns, if Some(at) == near { 0 } else { at + 1 });
        }
    }
    input.end()
}

fn decode_column(
    input: &mut Reader<'_>,
    form: (Hour, u8),
    head: &Head<'_>,
    batches: &[Batch],
) -> Result<SheetColumn, Malformed> {
    let mut lines = head.column();
    decode_lines(input, form, head, &mut lines)?;
    let mut batch = Vec::with_capacity(lines.len());
    let mut last = 0i64;
    for _ in 0..input.count(2)? {
        last = last.wrapping_add(input.signed()?);
        let number = u32::try_from(last).ok().filter(|&number| (number as usize) < batches.len());
        let number = number.ok_or_else(|| input.malformed("a batch that the sheet has"))?;
        let n_lines = usize::try_from(input.varint()?).unwrap_or(usize::MAX);
        if n_lines > lines.len() - batch.len() {
            return Err(input.malformed("as many batches as lines"));
        }
        batch.resize(batch.len() + n_lines, number);
    }
    let mut column = SheetColumn { lines, batch };
    if column.batch.len() != column.lines.len() || !column.lines.measured_at.is_sorted() {
        return Err(input.malformed("lines in order, each with its batch"));
    }
    // sheets written before receipt counted have the lines of one instant in the order of their batches
    column.sort(batches);
    Ok(column)
}

fn encode_batches(batches: &[Batch], out: &mut Vec<u8>) {
    let source = |batch: &Batch| (batch.identity.device, batch.identity.stream);
    // ascending by identity: a source's batches stand together
    let sources = batches.chunk_by(|a, b| source(a) == source(b));
    put_varint(out, sources.clone().count() as u64);
    for batches in sources.clone() {
        let (device, stream) = source(&batches[0]);
        out.extend_from_slice(device.as_bytes());
        out.extend_from_slice(stream.as_bytes());
    }
    put_varint(out, batches.len() as u64);
    let (mut sequence, mut received_at) = (0u64, 0i64);
    for (number, batch) in (0u64..).zip(sources).flat_map(|(n, batches)| batches.iter().map(move |b| (n, b))) {
        put_varint(out, number);
        put_signed(out, batch.identity.sequence.wrapping_sub(sequence) as i64);
        out.extend_from_slice(&batch.identity.digest.to_le_bytes());
        put_signed(out, batch.received_at.0.wrapping_sub(received_at));
        out.push(batch.clock.code());
        (sequence, received_at) = (batch.identity.sequence, batch.received_at.0);
    }
}

fn decode_batches(input: &mut Reader<'_>) -> Result<Vec<Batch>, Malformed> {
    let n_sources = input.count(32)?;
    let mut sources = Vec::with_capacity(n_sources);
    for _ in 0..n_sources {
        sources.push((DeviceId::from_bytes(input.array()?), StreamId::from_bytes(input.array()?)));
    }
    let n_batches = input.count(MIN_BATCH_BYTES)?;
    let mut batches: Vec<Batch> = Vec::with_capacity(n_batches);
    let (mut sequence, mut received_at) = (0u64, 0i64);
    for _ in 0..n_batches {
        let source = usize::try_from(input.varint()?).ok().and_then(|at| sources.get(at));
        let &(device, stream) = source.ok_or_else(|| input.malformed("a source that the sheet has"))?;
        sequence = sequence.wrapping_add(input.signed()? as u64);
        let digest = u64::from_le_bytes(input.array()?);
        received_at = received_at.wrapping_add(input.signed()?);
        let clock = ClockQuality::from_code(input.byte()?).ok_or_else(|| input.malformed("a clock quality"))?;
        let identity = BatchId { device, stream, sequence, digest };
        if batches.last().is_some_and(|last| last.identity >= identity) {
            return Err(input.malformed("batches in the order of their identity"));
        }
        batches.push(Batch { identity, received_at: Nanos(received_at), clock });
    }
    Ok(batches)
}
