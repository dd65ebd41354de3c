//! `wardline simulate prescribers`: made-up rows of Medicare Part D by prescriber and drug, as many as the real file has.
//!
//! A prescriber has a city (by its population, of the sample of cities), a specialty, years of experience and some drugs.
//! Counts below 11 are blank, as the publisher withholds them. The same seed gives the same file.

use super::patient::mix;
use crate::opening;
use anyhow::{Context, ensure};
use std::{
    io::{BufWriter, Write},
    num::NonZeroU64,
    path::PathBuf,
};

/// Cities, with state and population.
const CITIES: &[u8] = include_bytes!("../../../analytics/samples/cities.csv.zst");
/// Most drugs of one prescriber; half of it is the mean, about that of the real file.
const DRUGS_MAX: u64 = 45;
/// Of so many people one is a prescriber: a city with fewer has one, too.
const PEOPLE: u64 = 300;
/// Counts below it are blank.
const LEAST: u64 = 11;

const SPECIALTIES: [&str; 12] = [
    "Internal Medicine",
    "Family Practice",
    "Nurse Practitioner",
    "Physician Assistant",
    "Cardiology",
    "Psychiatry",
    "Neurology",
    "Dentist",
    "Ophthalmology",
    "Emergency Medicine",
    "Nephrology",
    "Obstetrics & Gynecology",
];

/// Brand, substance, and what a day of it costs in cents.
const DRUGS: [(&str, &str, u64); 16] = [
    ("GABAPENTIN", "GABAPENTIN", 41),
    ("PREDNISONE", "PREDNISONE", 18),
    ("LISINOPRIL", "LISINOPRIL", 9),
    ("HYDROCODONE-ACETAMINOPHEN", "HYDROCODONE/ACETAMINOPHEN", 95),
    ("AMLODIPINE BESYLATE", "AMLODIPINE BESYLATE", 11),
    ("ELIQUIS", "APIXABAN", 1_350),
    ("MELOXICAM", "MELOXICAM", 12),
    ("ATORVASTATIN CALCIUM", "ATORVASTATIN CALCIUM", 25),
    ("WARFARIN SODIUM", "WARFARIN SODIUM", 22),
    ("SPIRIVA", "TIOTROPIUM BROMIDE", 1_180),
    ("METOPROLOL SUCCINATE", "METOPROLOL SUCCINATE", 62),
    ("TRAMADOL HCL", "TRAMADOL HCL", 24),
    ("SIMVASTATIN", "SIMVASTATIN", 13),
    ("NEXIUM", "ESOMEPRAZOLE MAGNESIUM", 810),
    ("METFORMIN HCL", "METFORMIN HCL", 16),
    ("FUROSEMIDE", "FUROSEMIDE", 10),
];

const HEADINGS: &str = "npi,nppes_provider_last_org_name,nppes_provider_first_name,nppes_provider_city,nppes_provider_state,\
specialty_description,description_flag,drug_name,generic_name,bene_count,total_claim_count,total_30_day_fill_count,\
total_day_supply,total_drug_cost,bene_count_ge65,bene_count_ge65_suppress_flag,total_claim_count_ge65,ge65_suppress_flag,\
total_30_day_fill_count_ge65,total_day_supply_ge65,total_drug_cost_ge65,years_of_exp";

/// Options of `wardline simulate prescribers`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Rows, one for each prescriber and drug; the real file of a year has 25 million.
    #[arg(long, default_value = "100000")]
    pub rows: NonZeroU64,
    /// The same seed gives the same rows.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// File to write: `.csv`, or `.csv.zst`, packed.
    #[arg(long, default_value = "prescribers.csv", value_name = "FILE")]
    pub to: PathBuf,
}

/// Writes the file.
///
/// # Errors
/// Another ending; what the disk says.
pub fn write(options: &Options) -> anyhow::Result<()> {
    let path = options.to.as_path();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ensure!(["csv", "zst"].contains(&ending), "{}: its name must end with .csv or .csv.zst", path.display());
    let failed = || path.display().to_string();
    let file = BufWriter::with_capacity(1 << 20, opening::create(path).with_context(failed)?);
    let written = match ending {
        "zst" => zstd::Encoder::new(file, 1).and_then(|packed| write_rows(options, packed.auto_finish())),
        _ => write_rows(options, file),
    };
    written.with_context(failed)
}

fn write_rows(options: &Options, mut to: impl Write) -> std::io::Result<()> {
    let cities = Cities::of_the_sample()?;
    writeln!(to, "{HEADINGS}")?;
    let mut left = options.rows.get();
    for number in 0.. {
        let prescriber = Prescriber::new(mix(options.seed ^ mix(number)), number, &cities);
        for drug in 0..prescriber.drugs.min(left) {
            prescriber.write(drug, &mut to)?;
        }
        left = left.saturating_sub(prescriber.drugs);
        if left == 0 {
            break;
        }
    }
    to.flush()
}

/// Names of cities, each with the number of prescribers up to it.
struct Cities {
    all: Vec<(u64, String, String)>,
}

