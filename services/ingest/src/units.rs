//! From a unit as a device writes it to the factor that makes a value canonical.
//!
//! A unit means what the catalogue says (canonical unit, reviewed alias, the metric's own factors), and after that
//! what UCUM says; nothing else is tried, and a unit of another dimension is refused. The answer is kept per
//! metric and spelling, so the library (microseconds) is asked once and not per reading.

use model::{Factor, Metric, metrics, quoted, unit_alias};
use octofhir_ucum::{UnitExpr, convert_with_context, evaluate, parse_expression};
use std::{
    borrow::Cow,
    sync::{OnceLock, PoisonError, RwLock},
};

/// Longest unit that is parsed: UCUM codes in use have at most about 20 bytes, with an annotation about 40.
pub const UNIT_MAX_BYTES: usize = 64;

/// Spellings of a metric that are remembered for good, without a lock. Real devices use two or three.
pub const SPELLINGS_FIRST: usize = 8;

/// Most spellings of a metric remembered after those. A device that invents new ones (`{a1}/min`, `{a2}/min` ...)
/// empties this list each time it is full: it costs others a look-up each, never memory.
pub const SPELLINGS_MAX: usize = 32;

/// A unit and the one a factor of the catalogue is for (umol/L, mmol/L) are at most this far apart. UCUM counts a mole
/// as a pure number, so `/L` would be mmol/L divided by 6e20: true, and never meant.
const FACTOR_SPAN: f64 = 1e9;

/// Below this difference from 1 (scale) and 0 (offset) a conversion changes nothing.
const IDENTITY_TOLERANCE: f64 = 1e-12;

/// LOINC codes that are synonyms of a mass concentration, and themselves mean an amount of substance.
const MOLAR_KEYS: [&str; 2] = ["14743-9", "105272-9"];

/// Why a unit was refused. Texts from the device are quoted, escaped and at most [`UNIT_MAX_BYTES`] long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Neither UCUM nor a known spelling.
    #[error("unit {} is neither a UCUM code nor a known spelling; send {}", quoted(unit), either(suggestions))]
    Unknown {
        /// As the device wrote it.
        unit: String,
        /// Units that the metric takes; the likeliest first.
        suggestions: Vec<&'static str>,
    },
    /// A unit, but of something else, or one without a linear scale.
    #[error("unit {} does not convert to the metric's unit; {}", quoted(unit), expected(canonical))]
    WrongDimension {
        /// As the device wrote it.
        unit: String,
        /// The metric's canonical unit; empty for one that has none.
        canonical: &'static str,
    },
}

fn either(units: &[&str]) -> String {
    if units.is_empty() { "no unit".to_owned() } else { units.join(" or ") }
}

fn expected(canonical: &str) -> String {
    if canonical.is_empty() {
        "it has none, leave the unit empty".to_owned()
    } else {
        format!("send {canonical}, or a unit that converts to it")
    }
}

/// The unit a reading is in: the one it states, or, when it states none, the one that its key implies.
///
/// Empty (the canonical unit) for all keys but the two LOINC codes of glucose by amount of substance: a CGM that
/// sends 105272-9 without a unit means mmol/L, and 5.5 taken as mg/dL would be a deadly, plausible value.
pub fn stated<'a>(key: &str, unit: &'a str) -> &'a str {
    if unit.is_empty() && MOLAR_KEYS.contains(&key) { "mmol/L" } else { unit }
}

type Spelling = (Box<str>, Factor);

/// The factors of one metric, by spelling.
#[derive(Default)]
struct Spellings {
    first: [OnceLock<Spelling>; SPELLINGS_FIRST],
    later: RwLock<Vec<Spelling>>,
}

impl Spellings {
    fn get(&self, unit: &str) -> Option<Factor> {
        for slot in &self.first {
            let (spelling, factor) = slot.get()?; // filled in order: nothing comes after an empty one
            if **spelling == *unit {
                return Some(*factor);
            }
        }
        let later = self.later.read().unwrap_or_else(PoisonError::into_inner);
        later.iter().find(|(spelling, _)| **spelling == *unit).map(|(_, factor)| *factor)
    }

    fn remember(&self, unit: &str, factor: Factor) {
        for slot in &self.first {
            let (spelling, _) = slot.get_or_init(|| (unit.into(), factor));
            if **spelling == *unit {
                return;
            }
        }
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        if later.iter().any(|(spelling, _)| **spelling == *unit) {
            return;
        }
        if later.len() >= SPELLINGS_MAX {
            later.clear();
        }
        later.push((unit.into(), factor));
    }
}

/// Resolves units and remembers them. Share one: what devices really send is found without a lock.
pub struct Units {
    /// By number of the metric.
    seen: Box<[Spellings]>,
}

impl Default for Units {
    fn default() -> Self {
        Self::new()
    }
}

impl Units {
    /// A converter that has seen no unit yet.
    pub fn new() -> Self {
        let size = metrics().last().map_or(0, |metric| usize::from(metric.id.0) + 1);
        Self { seen: (0..size).map(|_| Spellings::default()).collect() }
    }

