//! Names and times by which a study knows those who take part: the same at each access, and no way back without the key.

use crate::{Error, key_file};
use aws_lc_rs::hmac;
use model::{Nanos, PatientId};
use std::path::Path;

/// Length of the key, in bytes.
const KEY_BYTES: usize = 32;
/// Of a subject's name: enough that no two meet.
const NAME_BYTES: usize = 16;

/// Makes pseudonyms with a key (HMAC-SHA-256) that all replicas share.
pub struct Pseudonyms {
    key: hmac::Key,
    max_days: u16,
}

impl Pseudonyms {
    /// With a key of 32 bytes (`None` when it has another length); times are moved by 1 to `max_days` days.
    pub fn new(key: &[u8], max_days: u16) -> Option<Self> {
        (key.len() == KEY_BYTES && max_days > 0).then(|| Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), max_days })
    }

    /// With the key in a file, made at the first call (readable by its owner only).
    pub fn open(path: &Path, max_days: u16) -> Result<Self, Error> {
        let key = key_file::private(path, || {
            let mut key = vec![0; KEY_BYTES];
            let no_randomness = |_| Error::Key { name: path.display().to_string(), what: "no randomness".to_owned() };
            aws_lc_rs::rand::fill(&mut key).map_err(no_randomness)?;
            Ok(key)
        })?;
        let what = format!("not {KEY_BYTES} bytes; put the right file back, or all subjects get other names");
        Self::new(&key, max_days).ok_or_else(|| Error::Key { name: path.display().to_string(), what })
    }

    /// What a study calls a patient: 32 lower-case hexadecimal digits.
    pub fn subject(&self, study: &str, patient: PatientId) -> String {
        self.tag(b"subject", study, patient)[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a text is written as [`Self::subject`] writes a name, whoever's that is.
    pub fn is_name(text: &str) -> bool {
        text.len() == 2 * NAME_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// By how much a patient's times are moved back in a study, in nanoseconds: 1 day to [`Pseudonyms::longest`].
    pub fn moved_by(&self, study: &str, patient: PatientId) -> i64 {
        let tag = self.tag(b"days", study, patient);
        // of 2^64 numbers the remainder makes none likelier than another, but for one in 2^48
        let number = tag[..8].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        (1 + (number % u64::from(self.max_days)) as i64) * Nanos::DAY
    }

    /// The longest that times are moved, in nanoseconds.
    pub fn longest(&self) -> i64 {
        i64::from(self.max_days) * Nanos::DAY
    }

    fn tag(&self, of: &[u8], study: &str, patient: PatientId) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(of);
        // no study's id has a zero in it, so that no two questions are one
        context.update(&[0]);
        context.update(study.as_bytes());
        context.update(&[0]);
        context.update(patient.as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn patient(number: u8) -> PatientId {
        PatientId::from_bytes([number; 16])
    }

    #[test]
    fn names_differ_by_key_study_and_patient_and_stay() {
        let [one, other] = [1, 2].map(|byte| Pseudonyms::new(&[byte; 32], 365).unwrap());
        let name = one.subject("heart", patient(1));
        assert!(name.len() == 32 && name.bytes().all(|c| c.is_ascii_hexdigit()));
        assert!(Pseudonyms::is_name(&name));
        for other in ["", "x", &name[1..], &"A".repeat(32), &"g".repeat(32), "0191c3c8-7a00-7000-8000-00000000abcd"] {
            assert!(!Pseudonyms::is_name(other), "{other}");
        }
        assert_eq!(name, Pseudonyms::new(&[1; 32], 9).unwrap().subject("heart", patient(1)));
        let others =
            [other.subject("heart", patient(1)), one.subject("lungs", patient(1)), one.subject("heart", patient(2))];
        assert!(!others.contains(&name));
        assert!(Pseudonyms::new(&[1; 31], 365).is_none() && Pseudonyms::new(&[1; 32], 0).is_none());
    }

    #[test]
    fn times_are_moved_by_whole_days_of_which_each_is_used() {
        let names = Pseudonyms::new(&[7; 32], 10).unwrap();
        let days: HashSet<_> = (0..200).map(|number| names.moved_by("heart", patient(number))).collect();
        assert_eq!(days, (1..=10).map(|day| day * Nanos::DAY).collect());
        assert_eq!(names.longest(), 10 * Nanos::DAY);
    }

    #[test]
    fn a_key_file_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("study.key");
        let name = |names: &Pseudonyms| names.subject("heart", patient(3));
        let first = name(&Pseudonyms::open(&path, 365).unwrap());
        assert_eq!(first, name(&Pseudonyms::open(&path, 365).unwrap()));
        std::fs::write(&path, b"short").unwrap();
        assert!(Pseudonyms::open(&path, 365).is_err());
    }
}
