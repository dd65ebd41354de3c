//! Damaged and hostile files: each is refused by name, with the line, the column and what is allowed; memory stays bounded and
//! nothing else is lost.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
};

use datafusion::arrow::{
    array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray},
    datatypes::Int64Type,
};
use parquet::arrow::ArrowWriter;

use super::{
    super::{
        Error, Input, Limits, Options, ParquetFile, Reason,
        import::Records,
        kind,
        reading::Reader,
        text::{Line, Lines},
    },
    Got, import, text,
};

const HEADER: &str = "ZIP_CODE,STATE,ZIP_TYPE,RUCA1,RUCA2\n";
const GOOD: &str = "10001,NY,Zip Code Area,1,1.1\n";

fn gz(content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(content, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

fn zst(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 9).unwrap()
}

/// Text that packs badly.
fn rows(n: usize) -> Vec<u8> {
    let row = |at: usize| format!("{:05},NY,{:x},1,1.1\n", 10_000 + at, at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (HEADER.to_owned() + &(0..n).map(row).collect::<String>()).into_bytes()
}

fn cut(mut content: Vec<u8>) -> Vec<u8> {
    content.truncate(content.len() * 2 / 3);
    content
}

fn spoilt(mut content: Vec<u8>) -> Vec<u8> {
    let middle = content.len() / 2;
    content[middle..middle + 8].fill(0x55);
    content
}

/// The error of a file, which names the file and what to do; what buffers took is within the bounds.
fn refused(inputs: Vec<Input>) -> (Reason, String) {
    let name = inputs[0].name.clone();
    let (kind, limits) = (kind("zip_rurality").unwrap(), Limits::default());
    let mut records = Records::new(kind, Reader::new(kind, inputs, None, limits.clone()), true, limits);
    let error = loop {
        match records.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{name} was taken: {}", records.report()),
            Err(error) => break error,
        }
    };
    assert!(records.report().peak_bytes < 24 << 20, "{name}: {}", records.report().peak_bytes);
    let Error::Refused { file, reason, .. } = &error else { panic!("{name}: {error:?}") };
    assert!(*file == name && error.to_string().ends_with(reason.remedy()), "{error}");
    (*reason, error.to_string())
}

#[test]
fn a_text_file_that_is_not_what_it_should_be_is_refused_by_name() {
    let good = format!("{HEADER}{GOOD}");
    let wide = |n: usize| (0..n).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    let mut window = zstd::Encoder::new(Vec::new(), 3).unwrap();
    window.window_log(26).unwrap();
    window.write_all(good.as_bytes()).unwrap();
    let zeros = vec![b'0'; 40 << 20];
    let cases: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("empty.csv", vec![], Reason::Empty),
        ("empty.csv.gz", vec![], Reason::Empty),
        ("nothing-packed.csv.gz", gz(b""), Reason::Empty),
        ("nothing-packed.csv.zst", zst(b""), Reason::Empty),
        ("only-headings.csv", HEADER.into(), Reason::NoRows),
        ("table.xlsx", good.clone().into(), Reason::UnknownEnding),
        ("table", good.clone().into(), Reason::UnknownEnding),
        ("table.parquet.gz", good.clone().into(), Reason::UnknownEnding),
        ("is-gzip.csv", gz(good.as_bytes()), Reason::NotWhatNameSays),
        ("is-zip.csv", b"PK\x03\x04rest".to_vec(), Reason::NotWhatNameSays),
        ("is-parquet.csv", b"PAR1rest".to_vec(), Reason::NotWhatNameSays),
        ("is-text.csv.gz", good.clone().into(), Reason::NotWhatNameSays),
        ("is-text.csv.zst", good.clone().into(), Reason::NotWhatNameSays),
        ("is-gzip.csv.zst", gz(good.as_bytes()), Reason::NotWhatNameSays),
        ("packed-twice.csv.gz", gz(&gz(good.as_bytes())), Reason::NotWhatNameSays),
        ("cut.csv.gz", cut(gz(&rows(20_000))), Reason::Truncated),
        ("cut.csv.zst", cut(zst(&rows(20_000))), Reason::Truncated),
        // as short as no member's head is, and longer
        ("more.csv.gz", [&gz(good.as_bytes())[..], b"garbage"].concat(), Reason::Damaged),
        ("much-more.csv.gz", [gz(good.as_bytes()), vec![0; 4_096]].concat(), Reason::Damaged),
        ("cut-in-the-second.csv.gz", [gz(good.as_bytes()), cut(gz(&rows(20_000)))].concat(), Reason::Truncated),
        ("cut-in-the-seconds-head.csv.gz", [&gz(good.as_bytes())[..], b"\x1f"].concat(), Reason::Truncated),
        ("spoilt.csv.gz", spoilt(gz(&rows(20_000))), Reason::Damaged),
        ("spoilt.csv.zst", spoilt(zst(&rows(20_000))), Reason::Damaged),
        ("wide-window.csv.zst", window.finish().unwrap(), Reason::Damaged),
        ("bomb.csv.gz", gz(&zeros), Reason::TooLarge),
        ("bomb.csv.zst", zst(&zeros), Reason::TooLarge),
        (
            "bomb-of-rows.csv.zst",
            zst(&[HEADER.as_bytes(), GOOD.repeat(1_000_000).as_bytes()].concat()),
            Reason::TooLarge,
        ),
        ("wide.csv", wide(100_000).into(), Reason::TooManyCells),
        ("long-heading.csv", vec![b'x'; 3 << 20], Reason::LongLine),
        ("other.csv", "a,b,c\n1,2,3\n".into(), Reason::UnknownLayout),
        ("semicolons.csv", good.replace(',', ";").into(), Reason::UnknownLayout),
        ("lacks-one.csv", "ZIP_CODE,STATE,ZIP_TYPE,RUCA1\n".into(), Reason::UnknownLayout),
        ("twice.csv", "ZIP_CODE,STATE,ZIP_TYPE,RUCA1,RUCA2,STATE\n".into(), Reason::RepeatedHeading),
        ("nul.csv", "ZIP_CODE,ST\0ATE\n".into(), Reason::Nul),
        ("utf16.csv", good.encode_utf16().flat_map(u16::to_le_bytes).collect(), Reason::Nul),
        ("no-text.csv", b"ZIP_CODE,\x81\n".to_vec(), Reason::Encoding),
        ("open.csv", "\"ZIP_CODE,STATE\n".into(), Reason::OpenQuote),
        ("list.ndjson", "[1,2]\n".into(), Reason::Json),
        ("nested.ndjson", "{\"ZIP_CODE\":{\"a\":1}}\n".into(), Reason::Json),
        ("csv.ndjson", good.clone().into(), Reason::Json),
        ("deep.ndjson", "[".repeat(100_000).into(), Reason::Json),
        ("other.ndjson", "{\"a\":1}\n".into(), Reason::UnknownLayout),
        ("stream.parquet", b"PAR1".to_vec(), Reason::NotWhatNameSays),
    ];
    assert!(cases.len() >= 39);
    for (name, content, reason) in cases {
        let (found, message) = refused(vec![Input::reader(name, io::Cursor::new(content))]);
        assert_eq!(found, reason, "{message}");
        assert!(message.len() < 600, "{message}");
        let is_followed = message.contains("bytes follow the end of its packed data");
        assert_eq!(is_followed, name.ends_with("more.csv.gz"), "{message}");
    }
    let (_, message) =
        refused(vec![Input::reader("lacks.csv", io::Cursor::new("ZIP_CODE,STATE,ZIP_TYPE,RUCA1,Colour\n"))]);
    assert!(message.contains("nearest is 2010: missing `RUCA2`; unknown `Colour`"), "{message}");
}

