//! A plot in braille dots: two columns and four rows to a character. Points go in, lines of text come out.

use super::when;
use model::{Comparator, Nanos, Quality, Range};

/// Characters from top to bottom.
const HEIGHT: usize = 6;
const DOT_ROWS: usize = HEIGHT * 4;
/// Room for the labels of the value axis.
const LABEL_WIDTH: usize = 9;
/// Narrower than this nothing can be seen.
const PLOT_WIDTH_MIN: usize = 16;
/// Distances between readings that are kept to know what is usual.
const DISTANCES_MAX: usize = 4_096;
/// So many usual distances without a reading are a gap.
const GAP: i64 = 4;

/// The values of one dot column.
#[derive(Debug, Clone, Copy)]
struct Column {
    low: f64,
    high: f64,
    first: (Nanos, f64),
    last: (Nanos, f64),
}

/// What a reading may be beside a plain value.
#[derive(Debug, Clone, Copy)]
enum Other {
    SuspectUnit,
    Bound,
    Absent,
    Code,
    Implausible,
    Questionable,
    InError,
}

/// Each in words, of one and of many.
const OTHERS: [(Other, &str, &str); 7] = [
    (Other::SuspectUnit, "suspect unit", "suspect units"),
    (Other::Bound, "bound", "bounds"),
    (Other::Absent, "without a value", "without a value"),
    (Other::Code, "code", "codes"),
    (Other::Implausible, "implausible", "implausible"),
    (Other::Questionable, "questionable", "questionable"),
    (Other::InError, "entered in error", "entered in error"),
];

/// Readings of one metric over a range of time.
#[derive(Debug)]
pub(super) struct Plot {
    range: Range,
    unit: String,
    columns: Vec<Option<Column>>,
    /// Number and sign of the last bound of each character's width.
    bounds: Vec<Option<(f64, char)>>,
    n_readings: u64,
    /// How many of them are of each kind of [`Other`].
    n_others: [u64; OTHERS.len()],
    previous: Option<Nanos>,
    distances_ns: Vec<i64>,
}

impl Plot {
    /// An empty plot, `width` characters wide with its labels.
    pub(super) fn new(range: Range, width: usize, unit: &str) -> Self {
        let width = width.saturating_sub(LABEL_WIDTH + 2).max(PLOT_WIDTH_MIN);
        Self {
            range,
            unit: unit.to_owned(),
            columns: vec![None; width * 2],
            bounds: vec![None; width],
            n_readings: 0,
            n_others: [0; OTHERS.len()],
            previous: None,
            distances_ns: Vec::new(),
        }
    }

    pub(super) fn n_readings(&self) -> u64 {
        self.n_readings
    }

