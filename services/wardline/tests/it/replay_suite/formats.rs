//! What each reader makes of small files: values, units, order of columns, and what is wrong with them.

use super::support::{Plain, ReplayFolders, Server, options};
use std::path::Path;
use wardline::replay::Report;

const MIMIC: &str = "\
subject_id,itemid,charttime,storetime,value,valuenum,valueuom,warning,error
7,211,2150-01-01 10:00:00,2150-01-01 11:00:00,80,80,BPM,,
7,220179,2150-01-01 10:01:00,2150-01-01 10:05:00,11647,11647,mmHg,0,1
7,678,2150-01-01 10:02:00,2150-01-01 10:05:00,98.4,98.4000015258789,Deg. F,,
7,223835,2150-01-01 10:03:00,2150-01-01 10:05:00,33%,,,,
7,432,2150-01-01 10:04:00,2150-01-01 10:05:00,Arouse to Voice,,,,
7,211,2150-01-01 10:00:00,2150-01-01 11:00:00,80,80,BPM,,
7,211,2150-01-01 10:05:00,2150-01-01 11:00:00,,,BPM,,
7,723,2150-01-01 10:05:00,2150-01-01 11:00:00,1.0 ET/Trach,1,,,
7,211,yesterday,2150-01-01 11:00:00,80,80,BPM,,
,211,2150-01-01 10:05:00,2150-01-01 11:00:00,80,80,BPM,,
7,211
7,128,2150-01-01 10:05:00,2150-01-01 11:00:00,Full Code,,,,
";

async fn played(format: &str, path: &Path, place: &ReplayFolders, more: &[&str]) -> (Report, Vec<Plain>) {
    let server = Server::default();
    let report = place.run(options(format, path, more), &server).await.unwrap();
    assert!(report.balances(), "{report}");
    let mut readings: Vec<_> = server.readings().into_values().flatten().flatten().collect();
    readings.sort();
    (report, readings)
}

async fn refused(format: &str, path: &Path) -> String {
    let place = ReplayFolders::new();
    format!("{:#}", place.run(options(format, path, &[]), &Server::default()).await.unwrap_err())
}

fn plain(metric: &str, at: &str, unit: &str, value: &str) -> Plain {
    let at: jiff::Timestamp = at.parse().unwrap();
    (metric.to_owned(), i64::try_from(at.as_nanosecond()).unwrap(), unit.to_owned(), value.to_owned(), false)
}

#[tokio::test]
async fn mimic_rows_become_readings_or_are_counted() {
    let place = ReplayFolders::new();
    let path = place.file("any name", MIMIC);
    let (report, readings) = played("mimic", &path, &place, &["--keep-time"]).await;
    let expected = [
        plain("3150-0", "2150-01-01T10:03:00Z", "%", "33"),
        plain("67775-7", "2150-01-01T10:04:00Z", "", "V"),
        plain("8310-5", "2150-01-01T10:02:00Z", "Deg. F", "98.4"),
        // error = 1: the chart says that it is a mistake
        plain("8480-6", "2150-01-01T10:01:00Z", "mmHg", "11647, entered in error"),
        plain("8867-4", "2150-01-01T10:00:00Z", "BPM", "80"),
        plain("9270-0", "2150-01-01T10:05:00Z", "{score}", "not-applicable"),
    ];
    assert_eq!(readings, expected);
    assert_eq!((report.read, report.recording_duplicates, report.patients, report.devices), (12, 1, 1, 3));
    assert_eq!(report.unmapped, [("128".to_owned(), 1)].into());
    let skipped = [("no_value", 1), ("bad_time", 1), ("no_patient", 1), ("short_row", 1)];
    assert_eq!(report.skipped, skipped.into());
}

#[tokio::test]
async fn the_last_reading_lands_on_the_anchor() {
    let place = ReplayFolders::new();
    let path = place.file("m.csv", MIMIC);
    let (_, readings) = played("mimic", &path, &place, &["--anchor", "2026-02-03T04:05:00Z"]).await;
    let last = readings.iter().map(|reading| reading.1).max().unwrap();
    assert_eq!(last, plain("", "2026-02-03T04:05:00Z", "", "").1);
    let first = readings.iter().map(|reading| reading.1).min().unwrap();
    assert_eq!(last - first, 5 * 60_000_000_000);
}