#[test]
fn a_gzip_file_may_have_several_members() {
    let members = [format!("{HEADER}{GOOD}"), String::new(), "10002,NY,x,1,1\n".to_owned()];
    let packed = members.map(|member| gz(member.as_bytes())).concat();
    assert_eq!(text("zip_rurality", "several.csv.gz", packed).unwrap().report.n_accepted, 2);
}

fn parquet_of(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_parquet_file_that_is_not_what_it_should_be_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let zips: ArrayRef = Arc::new(StringArray::from_iter_values((0..50_000).map(|at| format!("{:05}", 10_000 + at))));
    let codes: ArrayRef = Arc::new(Int64Array::from_iter_values((0..50_000).map(|at| at % 10 + 1)));
    let lists: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>((0..50_000).map(|at| Some(vec![Some(at)]))));
    let states: ArrayRef = Arc::new(StringArray::from_iter_values((0..50_000).map(|_| "NY")));
    let good = vec![
        ("ZIP_CODE", zips),
        ("STATE", states.clone()),
        ("ZIP_TYPE", states),
        ("RUCA1", codes.clone()),
        ("RUCA2", codes.clone()),
    ];
    parquet_of(&path("good.parquet"), good.clone());
    parquet_of(&path("other.parquet"), vec![("a", codes)]);
    parquet_of(&path("nested.parquet"), [good, vec![("list", lists)]].concat());
    let content = fs::read(path("good.parquet")).unwrap();
    fs::write(path("cut.parquet"), cut(content.clone())).unwrap();
    fs::write(path("text.parquet"), format!("{HEADER}{GOOD}")).unwrap();
    fs::write(path("empty.parquet"), "").unwrap();
    fs::write(path("spoilt.parquet"), spoilt(content.clone())).unwrap();
    // every length that a footer can claim, none of which is there
    let short: Vec<_> =
        (0..64u32).map(|n| (format!("footer{n}.parquet"), [b"PAR1", &n.to_le_bytes()[..], b"PAR1"].concat())).collect();
    for (name, bytes) in &short {
        fs::write(path(name), bytes).unwrap();
        let (found, message) = refused(vec![Input::file(&path(name))]);
        assert!([Reason::Damaged, Reason::Truncated].contains(&found), "{message}");
    }
    for (name, reasons) in [
        ("other.parquet", vec![Reason::UnknownLayout]),
        ("nested.parquet", vec![Reason::Nested]),
        ("cut.parquet", vec![Reason::Damaged, Reason::Truncated]),
        ("text.parquet", vec![Reason::Damaged]),
        ("empty.parquet", vec![Reason::Empty]),
        ("spoilt.parquet", vec![Reason::Damaged, Reason::Truncated]),
    ] {
        let (found, message) = refused(vec![Input::file(&path(name))]);
        assert!(reasons.contains(&found), "{message}");
    }
    let got = super::file("zip_rurality", &path("good.parquet"), None);
    assert_eq!((got.report.n_accepted, got.batches.len()), (50_000, 7));
}