    /// How many of the readings are no plain values; empty when all are. One that its device doubts may be of another kind, too.
    pub(super) fn others(&self) -> String {
        let told = OTHERS.iter().filter_map(|(kind, one, many)| match self.n_others[*kind as usize] {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Counts a reading that has no place on an axis.
    pub(super) fn count(&mut self) {
        self.n_readings += 1;
    }

    /// Counts what is known against a reading. Whether that leaves it no place on the axis, which it would set: then it is counted
    /// as a reading, too.
    pub(super) fn count_doubts(&mut self, quality: Quality) -> bool {
        let kinds = [
            (Quality::ENTERED_IN_ERROR, Other::InError),
            (Quality::SUSPECT_UNIT, Other::SuspectUnit),
            (Quality::IMPLAUSIBLE, Other::Implausible),
        ];
        if let Some((_, kind)) = kinds.into_iter().find(|(mark, _)| quality.has(*mark)) {
            self.count_other(kind);
            return true;
        }
        self.n_others[Other::Questionable as usize] += u64::from(quality.has(Quality::QUESTIONABLE));
        false
    }

    fn count_other(&mut self, kind: Other) {
        self.n_others[kind as usize] += 1;
        self.count();
    }

    /// Counts a reading that is a code.
    pub(super) fn count_code(&mut self) {
        self.count_other(Other::Code);
    }

    /// Counts a reading without a value.
    pub(super) fn count_absent(&mut self) {
        self.count_other(Other::Absent);
    }

    /// Adds a bound, whose sign stands at its number.
    pub(super) fn add_bound(&mut self, at: Nanos, comparator: Option<Comparator>, number: f64) {
        if !self.range.contains(at) {
            return;
        }
        self.count_other(Other::Bound);
        if !number.is_finite() {
            return;
        }
        let sign = match comparator {
            Some(Comparator::Less | Comparator::LessOrEqual) => '<',
            Some(Comparator::GreaterOrEqual | Comparator::Greater) => '>',
            None => '?',
        };
        let cell = self.dot_column(at) / 2;
        self.bounds[cell] = Some((number, sign));
    }

    /// Where a reading that lasts has its place: one that began before the range and reaches into it, at the range's beginning.
    pub(super) fn place(&self, at: Nanos, until: Nanos) -> Nanos {
        if until > self.range.from() { at.max(self.range.from()) } else { at }
    }

    /// Whether an instant lies in the range.
    pub(super) fn shows(&self, at: Nanos) -> bool {
        self.range.contains(at)
    }

    /// Adds a reading of one value; what lies outside of the range is left out.
    pub(super) fn add(&mut self, at: Nanos, value: f64) {
        self.add_between(at, value, value);
    }

    /// Adds one reading whose values lie between two, as a waveform's do.
    pub(super) fn add_between(&mut self, at: Nanos, low: f64, high: f64) {
        if !self.range.contains(at) || !low.is_finite() || !high.is_finite() {
            return;
        }
        self.n_readings += 1;
        let previous = self.previous.replace(at);
        if let Some(distance) = previous.map(|previous| at.0.saturating_sub(previous.0))
            && distance > 0
            && self.distances_ns.len() < DISTANCES_MAX
        {
            self.distances_ns.push(distance);
        }
        let i = self.dot_column(at);
        let (first, last) = ((at, low), (at, high));
        let column = self.columns[i].get_or_insert(Column { low, high, first, last });
        column.low = column.low.min(low);
        column.high = column.high.max(high);
        if at < column.first.0 {
            column.first = first;
        }
        if at >= column.last.0 {
            column.last = last;
        }
    }

    /// The plot with its axes; one line when there is nothing to draw, saying so and what there is.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some((low, high)) = self.span() else {
            let others = self.others();
            let there_is = if others.is_empty() { String::new() } else { format!(": {others}") };
            return vec![format!("  nothing that can be drawn{there_is}")];
        };
        let dots = self.dots(low, high);
        let mut lines = Vec::with_capacity(HEIGHT + 2);
        for row in 0..HEIGHT {
            let label = match row {
                0 => label(high),
                _ if row == HEIGHT - 1 => label(low),
                1 => self.unit.chars().take(LABEL_WIDTH).collect(),
                _ => String::new(),
            };
            let tick = if row == 0 || row == HEIGHT - 1 { '┤' } else { '│' };
            let bound = |cell: usize| {
                let (number, sign) = self.bounds[cell]?;
                (HEIGHT - 1 - dot_row(number, low, high) / 4 == row).then_some(sign)
            };
            let drawn = |cell: usize| bound(cell).unwrap_or_else(|| braille(&dots, row, cell));
            let cells: String = (0..self.bounds.len()).map(drawn).collect();
            lines.push(format!("{label:>LABEL_WIDTH$} {tick}{cells}"));
        }
        lines.push(format!("{:LABEL_WIDTH$} └{}", "", "─".repeat(self.columns.len() / 2)));
        lines.push(format!("{:LABEL_WIDTH$}  {}", "", self.time_labels()));
        lines
    }

    /// Lowest and highest value of the axis.
    fn span(&self) -> Option<(f64, f64)> {
        let columns = self.columns.iter().flatten().map(|column| (column.low, column.high));
        let ends = columns.chain(self.bounds.iter().flatten().map(|(number, _)| (*number, *number)));
        let (low, high) = ends.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))?;
        // a flat line lies in the middle
        Some(if high > low { (low, high) } else { (low - 1.0, high + 1.0) })
    }

    /// `dots[column][row]`, rows from the bottom: each column from its lowest to its highest value, and lines between
    /// columns that belong together.
    fn dots(&self, low: f64, high: f64) -> Vec<[bool; DOT_ROWS]> {
        let row = |value: f64| dot_row(value, low, high);
        let mut dots = vec![[false; DOT_ROWS]; self.columns.len()];
        let gap_ns = self.gap_ns();
        let mut before: Option<(usize, Column)> = None;
        for (i, column) in self.columns.iter().enumerate() {
            let Some(column) = column else { continue };
            dots[i][row(column.low)..=row(column.high)].fill(true);
            if let Some((j, left)) = before
                && (j + 1 == i || column.first.0.0.saturating_sub(left.last.0.0) <= gap_ns)
            {
                let steps = (i - j) as f64;
                let mut from = row(left.last.1);
                for step in 1..=i - j {
                    let share = step as f64 / steps;
                    let to = row(left.last.1 + (column.first.1 - left.last.1) * share);
                    dots[j + step][from.min(to)..=from.max(to)].fill(true);
                    from = to;
                }
            }
            before = Some((i, *column));
        }
        dots
    }

    /// Longer than this without a reading is a gap.
    fn gap_ns(&self) -> i64 {
        let mut distances = self.distances_ns.clone();
        distances.sort_unstable();
        distances.get(distances.len() / 2).map_or(0, |usual| usual.saturating_mul(GAP))
    }

    fn dot_column(&self, at: Nanos) -> usize {
        let span = (self.range.to().0 as f64 - self.range.from().0 as f64).max(1.0);
        let share = (at.0 as f64 - self.range.from().0 as f64) / span;
        ((share * self.columns.len() as f64) as usize).min(self.columns.len() - 1)
    }

    /// Start, middle and end below the axis.
    fn time_labels(&self) -> String {
        let (from, to) = (self.range.from(), self.range.to());
        let span_ns = to.0.saturating_sub(from.0);
        let width = self.columns.len() / 2;
        let [start, middle, end] = [from, from.plus(span_ns / 2), to].map(|at| when::label(at, span_ns));
        if width < start.len() + middle.len() + end.len() + 2 {
            return format!("{start}{end:>room$}", room = width.saturating_sub(start.len()));
        }
        let before = (width / 2).saturating_sub(start.len() + middle.len() / 2);
        let text = format!("{start}{:before$}{middle}", "");
        format!("{text}{end:>room$}", room = width - text.len())
    }
}

/// The row of dots of a value, from the bottom of an axis.
fn dot_row(value: f64, low: f64, high: f64) -> usize {
    (((value - low) / (high - low)) * (DOT_ROWS - 1) as f64).round() as usize
}

/// A number in at most nine characters.
fn label(value: f64) -> String {
    let short = format!("{}", (value * 100.0).round() / 100.0);
    if short.len() <= LABEL_WIDTH { short } else { format!("{value:.2e}") }
}

fn braille(dots: &[[bool; DOT_ROWS]], row: usize, cell: usize) -> char {
    // the bits of U+2800: dots 1-2-3-7 on the left, 4-5-6-8 on the right, from the top
    const BITS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    let mut bits = 0;
    for (side, column) in BITS.iter().enumerate() {
        for (line, bit) in column.iter().enumerate() {
            if dots[cell * 2 + side][DOT_ROWS - 1 - (row * 4 + line)] {
                bits |= bit;
            }
        }
    }
    char::from_u32(0x2800 + bits).unwrap_or(' ')
}

#[cfg(test)]
mod tests;
