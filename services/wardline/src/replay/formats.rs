//! The four formats: each turns one document into readings of a [`Recording`].

use super::{
    eicu,
    mapping::{Item, Mapping, Skip, Written},
    recording::{Recording, Row},
    source,
    table::{self, Table, field, optional},
};
use anyhow::{Result, bail};
use csv::ByteRecord;
use std::{collections::HashMap, io::Read, path::Path};

/// A format of recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// MIMIC-III (or -IV) CHARTEVENTS.
    Mimic,
    /// eICU: vitalPeriodic, vitalAperiodic, respiratoryCharting, or hourly vital signs made of them.
    Eicu,
    /// Continuous glucose: columns id, time, gl.
    Cgm,
    /// PhysioNet/CinC Challenge 2012: one text file a stay.
    Physionet2012,
}

impl Format {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mimic => "mimic",
            Self::Eicu => "eicu",
            Self::Cgm => "cgm",
            Self::Physionet2012 => "physionet2012",
        }
    }

    /// What patients and devices of this format are called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mimic => "MIMIC-III",
            Self::Eicu => "eICU",
            Self::Cgm => "CGM",
            Self::Physionet2012 => "PhysioNet 2012",
        }
    }

    /// Whether its times are dates, and not only lengths of time since admission.
    pub fn has_dates(self) -> bool {
        matches!(self, Self::Mimic | Self::Cgm)
    }

    /// Whether it says when a reading arrived.
    pub fn has_arrival(self) -> bool {
        matches!(self, Self::Mimic | Self::Eicu)
    }

    fn wants(self, name: &str) -> bool {
        match self {
            Self::Mimic => name.starts_with("chartevents") && name.ends_with(".csv"),
            Self::Eicu => eicu::TABLES.iter().any(|table| name.starts_with(table)) && name.ends_with(".csv"),
            Self::Cgm => name.ends_with(".csv"),
            Self::Physionet2012 => name.ends_with(".txt") && !name.starts_with("outcomes"),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Mimic => "chartevents*.csv[.gz|.zst]",
            Self::Eicu => {
                "vitalPeriodic*.csv, vitalAperiodic*.csv, respiratoryCharting*.csv or hourly_vitals*.csv[.gz|.zst]"
            }
            Self::Cgm => "*.csv[.gz|.zst]",
            Self::Physionet2012 => "*.txt[.gz|.zst] (one a stay), nor a .tar[.gz|.zst] of them",
        }
    }

    /// Reads a file, folder or archive.
    pub fn read(self, path: &Path, mapping: &Mapping) -> Result<Recording> {
        let mut recording = Recording::default();
        let wanted = |name: &str| self.wants(name);
        recording.files = source::each(path, &wanted, self.expected(), &mut |name, text| match self {
            Self::Mimic => mimic(name, text, mapping, &mut recording),
            Self::Eicu => eicu::read(name, text, mapping, &mut recording),
            Self::Cgm => cgm(name, text, mapping, &mut recording),
            Self::Physionet2012 => physionet(name, text, mapping, &mut recording),
        })?;
        Ok(recording)
    }
}

/// A row that may turn out to be none: counts the reason.
pub(super) fn keep(recording: &mut Recording, patient: &str, source: &'static str, row: Result<Row, Skip>) {
    match row {
        Ok(_) if patient.is_empty() => recording.tally.skip(Skip::NoPatient),
        Ok(row) => recording.push(patient, source, row),
        Err(reason) => recording.tally.skip(reason),
    }
}

/// The item that a row names; a row without one is counted.
pub(super) fn known<'i>(
    recording: &mut Recording,
    items: &'i HashMap<String, Item>,
    name: Result<&str, Skip>,
) -> Option<&'i Item> {
    match name.map(|name| (name, items.get(name))) {
        Ok((_, Some(item))) => return Some(item),
        Ok((name, None)) => recording.tally.unmapped(name),
        Err(reason) => recording.tally.skip(reason),
    }
    None
}

/// When a value arrived; as it was measured, where that is not said.
pub(super) fn arrival(written: &str, measured_ns: i64, time: impl Fn(&str) -> Result<i64, Skip>) -> Result<i64, Skip> {
    if written.is_empty() { Ok(measured_ns) } else { time(written) }
}

