//! What holds for each report: its header says what its query does, and its rows do not depend on who works on them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use datafusion::{
    common::tree_node::TreeNodeRecursion,
    logical_expr::{Expr, LogicalPlan},
};

use super::tables::{Kind, Tables, limits, lines};
use crate::reports::{Limits, Report, Reports, engine, list};

#[test]
fn each_file_is_listed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("reports");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.map(|file| file.strip_suffix(".sql").unwrap().to_owned()).collect();
    let listed: Vec<&str> = list::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(Reports::all().count(), files.len());
}

#[test]
fn headers_are_complete() {
    let mut names = HashSet::new();
    for report in Reports::all() {
        let name = &report.name;
        assert!(report.title.len() > 5 && report.about.ends_with('.'), "{name}");
        assert!(names.insert(name.clone()) && report.aliases.iter().all(|alias| names.insert(alias.clone())), "{name}");
        for column in &report.columns {
            assert_eq!(column.kind.is_number() && column.unit.is_empty(), column.name == "value", "{name}: {column:?}");
            assert!(!column.about.is_empty(), "{name}: {column:?}");
        }
        for parameter in &report.parameters {
            assert!(!parameter.about.is_empty(), "{name}: {parameter:?}");
        }
        let publishers: BTreeSet<String> = report.tables.iter().map(|table| Kind::of(table).publisher).collect();
        assert_eq!(report.sources, publishers, "{name}");
    }
}

#[tokio::test]
async fn queries_do_what_their_headers_say() {
    let tables = sample(0, 1);
    for report in Reports::all() {
        let context = engine::context(&limits()).unwrap();
        for table in &report.tables {
            assert!(tables.files[table].register(&context, table).await.unwrap());
        }
        // What it uses is among the tables from here on, and parameters are not in their places yet.
        engine::plan(&context, report, &parameters(report)).await.unwrap();
        let unbound = context.state().create_logical_plan(report.sql).await.unwrap();
        let declared: HashSet<String> =
            report.parameters.iter().map(|parameter| format!("${}", parameter.name)).collect();
        assert_eq!(unbound.get_parameter_names().unwrap(), declared, "{}", report.name);
        assert_eq!(scanned(&unbound), report.tables, "{}", report.name);
        assert_eq!(sorted(&unbound), order(report), "{}", report.name);
    }
}

fn parameters(report: &Report) -> crate::reports::Parameters {
    let given = report.parameters.iter().filter(|parameter| parameter.default.is_none());
    report.check(&given.map(|parameter| (parameter.name.clone(), "TX".into())).collect()).unwrap()
}