/// Or it would take back what is right.
#[tokio::test]
async fn a_mistake_is_sent_before_what_is_right_of_the_same_instant() {
    let place = ReplayFolders::new();
    let heading = MIMIC.lines().next().unwrap();
    let rows = "7,211,2150-01-01 10:00:00,2150-01-01 10:10:00,80,80,BPM,1,0\n\
                7,211,2150-01-01 10:00:00,2150-01-01 10:30:00,180,180,BPM,0,1\n";
    let path = place.file("m.csv", format!("{heading}\n{rows}"));
    for order in ["arrival", "measured"] {
        let server = Server::default();
        let options = options("mimic", &path, &["--keep-time", "--order", order]);
        ReplayFolders::new().run(options, &server).await.unwrap();
        let sent: Vec<_> = server.readings().into_values().flatten().flatten().collect();
        let sent: Vec<_> = sent.iter().map(|reading| (reading.3.as_str(), reading.4)).collect();
        assert_eq!(sent, [("180, entered in error", false), ("80", true)], "{order}");
    }
}

#[tokio::test]
async fn columns_may_be_in_any_order_with_others_between() {
    let place = ReplayFolders::new();
    let turned: String = MIMIC
        .lines()
        .map(|line| {
            let fields: Vec<_> = line.split(',').collect();
            if fields.len() < 9 {
                return "x\n".to_owned();
            }
            let (s, i, c, t, v, n, u) = (fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6]);
            format!("{u},{n},extra,{v},{t},{c},{i},{},{s},{}\n", fields[8], fields[7])
        })
        .collect();
    let turned = format!("\u{feff}{}", turned.replacen("subject_id", "SUBJECT_ID", 1));
    let (a, b) = (place.file("a.csv", MIMIC), place.file("b.csv", turned));
    let anchor = ["--anchor", "2026-01-01T00:00:00Z"];
    let (one, two) = (Server::default(), Server::default());
    place.run(options("mimic", &a, &anchor), &one).await.unwrap();
    ReplayFolders::new().run(options("mimic", &b, &anchor), &two).await.unwrap();
    assert_eq!(one.readings(), two.readings());
    let identities = |server: &Server| {
        let mut log = server.log();
        log.sort();
        log
    };
    assert_eq!(identities(&one), identities(&two), "the same recording lands on itself");
}

#[tokio::test]
async fn eicu_tables_are_told_apart_and_read_together() {
    let place = ReplayFolders::new();
    place.file(
        "e/hourly_vitals_x.csv",
        "stay_id,time_min,hr,resp,o2sat,sbp,dbp,map,temp,fio2,glu,urine,alb\n\
         1,0,83.0,,96,,,,36.7,,,,4\n\
         1,soon,83.0,,,,,,,,,,\n\
         1,60\n",
    );
    let respiratory = zstd::encode_all(
        &b"respchartvalue,respchartvaluelabel,respchartentryoffset,respchartoffset,patientunitstayid\n\
           30%,FiO2,70,60,1\n2,LPM O2,,-5,1\nNasal cannula,O2 Device,60,60,1\nhigh,PEEP,1,1,1\n"[..],
        0,
    );
    place.file("e/respiratoryCharting.csv.zst", respiratory.unwrap());
    place.file("e/patient.csv", "patientunitstayid\n1\n");
    let path = place.folder.path().join("e");
    let (report, readings) = played("eicu", &path, &place, &["--anchor", "1970-01-01T01:00:00Z"]).await;
    let expected = [
        plain("3150-0", "1970-01-01T01:00:00Z", "%", "30"),
        plain("3151-8", "1969-12-31T23:55:00Z", "L/min", "2"),
        plain("59408-5", "1970-01-01T00:00:00Z", "%", "96"),
        plain("8310-5", "1970-01-01T00:00:00Z", "Cel", "36.7"),
        plain("8867-4", "1970-01-01T00:00:00Z", "/min", "83"),
    ];
    assert_eq!(readings, expected);
    assert_eq!(report.unmapped, [("O2 Device".to_owned(), 1), ("alb".to_owned(), 1)].into());
    assert_eq!(report.skipped, [("bad_time", 1), ("short_row", 1), ("not_a_number", 1)].into());
    assert_eq!((report.files, report.order), (2, "arrival"));
}