/// One bad line between good ones: it alone is refused, by line and column, with what is allowed.
#[test]
fn a_bad_row_loses_nothing_else_and_is_named() {
    let cases: Vec<(&[u8], Reason, &str)> = vec![
        (b"10002,NY,x,one,1", Reason::Type, "in ruca_primary: allowed is a whole number, such as `one`"),
        (b"10002,NY,x,1e3,1", Reason::Type, "a whole number"),
        (b"10002,NY,x,99999999999999999999,1", Reason::Type, "a whole number"),
        (b"10002,NY,x,11,1", Reason::Range, "in ruca_primary: allowed is 1 to 10, such as `11`"),
        (b"10002,NY,x,1,NaN", Reason::Type, "in ruca_secondary: allowed is a number"),
        (b"10002,NY,x,1,inf", Reason::Type, "a number"),
        (b"10002,NY,x,1,1e999", Reason::Type, "a number"),
        (b"10002,NY,x,1", Reason::CellCount, "4 cells where 5 headings are"),
        (b"10002,NY,x,1,1,1", Reason::CellCount, "6 cells where 5 headings are"),
        (b"10002,NY,\"x,1,1", Reason::OpenQuote, "a quote that is not closed"),
        (b"10002,NY,x\"y,1,1", Reason::StrayQuote, "a quote inside a cell"),
        (b"10002,NY,\"x\"y,1,1", Reason::StrayQuote, "text after a closing quote"),
        (b"10002,NY,x\0,1,1", Reason::Nul, "a NUL byte"),
        (b"10002,NY,\x8F,1,1", Reason::Encoding, "neither UTF-8 nor cp1252"),
        (b",NY,x,1,1", Reason::Required, "in zip5: allowed is a value"),
        (b"1002,NY,x,1,1", Reason::Code, "in zip5: allowed is 5 characters, such as `1002`"),
        (b"ABCDE,NY,x,1,1", Reason::Code, "five digits"),
        (b"10002,ZZ,x,1,1", Reason::UnknownState, "a state, territory or military post, such as `ZZ`"),
        (b"10001,NY,x,1,1", Reason::Duplicate, "a row with the same zip5 came before"),
        (b"10002,NY,x,=1+1,1", Reason::Type, "such as `=1+1`"),
    ];
    for (row, reason, says) in cases {
        let content = [HEADER.as_bytes(), GOOD.as_bytes(), row, b"\r\n10003,NY,x,1,1"].concat();
        let got = text("zip_rurality", "rows.csv", content).unwrap();
        let shown = got.report.to_string();
        assert_eq!((got.report.n_accepted, got.report.refused_for(reason)), (2, 1), "{shown}");
        assert!(
            shown.contains(says) && shown.contains("(lines rows.csv:3)") && shown.contains(reason.remedy()),
            "{says}: {shown}"
        );
    }
}