fn mimic(name: &str, text: &mut dyn Read, mapping: &Mapping, recording: &mut Recording) -> Result<()> {
    let items = mapping.section("mimic")?;
    let mut table = Table::open(name, text)?;
    let (subject, item, measured, arrived) =
        (table.need("subject_id")?, table.need("itemid")?, table.need("charttime")?, table.need("storetime")?);
    let (value, number, unit) = (table.need("value")?, table.need("valuenum")?, table.need("valueuom")?);
    let (warning, error) = (table.find("warning"), table.find("error"));
    let mut row = ByteRecord::new();
    while table.next(&mut row)? {
        let Some(item) = known(recording, items, field(&row, item)) else { continue };
        let read = || {
            let measured_ns = table::instant(field(&row, measured)?)?;
            let arrived_ns = arrival(field(&row, arrived)?, measured_ns, table::instant)?;
            let written = Written { text: field(&row, value)?, number: field(&row, number)?, unit: field(&row, unit)? };
            let (questionable, entered_in_error) = (optional(&row, warning) == "1", optional(&row, error) == "1");
            let charted = Row::charted(measured_ns, item.judge(written)?);
            Ok(Row { arrived_ns, questionable, entered_in_error, ..charted })
        };
        keep(recording, field(&row, subject).unwrap_or(""), item.source, read());
    }
    Ok(())
}

fn cgm(name: &str, text: &mut dyn Read, mapping: &Mapping, recording: &mut Recording) -> Result<()> {
    let items = mapping.section("cgm")?;
    let mut table = Table::open(name, text)?;
    let (person, time) = (table.need("id")?, table.need("time")?);
    let mut values = Vec::new();
    for (column, item) in items {
        values.push((table.need(column)?, item));
    }
    let mut row = ByteRecord::new();
    while table.next(&mut row)? {
        for (value, item) in &values {
            let read = || {
                let measured_ns = table::instant(field(&row, time)?)?;
                let judged = item.judge(Written::alone(field(&row, *value)?))?;
                Ok(Row::charted(measured_ns, judged))
            };
            keep(recording, field(&row, person).unwrap_or(""), item.source, read());
        }
    }
    Ok(())
}

fn physionet(name: &str, text: &mut dyn Read, mapping: &Mapping, recording: &mut Recording) -> Result<()> {
    let items = mapping.section("physionet2012")?;
    let mut table = Table::open(name, text)?;
    let (time, parameter, value) = (table.need("time")?, table.need("parameter")?, table.need("value")?);
    // a stay is at most some thousand short rows; its number stands in one of them
    let mut rows = Vec::new();
    let mut row = ByteRecord::new();
    while table.next(&mut row)? {
        rows.push(std::mem::take(&mut row));
    }
    let stated = rows.iter().find(|row| field(row, parameter) == Ok("RecordID")).map(|row| field(row, value));
    let stay = match stated {
        Some(Ok(number)) if !number.is_empty() => number.to_owned(),
        _ => stem(name)?,
    };
    for row in &rows {
        let Some(item) = known(recording, items, field(row, parameter)) else { continue };
        let read = || {
            let measured_ns = hours_and_minutes(field(row, time)?)?;
            let judged = item.judge(Written::alone(field(row, value)?))?;
            Ok(Row::charted(measured_ns, judged))
        };
        keep(recording, &stay, item.source, read());
    }
    Ok(())
}

/// File name without folder and endings.
fn stem(name: &str) -> Result<String> {
    let file = name.rsplit(['/', '\\', ':']).next().unwrap_or(name);
    match file.split('.').next() {
        Some(stem) if !stem.is_empty() => Ok(stem.to_owned()),
        _ => bail!("{name}: neither a RecordID in it nor a file name to tell the stay by"),
    }
}

/// Nanoseconds of `hh:mm` since admission; hours go on past 24.
fn hours_and_minutes(text: &str) -> Result<i64, Skip> {
    let (hours, rest) = text.split_once(':').ok_or(Skip::BadTime)?;
    let hours: u16 = hours.parse().map_err(|_| Skip::BadTime)?;
    let rest: u16 = rest.parse().map_err(|_| Skip::BadTime)?;
    if rest >= 60 {
        return Err(Skip::BadTime);
    }
    Ok((i64::from(hours) * 60 + i64::from(rest)) * 60_000_000_000)
}
