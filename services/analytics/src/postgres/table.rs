//! A table of the database: what it must look like, and the statements over it.

use super::Gone;
use crate::{
    datasets,
    reports::{Report, Type},
};
use datafusion::arrow::datatypes::DataType;

/// The column that says since when a row is gone.
pub(super) const GONE_AT: &str = "gone_at";
const GONE_TYPE: &str = "timestamp with time zone";

/// A table that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// The schema that it lies in.
    pub(super) schema: String,
    /// Its name there.
    pub(super) name: String,
    /// Name and type, as PostgreSQL writes it, of each column.
    pub(super) columns: Vec<(String, String)>,
    /// Names of those that make a row unique.
    pub(super) key: Vec<String>,
}

impl Table {
    /// The rows of a report.
    pub(super) fn of_report(schema: &str, report: &Report) -> Self {
        let column = |column: &crate::reports::Column| (column.name.clone(), sql_type(&Type::arrow(column.kind)));
        let columns = report.columns.iter().map(column).collect();
        Self { schema: schema.to_owned(), name: report.name.clone(), columns, key: report.key.clone() }
    }

    /// The rows of a kind of data set.
    pub(super) fn of_kind(schema: &str, kind: &datasets::Kind) -> Self {
        let columns = kind.schema().fields().iter().map(|f| (f.name().clone(), sql_type(f.data_type()))).collect();
        Self { schema: schema.to_owned(), name: kind.name.clone(), columns, key: kind.key.clone() }
    }

    /// Schema and name, for people.
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Schema and name, for statements.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Where rows come first: known to this connection alone.
    fn staging(&self) -> String {
        format!("pg_temp.{}", quoted(&format!("copied_{}", self.name)))
    }

    /// Makes the table.
    pub(super) fn create(&self) -> String {
        let key = list(&self.key, |name| quoted(name));
        format!("CREATE TABLE {} ({}, UNIQUE NULLS NOT DISTINCT ({key}))", self.quoted(), self.definitions())
    }

    /// Makes a table beside it that is gone after the transaction.
    pub(super) fn create_staging(&self) -> String {
        format!("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP", self.staging(), self.definitions())
    }

    /// Takes rows into that table.
    pub(super) fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN", self.staging(), self.names())
    }

    /// Lets the planner know how many they are.
    pub(super) fn analyze(&self) -> String {
        format!("ANALYZE {}", self.staging())
    }

    /// Counts keys of it that occur more than once.
    pub(super) fn duplicates(&self) -> String {
        let key = list(&self.key, |name| quoted(name));
        format!("SELECT count(*) FROM (SELECT 1 FROM {} GROUP BY {key} HAVING count(*) > 1) AS d", self.staging())
    }

    /// Puts its rows into the table: counts those inserted, and those updated.
    pub(super) fn upsert(&self, gone: Gone) -> String {
        let values: Vec<_> =
            self.columns.iter().map(|(name, _)| name).filter(|name| !self.key.contains(name)).collect();
        let (held, new) = (list(&values, |name| of("held", name)), list(&values, |name| of("excluded", name)));
        let mut set: Vec<String> =
            values.iter().map(|name| format!("{} = {}", quoted(name), of("excluded", name))).collect();
        let mut when = Vec::new();
        if !values.is_empty() {
            when.push(format!("ROW({held}) IS DISTINCT FROM ROW({new})"));
        }
        if gone == Gone::Mark {
            set.push(format!("{} = NULL", quoted(GONE_AT)));
            when.push(format!("{} IS NOT NULL", of("held", GONE_AT)));
        }
        let (names, key) = (self.names(), list(&self.key, |name| quoted(name)));
        let action = match set.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {} WHERE {}", set.join(", "), when.join(" OR ")),
        };
        format!(
            "WITH done AS (INSERT INTO {} AS held ({names}) SELECT {names} FROM {} ON CONFLICT ({key}) DO {action} \
             RETURNING held.xmax = 0 AS inserted) \
             SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM done",
            self.quoted(),
            self.staging(),
        )
    }

    /// What becomes of rows that are not among those that came; nothing, if they stay.
    pub(super) fn gone(&self, gone: Gone) -> Option<String> {
        // Of nulls `=` says nothing, and `IS NOT DISTINCT FROM` is not hashed: rows would be compared each with each.
        let same = |name: &String| {
            let (held, new) = (of("held", name), of("new", name));
            format!("coalesce({held}::text, '') = coalesce({new}::text, '') AND ({held} IS NULL) = ({new} IS NULL)")
        };
        let same = self.key.iter().map(same).collect::<Vec<_>>().join(" AND ");
        let is_gone = format!("NOT EXISTS (SELECT FROM {} AS new WHERE {same})", self.staging());
        let (table, at) = (self.quoted(), quoted(GONE_AT));
        match gone {
            Gone::Keep => None,
            Gone::Mark => {
                Some(format!("UPDATE {table} AS held SET {at} = now() WHERE held.{at} IS NULL AND {is_gone}"))
            }
            Gone::Delete => Some(format!("DELETE FROM {table} AS held WHERE {is_gone}")),
        }
    }

    /// Adds the column for rows that are gone.
    pub(super) fn add_gone_at(&self) -> String {
        format!("ALTER TABLE {} ADD COLUMN {} {GONE_TYPE}", self.quoted(), quoted(GONE_AT))
    }

    /// How the columns that are there, names and types, differ from those that must be; none: they do not. The column for rows
    /// that are gone may be there.
    pub(super) fn difference(&self, there: &[(String, String)]) -> Option<String> {
        let mut differences = Vec::new();
        for (name, kind) in &self.columns {
            match there.iter().find(|(other, _)| other == name) {
                None => differences.push(format!("{name} {kind} is missing")),
                Some((_, other)) if other != kind => differences.push(format!("{name} is {other}, not {kind}")),
                Some(_) => {}
            }
        }
        for (name, kind) in there {
            let is_ours = self.columns.iter().any(|(ours, _)| ours == name);
            if !is_ours && (name != GONE_AT || kind != GONE_TYPE) {
                differences.push(format!("{name} {kind} is too much"));
            }
        }
        (!differences.is_empty()).then(|| differences.join("; "))
    }

    fn names(&self) -> String {
        list(&self.columns, |(name, _)| quoted(name))
    }

    fn definitions(&self) -> String {
        list(&self.columns, |(name, kind)| format!("{} {kind}", quoted(name)))
    }
}