impl Cities {
    fn of_the_sample() -> std::io::Result<Self> {
        let mut rows = csv::Reader::from_reader(zstd::Decoder::new(CITIES)?);
        let (mut all, mut sum) = (Vec::new(), 0);
        for row in rows.records() {
            let row = row?;
            let field = |place: usize| row.get(place).unwrap_or_default();
            let population: u64 = field(8).parse().unwrap_or_default();
            sum += (population / PEOPLE).max(1);
            all.push((sum, field(1).to_uppercase(), field(2).to_owned()));
        }
        Ok(Self { all })
    }

    fn pick(&self, random: u64) -> (&str, &str) {
        let sum = self.all.last().map_or(1, |(sum, ..)| *sum);
        let place = self.all.partition_point(|(up_to, ..)| *up_to <= random % sum);
        self.all.get(place).map_or(("", ""), |(_, city, state)| (city, state))
    }
}

struct Prescriber<'c> {
    /// What all of it follows from.
    seed: u64,
    npi: u64,
    number: u64,
    city: &'c str,
    state: &'c str,
    drugs: u64,
    years: u64,
}

impl<'c> Prescriber<'c> {
    fn new(seed: u64, number: u64, cities: &'c Cities) -> Self {
        let (city, state) = cities.pick(mix(seed ^ 1));
        let drugs = 1 + mix(seed ^ 2) % DRUGS_MAX;
        // the first three quarters of the numbers that there are, ascending as in the real file
        let npi = with_check_digit(100_000_000 + number % 75_000_000);
        Self { seed, npi, number, city, state, drugs, years: mix(seed ^ 3) % 56 }
    }

    /// A row. Claims are spread over orders of magnitude.
    fn write(&self, drug: u64, to: &mut impl Write) -> std::io::Result<()> {
        let Self { seed, npi, number, city, state, years, .. } = self;
        let random = |what: u64| mix(seed ^ mix(what << 32 | drug));
        let specialty = SPECIALTIES[(mix(seed ^ 4) % SPECIALTIES.len() as u64) as usize];
        let (brand, substance, cents) = DRUGS[(random(1) % DRUGS.len() as u64) as usize];
        let claims = LEAST + (random(2) % 8 + 1) * (random(3) % (1 << (random(4) % 7)));
        let days = claims * (30 + 30 * (random(5) % 2));
        let (people, old) = (claims / 3, claims * (random(6) % 5) / 4);
        let cost = days * cents;
        let shown = |count: u64| if count < LEAST { String::new() } else { count.to_string() };
        write!(
            to,
            "{npi},NAME{number},GIVEN{given},{city},{state},{specialty},S,{brand},{substance},{people},{claims},{fills}.0,{days},",
            given = number % 997,
            people = shown(people),
            fills = days / 30,
        )?;
        write!(to, "{}.{:02},", cost / 100, cost % 100)?;
        if old < LEAST {
            write!(to, ",*,,*,,,,")?;
        } else {
            let (days, cost) = (days / claims * old, days / claims * old * cents);
            write!(to, ",*,{old},,{}.0,{days},{}.{:02},", days / 30, cost / 100, cost % 100)?;
        }
        writeln!(to, "= {years}.0")
    }
}

/// The ten digits of an identifier whose first nine are these: Luhn's check digit, with 80840 before them.
fn with_check_digit(nine: u64) -> u64 {
    let mut rest = nine;
    let mut sum = 24;
    for place in 0..9 {
        let digit = rest % 10;
        let digit = if place % 2 == 0 { digit * 2 } else { digit };
        sum += digit / 10 + digit % 10;
        rest /= 10;
    }
    nine * 10 + (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: u64, seed: u64) -> String {
        let options = Options { rows: NonZeroU64::new(rows).unwrap(), seed, to: PathBuf::new() };
        let mut text = Vec::new();
        write_rows(&options, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_rows_and_as_many_as_are_asked_for() {
        let rows = text(5_000, 1);
        assert_eq!(rows.lines().count(), 5_001);
        assert_eq!(rows, text(5_000, 1));
        assert_ne!(rows, text(5_000, 2));
        let mut reader = csv::Reader::from_reader(rows.as_bytes());
        let all: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let different = |place| all.iter().map(|row| &row[place]).collect::<std::collections::HashSet<_>>().len();
        assert!((150..400).contains(&different(0)), "prescribers");
        assert!(different(3) > 50, "cities");
        assert!(all.iter().all(|row| row[10].parse::<u64>().unwrap() >= LEAST));
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("made.csv");
        assert!(std::process::Command::new("mkfifo").arg(&to).status().unwrap().success());
        let error = format!("{:#}", write(&Options { rows: NonZeroU64::MIN, seed: 1, to }).unwrap_err());
        assert!(error.contains("made.csv: it is a pipe; give"), "{error}");
    }

    #[test]
    fn check_digits_are_those_of_the_standard() {
        // the example of the standard
        assert_eq!(with_check_digit(123_456_789), 1_234_567_893);
    }
}
