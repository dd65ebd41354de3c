//! A plot in braille dots: two columns and four rows to a character. Points go in, lines of text come out.

use super::when;
use model::{Nanos, Range};

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

/// Readings of one metric over a range of time.
#[derive(Debug)]
pub(super) struct Plot {
    range: Range,
    unit: String,
    columns: Vec<Option<Column>>,
    n_readings: u64,
    previous: Option<Nanos>,
    distances_ns: Vec<i64>,
}

impl Plot {
    /// An empty plot, `width` characters wide with its labels.
    pub(super) fn new(range: Range, width: usize, unit: &str) -> Self {
        let columns = vec![None; width.saturating_sub(LABEL_WIDTH + 2).max(PLOT_WIDTH_MIN) * 2];
        Self { range, unit: unit.to_owned(), columns, n_readings: 0, previous: None, distances_ns: Vec::new() }
    }

    pub(super) fn n_readings(&self) -> u64 {
        self.n_readings
    }

    /// Counts a reading that has no place on an axis.
    pub(super) fn count(&mut self) {
        self.n_readings += 1;
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

    /// The plot with its axes; one line saying so when there is nothing to draw.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some((low, high)) = self.span() else { return vec!["  nothing that can be drawn".to_owned()] };
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
            let cells: String = (0..self.columns.len() / 2).map(|cell| braille(&dots, row, cell)).collect();
            lines.push(format!("{label:>LABEL_WIDTH$} {tick}{cells}"));
        }
        lines.push(format!("{:LABEL_WIDTH$} └{}", "", "─".repeat(self.columns.len() / 2)));
        lines.push(format!("{:LABEL_WIDTH$}  {}", "", self.time_labels()));
        lines
    }

    /// Lowest and highest value of the axis.
    fn span(&self) -> Option<(f64, f64)> {
        let columns = || self.columns.iter().flatten();
        let low = columns().map(|column| column.low).reduce(f64::min)?;
        let high = columns().map(|column| column.high).reduce(f64::max)?;
        // a flat line lies in the middle
        Some(if high > low { (low, high) } else { (low - 1.0, high + 1.0) })
    }

    /// `dots[column][row]`, rows from the bottom: each column from its lowest to its highest value, and lines between
    /// columns that belong together.
    fn dots(&self, low: f64, high: f64) -> Vec<[bool; DOT_ROWS]> {
        let row = |value: f64| (((value - low) / (high - low)) * (DOT_ROWS - 1) as f64).round() as usize;
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
mod tests {
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
}