/// The type as PostgreSQL shows it (`format_type`).
fn sql_type(arrow: &DataType) -> String {
    match arrow {
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Decimal128(digits, places) => format!("numeric({digits},{places})"),
        // reports and kinds have no other
        _ => "text".to_owned(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn of(table: &str, column: &str) -> String {
    format!("{table}.{}", quoted(column))
}

fn list<T>(items: &[T], shown: impl Fn(&T) -> String) -> String {
    items.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::Reports;

    fn table() -> Table {
        let columns = [("state", "text"), ("n", "bigint")].map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        Table { schema: "s".into(), name: "t".into(), columns: columns.into(), key: vec!["state".into()] }
    }

    #[test]
    fn what_differs_is_named() {
        let there =
            |columns: &[(&str, &str)]| columns.iter().map(|(n, k)| ((*n).into(), (*k).into())).collect::<Vec<_>>();
        let ours = table().columns;
        assert_eq!(table().difference(&ours), None);
        let marked = [&ours[..], &there(&[(GONE_AT, GONE_TYPE)])].concat();
        assert_eq!(table().difference(&marked), None);
        let other = there(&[("n", "integer"), ("note", "text"), (GONE_AT, "text")]);
        let said = "state text is missing; n is integer, not bigint; note text is too much; gone_at text is too much";
        assert_eq!(table().difference(&other).as_deref(), Some(said));
    }

    #[test]
    fn statements_quote_names_and_touch_only_what_is_other() {
        let sly = Table { name: "a\"; DROP TABLE x; --".into(), ..table() };
        assert!(sly.create().starts_with("CREATE TABLE \"s\".\"a\"\"; DROP TABLE x; --\" ("), "{}", sly.create());
        let upsert = table().upsert(Gone::Keep);
        assert!(upsert.contains("WHERE ROW(held.\"n\") IS DISTINCT FROM ROW(excluded.\"n\")"), "{upsert}");
        assert!(!upsert.contains(GONE_AT) && table().upsert(Gone::Mark).contains(GONE_AT));
        let only_key = Table { key: vec!["state".into(), "n".into()], ..table() };
        assert!(only_key.upsert(Gone::Keep).contains("DO NOTHING"));
        assert!(only_key.upsert(Gone::Mark).contains("DO UPDATE SET \"gone_at\" = NULL WHERE"));
        assert_eq!(table().gone(Gone::Keep), None);
    }

    #[test]
    fn every_report_and_every_kind_with_a_key_is_a_table_and_no_name_is_both() {
        for report in Reports::all() {
            let table = Table::of_report("s", report);
            assert!(!table.key.is_empty() && datasets::kind(&report.name).is_err(), "{}", report.name);
            assert!(table.columns.iter().all(|(name, _)| name != GONE_AT), "{}", report.name);
        }
        for kind in datasets::kinds() {
            assert!(Table::of_kind("s", kind).columns.iter().all(|(name, _)| name != GONE_AT), "{}", kind.name);
        }
    }
}
