//! When a reading is due: the recording's time, run through faster.

use anyhow::{Result, bail};
use std::{str::FromStr, time::Duration};
use tokio::time::Instant;

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the server takes it.
    Max,
    /// So many times as fast as it happened.
    Times(f64),
}

impl FromStr for Speed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.strip_suffix('x').unwrap_or(text).parse() {
            Ok(times) if f64::is_finite(times) && times > 0.0 => Ok(Self::Times(times)),
            _ => bail!("{} is no speed: give max, 1x, 60x ...", model::quoted(text)),
        }
    }
}

/// When a recorded instant is due, at the speed of the replay.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    speed: Speed,
    start: Instant,
    start_ns: i64,
}

impl Pace {
    /// `start_ns` in the recording is now.
    pub fn new(speed: Speed, start_ns: i64) -> Self {
        Self { speed, start: Instant::now(), start_ns }
    }

    /// When a time of the recording comes; `None`: at once.
    pub fn due(&self, at_ns: i64) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let seconds = at_ns.saturating_sub(self.start_ns).max(0) as f64 / 1e9 / times;
        // what is centuries away never comes
        let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| wait.as_secs() < u64::from(u32::MAX));
        let due = self.start + wait.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
        (due > Instant::now()).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_at_sixty_times_is_a_minute() {
        let pace = Pace::new("60x".parse().unwrap(), 1_000);
        assert_eq!(pace.due(1_000), None);
        assert_eq!(pace.due(3_600_000_001_000).unwrap() - Instant::now(), Duration::from_secs(60));
        assert_eq!(Pace::new(Speed::Max, 0).due(i64::MAX), None);
        assert!(Pace::new(Speed::Times(1e-9), 0).due(i64::MAX).is_some());
    }

    #[test]
    fn speeds() {
        assert_eq!("1x".parse::<Speed>().unwrap(), Speed::Times(1.0));
        assert_eq!("max".parse::<Speed>().unwrap(), Speed::Max);
        for wrong in ["0x", "-1", "fast", "infx", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