    /// What makes a value in `unit` one in the metric's canonical unit. An empty unit is the canonical one.
    ///
    /// # Errors
    /// A unit that is not known, or that measures something else.
    pub fn factor(&self, metric: &Metric, unit: &str) -> Result<Factor, UnitError> {
        if unit.is_empty() || unit == metric.unit {
            return Ok(Factor::IDENTITY);
        }
        if unit.len() > UNIT_MAX_BYTES {
            return Err(unknown(metric, unit));
        }
        let Some(seen) = self.seen.get(usize::from(metric.id.0)) else { return resolve(metric, unit) };
        if let Some(factor) = seen.get(unit) {
            return Ok(factor);
        }
        let factor = resolve(metric, unit)?;
        seen.remember(unit, factor);
        Ok(factor)
    }
}

fn resolve(metric: &Metric, unit: &str) -> Result<Factor, UnitError> {
    let wrong = || UnitError::WrongDimension { unit: unit.to_owned(), canonical: metric.unit };
    if metric.unit.is_empty() {
        return Err(wrong());
    }
    let written = without_micro_sign(unit);
    let code = unit_alias(&written).unwrap_or(&written);
    if code == metric.unit {
        return Ok(Factor::IDENTITY);
    }
    if let Some((_, factor)) = metric.factors.iter().find(|(of, _)| *of == code) {
        return Ok(*factor);
    }
    let parsed = parse_expression(code).map_err(|_| unknown(metric, unit))?;
    evaluate(&parsed).map_err(|_| unknown(metric, unit))?;
    let through_factor = |(of, factor): &(&str, Factor)| {
        let step = linear(code, of)?;
        let near = step.offset == 0.0 && (FACTOR_SPAN.recip()..=FACTOR_SPAN).contains(&step.scale);
        near.then_some(Factor { scale: step.scale * factor.scale, offset: factor.offset })
    };
    let found = linear(code, metric.unit).or_else(|| metric.factors.iter().find_map(through_factor));
    let factor = found.ok_or_else(wrong)?;
    if (is_count(&parsed) || is_count_code(metric.unit)) && factor != Factor::IDENTITY {
        return Err(wrong()); // `{beats}` says neither `1` nor `%`, and no part of a score is a score
    }
    Ok(factor)
}

/// The micro sign (U+00B5) and the Greek letter that looks like it (U+03BC) are UCUM's `u`.
fn without_micro_sign(unit: &str) -> Cow<'_, str> {
    let is_micro = ['\u{b5}', '\u{3bc}'];
    if unit.contains(is_micro) { unit.replace(is_micro, "u").into() } else { unit.into() }
}

/// The affine conversion between two UCUM codes; `None` when they are not commensurable or it is not affine.
fn linear(from: &str, to: &str) -> Option<Factor> {
    const PROBE: f64 = 98.6; // neither a fixed point of a scale nor round
    let result = convert_with_context(PROBE, from, to, &Default::default()).ok()?;
    let factor = Factor { scale: result.factor?.to_f64(), offset: result.offset?.to_f64() };
    if !(factor.scale.is_finite() && factor.scale > 0.0 && factor.offset.is_finite()) {
        return None;
    }
    // the library says how; see that it also does what it says
    let precision = IDENTITY_TOLERANCE * (factor.offset.abs() + PROBE * factor.scale);
    let holds = (PROBE * factor.scale + factor.offset - result.value).abs() <= precision;
    let identity = (factor.scale - 1.0).abs() <= IDENTITY_TOLERANCE && factor.offset.abs() <= IDENTITY_TOLERANCE;
    holds.then_some(if identity { Factor::IDENTITY } else { factor })
}

/// Whether an expression is only annotations, with or without numbers: a count of something (`{steps}`, `1{beat}`).
fn is_count(expression: &UnitExpr) -> bool {
    match expression {
        UnitExpr::Annotation(_) => true,
        UnitExpr::Annotated(inner, _) => matches!(**inner, UnitExpr::Numeric(_)) || is_count(inner),
        UnitExpr::Reciprocal(inner) => is_count(inner),
        UnitExpr::Product(terms) => terms.iter().all(is_count),
        UnitExpr::Quotient(above, below) => is_count(above) && is_count(below),
        UnitExpr::Symbol(_) | UnitExpr::Numeric(_) | UnitExpr::Power(..) => false,
    }
}

fn is_count_code(unit: &str) -> bool {
    parse_expression(unit).is_ok_and(|expression| is_count(&expression))
}

fn unknown(metric: &Metric, unit: &str) -> UnitError {
    let shown = &unit[..unit.floor_char_boundary(UNIT_MAX_BYTES)];
    let trimmed = shown.trim();
    let spellings = [trimmed.to_owned(), trimmed.to_lowercase(), trimmed.to_uppercase()];
    let close = spellings.iter().find_map(|text| unit_alias(text)).filter(|code| linear(code, metric.unit).is_some());
    let usual = [metric.unit].into_iter().chain(metric.factors.iter().map(|(of, _)| *of));
    let mut suggestions: Vec<&'static str> = close.into_iter().chain(usual).filter(|code| !code.is_empty()).collect();
    suggestions.dedup();
    UnitError::Unknown { unit: shown.to_owned(), suggestions }
}

#[cfg(test)]
mod tests;
