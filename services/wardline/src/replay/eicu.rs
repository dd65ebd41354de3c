//! eICU: its own tables of vital signs, what its respiratory therapists chart, and hourly tables that others made of them.

use super::{
    formats::{arrival, keep, known},
    mapping::{Item, Mapping, Skip, Written},
    recording::{Recording, Row},
    table::{self, Table, field},
};
use anyhow::Result;
use csv::ByteRecord;
use std::{collections::HashMap, io::Read};

/// How the names of its files begin, in lower case.
pub const TABLES: [&str; 4] = ["vitalperiodic", "vitalaperiodic", "respiratorycharting", "hourly_vitals"];

/// A table with a column for each item.
struct Wide {
    section: &'static str,
    stay: &'static str,
    minutes: &'static str,
    /// Numbers the rows and is nothing measured.
    number: Option<&'static str>,
}

const HOURLY: Wide = Wide { section: "eicu_hourly", stay: "stay_id", minutes: "time_min", number: None };
const PERIODIC: Wide = Wide {
    section: "eicu_periodic",
    stay: "patientunitstayid",
    minutes: "observationoffset",
    number: Some("vitalperiodicid"),
};
const APERIODIC: Wide = Wide { section: "eicu_aperiodic", number: Some("vitalaperiodicid"), ..PERIODIC };

/// Reads one of the tables, which is told by its columns.
pub fn read(name: &str, text: &mut dyn Read, mapping: &Mapping, recording: &mut Recording) -> Result<()> {
    let table = Table::open(name, text)?;
    let has = |start: &str| table.header().iter().any(|column| column.starts_with(start));
    if has("respchart") {
        return respiratory(table, mapping.section("eicu_respiratory")?, recording);
    }
    // without their number the columns that only one of the two has tell
    let kind = if has("vitalaperiodic") || has("noninvasive") {
        APERIODIC
    } else if has("vitalperiodic") || has("observationoffset") {
        PERIODIC
    } else {
        HOURLY
    };
    wide(table, &kind, mapping.section(kind.section)?, recording)
}

fn wide(mut table: Table<'_>, kind: &Wide, items: &HashMap<String, Item>, recording: &mut Recording) -> Result<()> {
    let (stay, time) = (table.need(kind.stay)?, table.need(kind.minutes)?);
    let number = kind.number.and_then(|column| table.find(column));
    let mut columns: Vec<_> = items.keys().collect();
    columns.sort();
    for column in columns {
        table.need(column)?;
    }
    let header = table.header().to_vec();
    let mut row = ByteRecord::new();
    while table.next(&mut row)? {
        if row.len() < header.len() {
            recording.tally.skip(Skip::ShortRow);
            continue;
        }
        let patient = field(&row, stay).unwrap_or("");
        let measured = field(&row, time).and_then(table::minutes);
        for (place, column) in header.iter().enumerate() {
            let cell = field(&row, place);
            // an empty cell is nothing measured, not a reading without value
            if [Some(stay), Some(time), number].contains(&Some(place)) || cell == Ok("") {
                continue;
            }
            let Some(item) = known(recording, items, Ok(column)) else { continue };
            let read = || Ok(Row::charted(measured?, item.judge(Written::alone(cell?))?));
            keep(recording, patient, item.source, read());
        }
    }
    Ok(())
}

fn respiratory(mut table: Table<'_>, items: &HashMap<String, Item>, recording: &mut Recording) -> Result<()> {
    let (stay, label, value) =
        (table.need("patientunitstayid")?, table.need("respchartvaluelabel")?, table.need("respchartvalue")?);
    let (measured, arrived) = (table.need("respchartoffset")?, table.need("respchartentryoffset")?);
    let mut row = ByteRecord::new();
    while table.next(&mut row)? {
        let Some(item) = known(recording, items, field(&row, label)) else { continue };
        let read = || {
            let measured_ns = table::minutes(field(&row, measured)?)?;
            let arrived_ns = arrival(field(&row, arrived)?, measured_ns, table::minutes)?;
            let judged = item.judge(Written::alone(field(&row, value)?))?;
            Ok(Row { arrived_ns, ..Row::charted(measured_ns, judged) })
        };
        keep(recording, field(&row, stay).unwrap_or(""), item.source, read());
    }
    Ok(())
}
