//! CSV by column names: order does not matter, extra columns are ignored, a missing one is an error that names it.

use super::mapping::Skip;
use anyhow::{Context, Result, bail};
use csv::ByteRecord;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use std::io::Read;

/// A CSV document that is being read.
pub struct Table<'a> {
    name: &'a str,
    reader: csv::Reader<&'a mut dyn Read>,
    header: Vec<String>,
}

impl<'a> Table<'a> {
    /// Reads the header: names are compared in lower case, without blanks around them.
    pub fn open(name: &'a str, text: &'a mut dyn Read) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
        let header =
            reader.byte_headers().with_context(|| format!("{name}: the header cannot be read: cut off or damaged"))?;
        let header: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_lowercase())
            .collect();
        if header.iter().all(String::is_empty) {
            bail!("{name}: the file is empty, there is no header");
        }
        Ok(Self { name, reader, header })
    }

    /// The column's place, if it is there.
    pub fn find(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|name| name == column)
    }

    /// Index of a column; an error names the one that is missing.
    pub fn need(&self, column: &str) -> Result<usize> {
        self.find(column).with_context(|| {
            format!("{}: column `{column}` is missing; the header is `{}`", self.name, self.header.join(","))
        })
    }

    /// The columns' names, in lower case.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The next row; `false` at the end. A row that is no CSV is none; a file that cannot be read further is an error.
    pub fn next(&mut self, row: &mut ByteRecord) -> Result<bool> {
        let line = self.reader.position().line();
        self.reader.read_byte_record(row).with_context(|| {
            format!("{}: cannot be read after line {line}: cut off or damaged; nothing was sent", self.name)
        })
    }
}

/// The text of a field; an absent one is a short row.
pub fn field(row: &ByteRecord, place: usize) -> Result<&str, Skip> {
    let bytes = row.get(place).ok_or(Skip::ShortRow)?;
    std::str::from_utf8(bytes).map(str::trim).map_err(|_| Skip::NotText)
}

/// The text of a field of a column that may not be there.
pub fn optional(row: &ByteRecord, place: Option<usize>) -> &str {
    place.and_then(|place| field(row, place).ok()).unwrap_or("")
}

/// Nanoseconds since 1970 of a time without zone (read as UTC) or with an offset.
pub fn instant(text: &str) -> Result<i64, Skip> {
    let text = &*model::exact_time(text).ok_or(Skip::BadTime)?;
    // a date alone has ten characters; whatever sign comes after it belongs to an offset
    let has_offset = text.get(10..).is_some_and(|time| time.contains(['Z', 'z', '+', '-']));
    let instant = if has_offset {
        text.parse::<Timestamp>().map_err(|_| Skip::BadTime)?
    } else {
        let civil: DateTime = text.parse().map_err(|_| Skip::BadTime)?;
        civil.to_zoned(TimeZone::UTC).map_err(|_| Skip::BadTime)?.timestamp()
    };
    i64::try_from(instant.as_nanosecond()).map_err(|_| Skip::BadTime)
}

/// Nanoseconds of a number of minutes.
pub fn minutes(text: &str) -> Result<i64, Skip> {
    const NANOS_PER_MINUTE: f64 = 60e9;
    /// A century: no stay is longer, and sums with it cannot overflow.
    const MINUTES_MAX: f64 = 52_600_000.0;
    let minutes: f64 = text.parse().map_err(|_| Skip::BadTime)?;
    if !minutes.is_finite() || minutes.abs() > MINUTES_MAX {
        return Err(Skip::BadTime);
    }
    Ok((minutes * NANOS_PER_MINUTE).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_zone() {
        assert_eq!(instant("1970-01-01 00:00:01"), Ok(1_000_000_000));
        assert_eq!(instant("1970-01-01T01:00:01+01:00"), Ok(1_000_000_000));
        assert_eq!(instant("1970-01-02"), Ok(86_400_000_000_000));
        assert_eq!(instant("1970-01-01 00:00:01.5Z"), Ok(1_500_000_000));
        assert_eq!(instant("2016-12-31 23:59:60"), Ok(1_483_228_800_000_000_000));
        assert_eq!(instant("2016-12-31T18:59:60.5-05:00"), Ok(1_483_228_800_500_000_000));
        for cut in ["2026-01-31 08:00:60", "2026-01-31T08:00:60Z", "2026-01-31 08:00:00.1234567891"] {
            assert_eq!(instant(cut), Err(Skip::BadTime), "{cut}");
        }
        assert_eq!(instant("yesterday"), Err(Skip::BadTime));
        assert_eq!(instant("9999-01-01 00:00:00"), Err(Skip::BadTime));
        assert_eq!(minutes("-2.5"), Ok(-150_000_000_000));
        assert_eq!(minutes("1e30"), Err(Skip::BadTime));
        assert_eq!(minutes("nan"), Err(Skip::BadTime));
    }
}