/// A line of two gibibytes, which are never there at one time.
#[test]
fn a_line_of_two_gibibytes_is_passed_over() {
    let line = io::repeat(b'x').take(2 << 30);
    let stream = io::Cursor::new(format!("{HEADER}{GOOD}")).chain(line).chain(io::Cursor::new("\n10002,NY,x,1,1\n"));
    let got = import("zip_rurality", vec![Input::reader("long.csv", stream)], Options::default()).unwrap();
    assert_eq!((got.report.n_accepted, got.report.refused_for(Reason::LongLine)), (2, 1));
    assert!(got.report.to_string().contains("a line of 2147483649 bytes; at most 1048576"), "{}", got.report);
    assert!(got.report.peak_bytes < 4 << 20, "{}", got.report.peak_bytes);
}

/// The mark of UTF-8 is no part of the first line: that may be as long as any other, is never cut, and is followed by the second.
#[test]
fn the_mark_does_not_count_against_the_first_lines_length() {
    for (mark, end) in [("", "\n"), ("", "\r\n"), ("\u{feff}", "\n"), ("\u{feff}", "\r\n")] {
        for n in 5..18 {
            let content = format!("{mark}{}{end}second{end}", "x".repeat(n));
            let mut lines = Lines::new(Box::new(io::Cursor::new(content)), 10);
            let first = if n <= 10 { Line::Whole } else { Line::TooLong((n + end.len()) as u64) };
            assert_eq!(lines.next().unwrap(), first, "{n} after {mark:?}, before {end:?}");
            assert_eq!((lines.next().unwrap(), &*lines.text().unwrap()), (Line::Whole, "second"), "{n}");
            assert_eq!((lines.next().unwrap(), lines.marked), (Line::End, !mark.is_empty()));
        }
    }
}

/// Rows with long cells make small batches: memory is bounded in bytes, not in rows.
#[test]
fn batches_are_bounded_in_bytes() {
    let row = |at: u32| format!("{:05},NY,{},1,1\n", 10_000 + at, "y".repeat(400_000));
    let stream =
        io::Cursor::new(HEADER).chain(Rows { next: 0, most: 300, row: Box::new(row), rest: io::Cursor::default() });
    let got = import("zip_rurality", vec![Input::reader("wide.csv", stream)], Options::default()).unwrap();
    assert_eq!(got.report.n_accepted, 300);
    assert!(
        got.batches.len() > 6 && got.report.peak_bytes < 24 << 20,
        "{} {}",
        got.batches.len(),
        got.report.peak_bytes
    );
}