#[tokio::test]
async fn eicu_own_tables_plain_and_compressed() {
    let place = ReplayFolders::new();
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let periodic = "vitalperiodicid,patientunitstayid,observationoffset,temperature,sao2,heartrate,respiration,cvp,etco2,\
                    systemicsystolic,systemicdiastolic,systemicmean,pasystolic,padiastolic,pamean,st1,st2,st3,icp\n";
    // two files packed one after the other are one
    let mut packed = gzip(&format!("{periodic}900,1,55,,97,80,18,,,,,,,,,0.5,,,\n"));
    packed.extend(gzip("901,1,60,36.9,96,82,,8,35,120,60,80,30,12,18,,,,11\n"));
    place.file("e/vitalPeriodic.csv.gz", packed);
    let aperiodic = "vitalaperiodicid,patientunitstayid,observationoffset,noninvasivesystolic,noninvasivediastolic,\
                     noninvasivemean,paop,cardiacoutput,cardiacinput,svr,svri,pvr,pvri\n7,1,60,118,58,,14,5.1,2.8,,,,\n";
    place.file("e/vitalAperiodic.csv.zst", zstd::encode_all(aperiodic.as_bytes(), 0).unwrap());
    let path = place.folder.path().join("e");
    let (report, readings) = played("eicu", &path, &place, &["--anchor", "1970-01-01T01:00:00Z"]).await;
    let (before, last) = ("1970-01-01T00:55:00Z", "1970-01-01T01:00:00Z");
    let pressure = |metric, value| plain(metric, last, "mm[Hg]", value);
    let mut expected = vec![
        plain("59408-5", before, "%", "97"),
        plain("8867-4", before, "/min", "80"),
        plain("9279-1", before, "/min", "18"),
        plain("8310-5", last, "Cel", "36.9"),
        plain("59408-5", last, "%", "96"),
        plain("8867-4", last, "/min", "82"),
        plain("8741-1", last, "L/min", "5.1"),
    ];
    for (metric, value) in [
        ("60985-9", "8"),
        ("19891-1", "35"),
        ("76215-3", "120"),
        ("76213-8", "60"),
        ("76214-6", "80"),
        ("8440-0", "30"),
        ("8385-7", "12"),
        ("8414-5", "18"),
        ("60956-0", "11"),
        ("8480-6", "118"),
        ("8462-4", "58"),
        ("75994-4", "14"),
    ] {
        expected.push(pressure(metric, value));
    }
    expected.sort();
    assert_eq!(readings, expected);
    // what the table numbers its rows with is nothing measured
    assert_eq!(report.unmapped, [("cardiacinput".to_owned(), 1), ("st1".to_owned(), 1)].into());
    assert_eq!((report.files, report.patients, report.read), (2, 1, 21));

    let said = refused("eicu", &place.file("cut.csv.gz", "vitalperiodicid")).await;
    assert!(said.contains("cut.csv.gz") && said.contains("not a gzip file"), "{said}");
    let said = refused("eicu", &place.file("v.csv", periodic.replacen("sao2", "spo2", 1))).await;
    assert!(said.contains("`sao2`") && said.contains("v.csv"), "{said}");
}

#[tokio::test]
async fn the_laboratory_of_a_stay() {
    let place = ReplayFolders::new();
    let stay = "Time,Parameter,Value\n00:10,pH,7.31\n00:10,PaCO2,44\n00:10,Lactate,2.4\n00:10,K,4.1\n00:10,Mg,1.9\n\
                00:10,SaO2,97\n00:10,WBC,11.2\n00:10,TroponinT,0.4\n00:10,Creatinine,-1\n";
    let (report, mut readings) =
        played("physionet2012", &place.file("1.txt", stay), &place, &["--anchor", "1970-01-01T00:10:00Z"]).await;
    let at = "1970-01-01T00:10:00Z";
    let mut expected = [
        plain("2744-1", at, "[pH]", "7.31"),
        plain("2019-8", at, "mm[Hg]", "44"),
        plain("2518-9", at, "mmol/L", "2.4"),
        plain("2823-3", at, "meq/L", "4.1"),
        plain("19123-9", at, "mg/dL", "1.9"),
        plain("20564-1", at, "%", "97"),
        plain("6690-2", at, "10*3/uL", "11.2"),
        plain("6598-7", at, "ug/L", "0.4"),
        plain("2160-0", at, "mg/dL", "not-performed"),
    ];
    expected.sort();
    readings.sort();
    assert_eq!(readings, expected);
    assert_eq!((report.unmapped, report.skipped), ([].into(), [].into()));
}

