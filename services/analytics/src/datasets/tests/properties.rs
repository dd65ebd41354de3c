//! What holds of every file, whatever is in it. Cases come from a seed of their own: `proptest` would switch on features of a
//! crate under DataFusion, which would then be built twice.

use super::{
    super::{Input, Limits, Options},
    import, text,
};

/// Numbers that look random (`SplitMix64`).
struct Seed(u64);

impl Seed {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap()
    }

    fn cell(&mut self) -> String {
        const CELLS: [&str; 11] =
            ["10001", "501", "NY", "x", "1", "99", "\"a, \"\"b\"\"\"", "\"open", "= 4.0", "", "ñ"];
        match self.below(CELLS.len() + 2) {
            at if at < CELLS.len() => CELLS[at].to_owned(),
            _ => (0..self.below(12)).map(|_| char::from(u8::try_from(32 + self.below(95)).unwrap())).collect(),
        }
    }
}

/// Rows read are rows accepted and rows refused (`import` holds that); good rows stay, whatever stands between them.
#[test]
fn nothing_is_lost_between_read_and_accepted() {
    for case in 0..300 {
        let mut seed = Seed(case);
        let n = seed.below(40);
        let mut made = "ZIP_CODE,STATE,ZIP_TYPE,RUCA1,RUCA2\n".to_owned();
        let mut bad = 0;
        for at in 0..n {
            let row = (0..1 + seed.below(7)).map(|_| seed.cell()).collect::<Vec<_>>().join(",");
            bad += u64::from(!row.is_empty());
            made += &format!("{row}\n{:05},NY,good,1,1\n", 20_000 + at);
        }
        made += "30000,NY,good,1,1";
        let got = text("zip_rurality", "z.csv", made).unwrap();
        assert_eq!(got.count("zip_type", "good"), n + 1, "case {case}");
        assert_eq!(got.report.n_read, bad + n as u64 + 1, "case {case}");
    }
}

/// Any bytes at all: an answer, no panic.
#[test]
fn any_bytes_are_answered() {
    for case in 0..2_000 {
        let mut seed = Seed(case);
        let content: Vec<u8> = (0..seed.below(600)).map(|_| u8::try_from(seed.below(256)).unwrap()).collect();
        let ending = ["csv", "csv.gz", "csv.zst", "ndjson", "ndjson.zst"][seed.below(5)];
        let magic: &[u8] = match ending {
            "csv.gz" => b"\x1f\x8b\x08",
            "csv.zst" | "ndjson.zst" => b"\x28\xb5\x2f\xfd",
            _ => b"",
        };
        let limits = Limits { line: 200, cells: 20, ..Limits::default() };
        let inputs = vec![Input::reader(&format!("z.{ending}"), std::io::Cursor::new([magic, &content].concat()))];
        assert!(import("zip_rurality", inputs, Options { limits, ..Options::default() }).is_err(), "case {case}");
    }
}

/// The size of batches changes nothing but the batches.
#[test]
fn batches_change_nothing() {
    let content = std::fs::read(super::sample("life_expectancy.2021.csv")).unwrap();
    let whole = text("life_expectancy", "2021.csv", content.clone()).unwrap();
    for batch_rows in [1, 2, 7, 152, 153, 154] {
        let limits = Limits { batch_rows, ..Limits::default() };
        let inputs = vec![Input::reader("2021.csv", std::io::Cursor::new(content.clone()))];
        let small = import("life_expectancy", inputs, Options { limits, ..Options::default() }).unwrap();
        assert_eq!(small.column("life_expectancy"), whole.column("life_expectancy"));
        assert!(small.batches.iter().all(|batch| batch.num_rows() <= batch_rows));
    }
}