/// Rows that are made while they are read.
struct Rows {
    next: u32,
    most: u32,
    row: Box<dyn Fn(u32) -> String + Send>,
    rest: io::Cursor<String>,
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.rest.read(buffer)?;
        if n > 0 || self.next == self.most {
            return Ok(n);
        }
        self.rest = io::Cursor::new((self.row)(self.next));
        self.next += 1;
        self.rest.read(buffer)
    }
}

/// Links that lead out, folders and what is no data set are refused by name; the good files are read in the order of their names.
#[test]
fn a_folder_is_read_without_leaving_it() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.csv"), format!("{HEADER}10009,NY,secret,1,1\n")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("2.csv"), format!("{HEADER}10002,NY,x,1,1\n10001,NY,again,1,1\n")).unwrap();
    fs::write(path("1.csv"), format!("{HEADER}{GOOD}")).unwrap();
    fs::write(path("3.csv.gz"), cut(gz(&rows(20_000)))).unwrap();
    fs::write(path("notes.txt"), "no data").unwrap();
    fs::create_dir(path("9.csv")).unwrap();
    symlink(outside.path().join("secret.csv"), path("4.csv")).unwrap();
    symlink("../../../../../../../../etc/passwd", path("5.csv")).unwrap();
    symlink(path("nowhere"), path("6.csv")).unwrap();
    symlink(path("1.csv"), path("7.csv")).unwrap();
    let got = import("zip_rurality", Input::path(folder.path()).unwrap(), Options::default()).unwrap();
    let files: Vec<(&str, bool)> =
        got.report.files.iter().map(|file| (file.name.as_str(), file.refused.is_some())).collect();
    assert_eq!(
        files,
        [
            ("1.csv", false),
            ("2.csv", false),
            ("3.csv.gz", true),
            ("4.csv", true),
            ("5.csv", true),
            ("6.csv", true),
            ("7.csv", false),
            ("9.csv", true),
            ("notes.txt", true)
        ]
    );
    assert_eq!(got.count("zip_type", "secret") + got.count("zip_type", "again"), 0);
    assert!(got.report.refused_for(Reason::Duplicate) >= 2, "one key over all files");
    assert!(got.report.to_string().contains("4.csv: it is no plain file inside the folder"), "{}", got.report);

    let empty = tempfile::tempdir().unwrap();
    assert_eq!(Input::path(empty.path()).err().unwrap().reason(), Some(Reason::Empty));
    assert!(matches!(Input::path(&path("missing.csv")), Err(Error::Read { .. })));
}

/// More keys than may be kept end the import, also in a folder: without them, duplicates would pass.
#[test]
fn keys_are_bounded() {
    let limits = Limits { keys: 100, ..Limits::default() };
    let inputs = vec![
        Input::reader("1.csv", io::Cursor::new(rows(60))),
        Input::reader("2.csv", io::Cursor::new(rows(200).split_off(0))),
    ];
    let error = import("zip_rurality", inputs, Options { limits, ..Options::default() }).err().unwrap();
    assert_eq!(error.reason(), Some(Reason::TooManyKeys));
}

/// What was accepted comes back from the Parquet file as it went in.
#[test]
fn accepted_rows_come_back_from_parquet() {
    let path = super::sample("inpatient_costs.2023.csv.zst");
    let got: Got = super::file("inpatient_costs", &path, None);
    let kind = kind("inpatient_costs").unwrap();
    let mut sink = ParquetFile::create(kind, Vec::new()).unwrap();
    got.batches.iter().for_each(|batch| sink.write(batch).unwrap());
    let written = tempfile::NamedTempFile::new().unwrap();
    fs::write(written.path(), sink.finish().unwrap()).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(fs::File::open(written.path()).unwrap())
            .unwrap();
    let batches: Vec<RecordBatch> = reader.with_batch_size(100_000).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].columns(), got.batches[0].columns());
}