#[tokio::test]
async fn what_was_gathered_over_a_time_says_over_which() {
    let place = ReplayFolders::new();
    let hourly = "stay_id,time_min,hr,resp,o2sat,sbp,dbp,map,temp,fio2,glu,urine\n1,60,83,,,,,,,,,500\n";
    let path = place.file("hourly_vitals.csv", hourly);
    let (_, readings) = played("eicu", &path, &place, &["--anchor", "1970-01-01T02:00:00Z"]).await;
    // the hour that begins with its time; its end is the end of the recording
    let expected = [
        plain("8867-4", "1970-01-01T01:00:00Z", "/min", "83"),
        plain("9187-6", "1970-01-01T01:00:00Z", "mL", "500 in 3600 s"),
    ];
    assert_eq!(readings, expected);

    let stay = "Time,Parameter,Value\n00:30,Urine,200\n01:30,Urine,60\n03:00,Urine,-1\n04:00,Urine,150\n04:00,HR,70\n";
    let (place, anchor) = (ReplayFolders::new(), ["--anchor", "1970-01-01T04:00:00Z"]);
    let (_, readings) = played("physionet2012", &place.file("1.txt", stay), &place, &anchor).await;
    // since the one charted before it; when the first began is not known, and nothing ends where nothing was measured
    let expected = [
        plain("8867-4", "1970-01-01T04:00:00Z", "/min", "70"),
        plain("9187-6", "1970-01-01T00:30:00Z", "mL", "200"),
        plain("9187-6", "1970-01-01T00:30:00Z", "mL", "60 in 3600 s"),
        plain("9187-6", "1970-01-01T01:30:00Z", "mL", "150 in 9000 s"),
        plain("9187-6", "1970-01-01T03:00:00Z", "mL", "not-performed"),
    ];
    assert_eq!(readings, expected);
}

#[tokio::test]
async fn glucose_monitors() {
    let place = ReplayFolders::new();
    let path =
        place.file("c.csv", "time,gl,diagnosis,id\n2014-02-03 03:42:12,93,x,p-1\n2014-02-03 03:47:12,Low,x,p-1\n");
    let (report, readings) = played("cgm", &path, &place, &["--keep-time"]).await;
    // what the sensor cannot measure is below 40 mg/dL, and no number
    let expected = [("2014-02-03T03:42:12Z", "93"), ("2014-02-03T03:47:12Z", "<40")];
    assert_eq!(readings, expected.map(|(at, value)| plain("99504-3", at, "mg/dL", value)));
    assert_eq!(report.skipped, [].into());
}

