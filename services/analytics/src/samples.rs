//! The samples whose numbers are made: drawn at random, they say nothing of a state. What reads them has to say so, so an import
//! knows them by what they hold.

use crate::{datasets::Input, hexadecimal::hexadecimal};
use sha2::{Digest, Sha256};
use std::path::Path;

/// SHA-256 of each file of `samples/` that its README calls made, unpacked and without carriage returns.
const MADE: [(&str, &str); 5] = [
    ("infant_mortality.csv", "3b883bc90b476a3d90d7c0e64366cff791e8351018885a471000daab7eff3776"),
    ("medicaid_enrolment.csv.zst", "c8c564a1c002244576ed5cb6c3232a5486ceaa072ebada2595da6188081e3461"),
    ("medicare_spending.csv.zst", "5855cda372d0c21865f2bae213302a2043cfa5ee353566e2fc977d529810f6b7"),
    ("premiums.csv", "7841da9ba20dfff5ccafccfcd2b833e49db7b3b454b3eaf02305f2162c6b2483"),
    ("prescribers.publisher.csv", "b996120274a78518a1606a122bfdc8d782313938aab7f6fa4ca7b2dd7790325f"),
];
/// What is longer is none of them: a large file is not read twice.
const BYTES_MAX: u64 = 64 << 10;

/// Whether a file is a made sample, however it is packed and whichever line ends it has.
pub(crate) fn is_made(path: &Path) -> bool {
    let Some(mut text) = Input::file(path).short_text(BYTES_MAX) else { return false };
    text.retain(|byte| *byte != b'\r');
    let digits = hexadecimal(Sha256::digest(&text));
    MADE.iter().any(|(_, known)| *known == digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, io::Read};

    #[test]
    fn each_sample_that_the_readme_calls_made_is_known_however_it_is_packed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let rows = readme.lines().filter(|line| line.starts_with("| `") && line.contains("**made**"));
        let names: BTreeSet<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
        assert_eq!(MADE.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), names);
        let again = tempfile::tempdir().unwrap();
        for name in names {
            assert!(is_made(&folder.join(name)), "{name}");
            let text = Input::file(&folder.join(name)).short_text(BYTES_MAX).unwrap();
            let lines = String::from_utf8(text.clone()).unwrap().replace('\n', "\r\n");
            assert!(lines.len() as u64 <= BYTES_MAX, "{name}");
            let mut packed = Vec::new();
            flate2::read::GzEncoder::new(lines.as_bytes(), flate2::Compression::best())
                .read_to_end(&mut packed)
                .unwrap();
            for (ending, bytes, made) in [
                ("csv", &text[..], true),
                ("csv", lines.as_bytes(), true),
                ("csv.gz", &packed[..], true),
                ("csv", &text[..text.len() / 2], false),
            ] {
                let path = again.path().join(format!("it.{ending}"));
                fs::write(&path, bytes).unwrap();
                assert_eq!(is_made(&path), made, "{name} as {ending}");
            }
        }
        assert!(!is_made(&folder.join("state_population.csv")) && !is_made(&folder.join("sites.2020.csv.zst")));
    }
}
