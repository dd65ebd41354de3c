//! What a reading is, beside its number.

/// What is known to be doubtful about one reading. Doubtful readings are kept and shown as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Quality(u16);

impl Quality {
    /// No flag: nothing is known against the reading.
    pub const GOOD: Self = Self(0);
    /// Outside the metric's plausible range.
    pub const IMPLAUSIBLE: Self = Self(1);
    /// Measured, or over, further ahead of its receipt than clocks may differ ([`crate::ClockTolerance`]): never newest,
    /// whatever time it is by now, and in no trend and no score.
    pub const FUTURE: Self = Self(2);
    /// Measured before 1900: no clock shows that; kept out of "latest" and of scores.
    pub const ANCIENT: Self = Self(4);
    /// The device itself doubts it (IEEE 11073 measurement status "questionable").
    pub const QUESTIONABLE: Self = Self(8);
    /// Another value of the same device, metric and instant was received before it. Found when a sheet is read, never
    /// stored; nothing against the reading.
    pub const CORRECTION: Self = Self(16);

    /// A number that is not typical in the unit it is labelled with, and would be in another one of the field
    /// ([`crate::Metric::other_units`]): the label may be wrong. Out of trends and scores.
    pub const SUSPECT_UNIT: Self = Self(32);
    /// Measured when a clock shows that was never set ([`crate::is_unset`]): never newest, in no trend and no score.
    pub const UNSET_CLOCK: Self = Self(64);
    /// Sent or measured by mistake (FHIR `entered-in-error`): never newest, in no trend and no score. The device says so
    /// itself, or later takes it back; or somebody who treats the patient did ([`crate::Retraction`]).
    pub const ENTERED_IN_ERROR: Self = Self(128);
    /// What the same device had sent before, word for word, in another stream: the device has lost its place and sends all it
    /// has again. Found when a sheet is read, never stored, and not shown: what was sent first stands.
    pub const REPEAT: Self = Self(256);
    /// Marks of a time that says nothing: of a clock that was never set, or is far ahead.
    pub const FALSE_TIME: Self = Self::UNSET_CLOCK.with(Self::ANCIENT).with(Self::FUTURE);

    /// Those with these bits, as they are stored and sent.
    pub fn from_bits(bits: u8) -> Self {
        Self(u16::from(bits))
    }

    /// The flags as they are stored and sent: bit 0 is [`Self::IMPLAUSIBLE`], bit 7 [`Self::ENTERED_IN_ERROR`]. A repeat is
    /// neither stored nor sent.
    pub fn bits(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// The union of two sets of flags.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other`'s marks are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `others`' marks is set.
    pub fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether nothing is known against the reading.
    pub fn is_good(self) -> bool {
        self.0 & !Self::CORRECTION.0 == 0
    }
}

/// How far the device's clock can be trusted (after the IEEE 11073 "time synchronisation" attribute).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum ClockQuality {
    /// The device does not say.
    #[default]
    Unknown,
    /// Synchronised to an outside source.
    Synchronized,
    /// Set once, running free since.
    Free,
    /// The clock was never set: measuring times say nothing.
    Unset,
}

impl ClockQuality {
    /// Number of the quality in a record's byte, 0 to 3.
    pub fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Synchronized => 1,
            Self::Free => 2,
            Self::Unset => 3,
        }
    }

    /// The quality with a number from a record's byte; `None` for any other.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Unknown,
            1 => Self::Synchronized,
            2 => Self::Free,
            3 => Self::Unset,
            _ => return None,
        })
    }
}

/// Equally spaced samples; sample `i` was taken at the reading's time plus `i * period_ns` and is worth
/// `origin + samples[i] * scale` in the column's unit (FHIR `SampledData`).
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// Value of a zero sample, in the column's unit.
    pub origin: f64,
    /// Nanoseconds between samples, above zero.
    pub period_ns: i64,
    /// Value of one step, in the column's unit.
    pub scale: f64,
    /// Raw samples, 16 or 32 bit.
    pub samples: Vec<i32>,
    /// Places of samples that are missing, ascending: what stands there says nothing.
    pub missing: Vec<u32>,
}

impl Waveform {
    /// The samples that are there.
    pub fn measured(&self) -> impl Iterator<Item = i32> {
        let mut missing = self.missing.iter().copied().peekable();
        let is_there = move |place: &(u32, &i32)| missing.next_if_eq(&place.0).is_none();
        (0..).zip(&self.samples).filter(is_there).map(|(_, sample)| *sample)
    }

    /// Nanoseconds from the first sample to after the last one.
    pub fn lasting(&self) -> i64 {
        let n = i64::try_from(self.samples.len()).unwrap_or(i64::MAX);
        self.period_ns.saturating_mul(n)
    }
}

/// A number beyond which a value lies: a glucose meter's `LO` is less than 20 mg/dL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// On which side of the number the value lies.
    pub comparator: Comparator,
    /// Of what, in the column's unit.
    pub number: f64,
}

/// On which side of a number a value lies (FHIR `Quantity.comparator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparator {
    /// The value is less than the number: `<`.
    Less,
    /// The value is the number or less: `<=`.
    LessOrEqual,
    /// The value is the number or more: `>=`.
    GreaterOrEqual,
    /// The value is more than the number: `>`.
    Greater,
}

impl Comparator {
    const ALL: [Self; 4] = [Self::Less, Self::LessOrEqual, Self::GreaterOrEqual, Self::Greater];

    /// Its number in a block, 1 to 4: the wire's, too.
    pub fn code(self) -> u8 {
        match self {
            Self::Less => 1,
            Self::LessOrEqual => 2,
            Self::GreaterOrEqual => 3,
            Self::Greater => 4,
        }
    }

    /// The comparator with a number from a block or from the wire; `None` for any other.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|comparator| i32::from(comparator.code()) == code)
    }

    /// As FHIR writes it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

/// Why a reading has no value: the codes of FHIR's `data-absent-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Absence(u8);

/// The code of each, by number from 1: the wire's, too.
const ABSENCES: [&str; 15] = [
    "unknown",
    "asked-unknown",
    "temp-unknown",
    "not-asked",
    "asked-declined",
    "masked",
    "not-applicable",
    "unsupported",
    "as-text",
    "error",
    "not-a-number",
    "negative-infinity",
    "positive-infinity",
    "not-performed",
    "not-permitted",
];

impl Absence {
    /// The value is not known, and nobody says why.
    pub const UNKNOWN: Self = Self(1);

    /// Its number in a block, 1 to 15.
    pub fn code(self) -> u8 {
        self.0
    }

    /// The reason with a number from a block or from the wire; `None` for any other.
    pub fn from_code(code: i32) -> Option<Self> {
        let code = u8::try_from(code).ok()?;
        (1..=ABSENCES.len()).contains(&usize::from(code)).then_some(Self(code))
    }

    /// As FHIR writes it.
    pub fn name(self) -> &'static str {
        ABSENCES[usize::from(self.0) - 1]
    }

    /// The reason that FHIR writes so; `None`: there is none.
    pub fn named(name: &str) -> Option<Self> {
        let at = ABSENCES.iter().position(|one| *one == name)?;
        Self::from_code(i32::try_from(at + 1).ok()?)
    }
}