#[tokio::test]
async fn challenge_stays_in_an_archive() {
    let place = ReplayFolders::new();
    let mut archive = tar::Builder::new(zstd::stream::write::Encoder::new(Vec::new(), 0).unwrap());
    for (name, text) in [
        (
            "set-a/1.txt",
            "Time,Parameter,Value\n00:00,RecordID,1\n00:00,Height,-1\n00:07,HR,73\n00:07,FiO2,0.5\n47:59,MechVent,1\n",
        ),
        ("set-a/2.txt", "Time,Parameter,Value\n00:99,HR,73\n01:00,HR,74\n"),
        ("set-a/Outcomes-a.txt", "RecordID,SAPS-I\n1,2\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let path = place.file("set-a.tar.zst", archive.into_inner().unwrap().finish().unwrap());
    let (report, readings) = played("physionet2012", &path, &place, &["--anchor", "1970-01-01T01:00:00Z"]).await;
    let expected = [
        plain("3150-0", "1970-01-01T01:00:00Z", "1", "0.5"),
        plain("8302-2", "1970-01-01T00:53:00Z", "cm", "not-performed"),
        plain("8867-4", "1970-01-01T01:00:00Z", "/min", "73"),
        plain("8867-4", "1970-01-01T01:00:00Z", "/min", "74"),
    ];
    assert_eq!(readings, expected);
    assert_eq!((report.files, report.patients), (2, 2));
    assert_eq!(report.unmapped, [("MechVent".to_owned(), 1), ("RecordID".to_owned(), 1)].into());
    assert_eq!(report.skipped, [("bad_time", 1)].into());
}

#[tokio::test]
async fn a_missing_column_is_named_with_its_file() {
    let place = ReplayFolders::new();
    let csv = |name: &str, text: &str| place.file(name, text);
    let said = refused("mimic", &csv("m.csv", &MIMIC.replacen("valueuom", "unit", 1))).await;
    assert!(said.contains("`valueuom`") && said.contains("m.csv"), "{said}");
    let said = refused("eicu", &csv("h.csv", "stay_id,time_min,hr\n1,1,1\n")).await;
    assert!(said.contains("`dbp`") && said.contains("h.csv"), "{said}");
    let said = refused("eicu", &csv("r.csv", "patientunitstayid,respchartvalue\n")).await;
    assert!(said.contains("`respchartvaluelabel`") && said.contains("r.csv"), "{said}");
    let said = refused("cgm", &csv("c.csv", "id,time,glucose\n")).await;
    assert!(said.contains("`gl`") && said.contains("c.csv"), "{said}");
    let said = refused("physionet2012", &csv("p.txt", "Time,Value\n")).await;
    assert!(said.contains("`parameter`") && said.contains("p.txt"), "{said}");
    let said = refused("cgm", &csv("empty.csv", "")).await;
    assert!(said.contains("empty.csv"), "{said}");
}

#[tokio::test]
async fn a_damaged_file_and_a_wrong_folder_are_said_clearly() {
    let place = ReplayFolders::new();
    // values that do not compress, so that the cut is far behind the header
    let numbers = (0..50_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let rows: String =
        numbers.map(|n| format!("7,211,2150-01-01 10:00:00,2150-01-01 11:00:00,{n},{n},BPM,,\n")).collect();
    let header = MIMIC.lines().next().unwrap();
    let packed = zstd::encode_all(format!("{header}\n{rows}").as_bytes(), 0).unwrap();
    for bytes in [200, packed.len() / 2, packed.len() - 1] {
        let said = refused("mimic", &place.file("cut.csv.zst", &packed[..bytes])).await;
        assert!(said.contains("cut.csv.zst") && said.contains("cut off or damaged"), "{said}");
    }
    let said = refused("mimic", &place.file("no.csv.zst", "subject_id")).await;
    assert!(said.contains("no.csv.zst") && said.contains("not a zstd file"), "{said}");
    place.file("wrong/ADMISSIONS.csv", "x\n");
    let said = refused("mimic", &place.folder.path().join("wrong")).await;
    assert!(said.contains("wrong") && said.contains("chartevents*.csv"), "{said}");
    let said = refused("cgm", &place.folder.path().join("nowhere")).await;
    assert!(said.contains("nowhere"), "{said}");
    let said = refused("physionet2012", &place.file("x.tar.zst", &packed)).await;
    assert!(said.contains("x.tar.zst"), "{said}");
    let pipe = place.file("pipes/other.txt", "").with_file_name("CHARTEVENTS.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, &place.folder.path().join("pipes")] {
        let said = refused("mimic", path).await;
        assert!(said.contains("CHARTEVENTS.csv: it is no plain file; give one"), "{said}");
    }
    let path = place.file("h.csv", "stay_id,time_min\n");
    let said = place.run(options("eicu", &path, &["--keep-time"]), &Server::default()).await.unwrap_err();
    assert!(said.to_string().contains("--keep-time"), "{said}");
}

#[tokio::test]
async fn text_in_another_encoding_costs_its_rows_only() {
    let place = ReplayFolders::new();
    let mut bytes = MIMIC.as_bytes().to_vec();
    bytes.extend(b"7,223762,2150-01-01 10:09:00,2150-01-01 10:09:00,37.5,37.5,\xb0C,,\n");
    let path = place.file("latin.csv", bytes);
    let (report, readings) = played("mimic", &path, &place, &["--keep-time"]).await;
    assert_eq!((readings.len(), report.skipped["not_text"]), (6, 1));
}