/// Tables that the plan reads; those of a report in the place of the report.
fn scanned(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = scan.table_name.table();
            match Reports::find(name) {
                Ok(report) => tables.extend(report.tables.iter().cloned()),
                Err(_) if name == "counted_readings" => drop(tables.insert("readings".to_owned())),
                Err(_) => drop(tables.insert(name.to_owned())),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    tables
}

/// What the plan's last step sorts by: column, and whether it falls.
fn sorted(plan: &LogicalPlan) -> Vec<(String, bool)> {
    let sort = match plan {
        LogicalPlan::Sort(sort) => sort,
        LogicalPlan::Projection(projection) => return sorted(&projection.input),
        other => panic!("the last step is no sort but {}", other.display()),
    };
    let by = |sort: &datafusion::logical_expr::SortExpr| match &sort.expr {
        Expr::Column(column) => (column.name.clone(), !sort.asc),
        other => panic!("sorted by {other}"),
    };
    assert!(sort.expr.iter().all(|by| !by.nulls_first), "nulls are first");
    sort.expr.iter().map(by).collect()
}

fn order(report: &Report) -> Vec<(String, bool)> {
    report.order.iter().map(|order| (order.column.clone(), order.descending)).collect()
}

#[tokio::test]
async fn rows_and_their_order_depend_neither_on_threads_nor_on_files() {
    let (one, many) = (sample(7, 1), sample(7, 3));
    for report in Reports::all() {
        let run = async |tables: &Tables, n_partitions| {
            let limits = Limits { n_partitions, ..Limits::default() };
            lines(report.run(&tables.files, parameters(report), &limits).await.unwrap()).await
        };
        let (alone, four) = (run(&one, 1).await, run(&many, 4).await);
        assert_eq!(alone, four, "{}", report.name);
        assert!(!alone.is_empty(), "{} has no row", report.name);
        // The order is total: rows that agree in what they are ordered by are the same.
        let mut seen: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
        for line in &alone {
            let cells: Vec<&str> = line.split('|').collect();
            let place = |name: &str| report.columns.iter().position(|column| column.name == name).unwrap();
            let key: Vec<&str> = report.order.iter().map(|order| cells[place(&order.column)]).collect();
            let first = seen.entry(key).or_insert(line);
            assert_eq!(first, line, "{}: the order leaves these two open", report.name);
        }
        let mut keys = HashSet::new();
        for line in &alone {
            let cells: Vec<&str> = line.split('|').collect();
            let place = |name: &String| report.columns.iter().position(|column| column.name == *name).unwrap();
            let key: Vec<&str> = report.key.iter().map(|name| cells[place(name)]).collect();
            assert!(keys.insert(key.clone()), "{}: the key {key:?} occurs twice", report.name);
        }
    }
}

/// An engine may take a ranking for an order, and leave the sorting of rows of the same rank out.
#[tokio::test]
async fn rows_of_the_same_rank_are_in_the_order_of_the_header() {
    let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    // 40 states in no order, with 1, 2 or 3 hospitals
    let states = (0..40).map(|at| (format!("S{:02}", at * 17 % 40), at % 3 + 1));
    let hospitals: Vec<_> = states
        .flat_map(|(state, n)| (0..n).map(move |at| (state.clone(), format!("{state}-{at}"))))
        .map(|(state, ccn)| text(&["2025", &ccn, &state, "4"]))
        .collect();
    // 120 people of one state in no order, and as many of another, with 0 to 3 claims
    let people = (0..240_usize).map(|at| (["TX", "CA"][at / 120], format!("N{:03}", at * 77 % 240), at % 4));
    let prescribers: Vec<_> = people.map(|(state, npi, n)| text(&[state, &npi, "30", &n.to_string()])).collect();
    for n_files in [1, 3] {
        let mut tables = Tables::none();
        tables.add("hospitals", &["vintage", "ccn", "state", "overall_rating"], &hospitals, n_files);
        tables.add("prescribers", &["state", "npi", "years_of_experience", "n_claims"], &prescribers, n_files);
        for n_partitions in [1, 2, 4] {
            for (report, given, n) in [
                ("top_states_by_hospitals", &[("n", "100")][..], 40),
                ("top_states_by_rating", &[("n", "100"), ("min_rated", "1")][..], 40),
                ("top_prescribers", &[][..], 240),
                ("top_prescribers", &[("state", "TX")][..], 120),
            ] {
                let answer = tables.run(report, given, &Limits { n_partitions, ..Limits::default() }).await.unwrap();
                // where they are made lines, their order is looked at
                assert_eq!(lines(answer).await.len(), n, "{report}");
            }
        }
    }
}

/// All tables with made rows, the same for the same seed: few values, so that there are ties, and blanks.
fn sample(seed: u64, n_files: usize) -> Tables {
    let mut tables = Tables::none();
    let names: BTreeSet<&String> = Reports::all().flat_map(|report| &report.tables).collect();
    for table in names {
        let kind = Kind::of(table);
        let headings: Vec<&str> = kind.columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut random = Random(seed.wrapping_mul(31).wrapping_add(table.len() as u64) | 1);
        let mut keys = HashSet::new();
        let mut lines: Vec<Vec<String>> = (0..150).map(|_| random.line(&kind, table)).collect();
        let place = |name: &String| headings.iter().position(|heading| heading == name).unwrap();
        let places: Vec<usize> = kind.key.iter().map(place).collect();
        lines.retain(|line| {
            places.is_empty() || keys.insert(places.iter().map(|place| line[*place].clone()).collect::<Vec<_>>())
        });
        tables.add(table, &headings, &lines, n_files);
    }
    tables
}

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn of(&mut self, choices: &[&str]) -> String {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()].into()
    }

    fn line(&mut self, kind: &Kind, table: &str) -> Vec<String> {
        let level = self.of(&["nation", "state", "county", "county"]);
        let (code, state) = [("48", "TX"), ("06", "CA"), ("01", "AL"), ("66", "GU")][self.below(4) as usize];
        let nation =
            table != "preventable_stays" && level == "nation" && kind.columns.iter().any(|(name, _)| name == "level");
        let fips = match level.as_str() {
            "county" => format!("{code}00{}", 1 + self.below(9)),
            _ if nation => "00000".into(),
            _ => format!("{code}000"),
        };
        let county = format!("{code}00{}", 1 + self.below(9));
        let cell = |random: &mut Self, name: &str, data_type: &datafusion::arrow::datatypes::DataType| match name {
            "state" if nation => "US".into(),
            "state" => state.into(),
            "level" if nation || level != "nation" => level.clone(),
            "level" => "state".into(),
            "fips" => fips.clone(),
            "county_fips" => county.clone(),
            _ => random.cell(name, table, data_type),
        };
        kind.columns.iter().map(|(name, data_type)| cell(self, name, data_type)).collect()
    }

    fn cell(&mut self, name: &str, table: &str, data_type: &datafusion::arrow::datatypes::DataType) -> String {
        use datafusion::arrow::datatypes::DataType;
        match name {
            "vintage" if table == "sites" => return self.of(&["2020", "daily"]),
            "vintage" => return self.of(&["2020-07", "2025"]),
            "geography" => return self.of(&["2020", "2022"]),
            "age_group" => return self.of(&["All", "<65", "65+"]),
            "sex" => return self.of(&["Total", "Male", "Female"]),
            "year" | "plan_year" => return (2019 + self.below(6)).to_string(),
            "hospital_type" => {
                return self.of(&["Acute Care Hospitals", "GENERAL ACUTE CARE", "Psychiatric", "PSYCHIATRIC"]);
            }
            "starts_on" => return self.of(&["2020-07-01", "2019-07-01"]),
            "years_of_experience" => return (15 + self.below(40)).to_string(),
            "overall_rating" => return self.of(&["1", "2", "3", "4", "5", ""]),
            "ccn" | "npi" | "location_id" | "site_id" => return format!("T{}", self.below(80)),
            "latitude" | "longitude" => return format!("{}", self.below(40)),
            "metric" => return self.of(&["99504-3", "8867-4", "8310-5", "9279-1"]),
            "patient_id" => return format!("T{}", self.below(20)),
            "device_id" | "stream_id" | "unit" => return format!("T{}", self.below(4)),
            "clock" => return self.of(&["free", "unset"]),
            "good" => return self.of(&["true", "true", "false"]),
            "comparator" => return self.of(&["<", ">", "", ""]),
            "measured_at" | "received_at" => {
                let (day, hour) = (1 + self.below(3), self.below(24));
                return format!("2026-11-0{day}T{hour:02}:{:02}:00Z", self.below(60));
            }
            "hour" => return format!("2026-11-0{}T{:02}:00:00Z", 1 + self.below(3), self.below(24)),
            "action" | "purpose" => return format!("T{}", self.below(3)),
            "value" | "n_entries" => return self.below(400).to_string(),
            _ => {}
        }
        if self.below(10) == 0 && !["population", "city_key"].contains(&name) {
            return String::new();
        }
        match data_type {
            DataType::Utf8 => format!("T{}", self.below(5)),
            DataType::Int64 => self.below(9).to_string(),
            DataType::Int32 => self.below(200).to_string(),
            DataType::Timestamp(..) => String::new(),
            DataType::Float64 if name.starts_with("rank") => format!("0.{:02}", self.below(100)),
            DataType::Float64 => format!("{}.{:03}", self.below(50), self.below(1000)),
            DataType::Boolean => self.of(&["true", "false"]),
            DataType::Date32 => format!("20{:02}-0{}-01", 10 + self.below(10), 1 + self.below(9)),
            _ => format!("{}.{:02}", self.below(5000), self.below(100)),
        }
    }
}
