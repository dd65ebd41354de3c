//! What a reading is, beside its number.

/// What is known to be doubtful about one reading. Doubtful readings are kept and shown as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Quality(pub u8);

impl Quality {
    /// No flag: nothing is known against the reading.
    pub const GOOD: Self = Self(0);
    /// Outside the metric's plausible range.
    pub const IMPLAUSIBLE: Self = Self(1);
    /// Measured further ahead of its receipt than clocks may differ ([`crate::ClockTolerance`]): never newest, whatever time
    /// it is by now, and in no trend and no score.
    pub const FUTURE: Self = Self(2);
    /// Measured before 1900: a clock that was never set; kept out of "latest" and of scores.
    pub const ANCIENT: Self = Self(4);
    /// The device itself doubts it (IEEE 11073 measurement status "questionable").
    pub const QUESTIONABLE: Self = Self(8);
    /// Another value of the same device, metric and instant was received before it. Found when a sheet is read, never
    /// stored; nothing against the reading.
    pub const CORRECTION: Self = Self(16);

    /// The union of two sets of flags.
    pub fn with(self, other: Self) -> Self {
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
}
