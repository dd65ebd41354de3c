//! What is a statement: one SELECT, of a size that can be planned, which neither changes nor names anything outside.
//!
//! How long a statement is does not say how much is planned for it: a name that stands for another that stands for two others is as
//! large as what they stand for. So tables are counted as often as they are read in the end.

use crate::reports::CATALOG;
use datafusion::sql::{
    parser::{DFParser, Statement},
    sqlparser::{
        ast::{
            self, BinaryOperator, Expr, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, SetExpr, TableFactor,
            Value, Visit, VisitMut, Visitor, VisitorMut,
        },
        dialect::PostgreSqlDialect,
        tokenizer::{Token, Tokenizer},
    },
};
use proto::problem;
use std::{collections::HashMap, ops::ControlFlow};
use tonic::Status;

/// Longest statement, in bytes.
const LONGEST: usize = 64 << 10;
/// Most words, numbers and signs of one, and most of those that make it deeper.
const TOKENS_MAX: usize = 4_000;
const DEEPER_MAX: usize = 200;
/// Most tables that are read, each as often as it is.
const TABLES_MAX: u64 = 64;
/// Most columns of a CUBE: it has a group for each choice of them.
const CUBE_MAX: usize = 4;

/// The one SELECT of a text, in the dialect of PostgreSQL.
///
/// # Errors
/// INVALID_ARGUMENT with what is wrong: the grammar, several statements, one that is no SELECT, or too large a one.
pub(super) fn one_select(sql: &str) -> Result<Statement, Status> {
    if sql.len() > LONGEST {
        return Err(invalid(format!("is {} bytes long: up to {LONGEST} are read", sql.len())));
    }
    count_tokens(sql)?;
    let statements = DFParser::parse_sql_with_dialect(sql, &PostgreSqlDialect {});
    let mut statements = statements.map_err(|error| invalid(error.strip_backtrace()))?;
    let (Some(one), true) = (statements.pop_front(), statements.is_empty()) else {
        return Err(invalid("must be one statement".to_owned()));
    };
    let other = |text: String| invalid(format!("must be a SELECT: {} is not done here", verb(&text)));
    let Statement::Statement(statement) = one else { return Err(other(one.to_string())) };
    let mut statement = statement;
    let ast::Statement::Query(query) = &mut *statement else { return Err(other(statement.to_string())) };
    let mut looked = Looked::default();
    if let ControlFlow::Break(why) = Visit::visit(&**query, &mut looked) {
        return Err(invalid(why));
    }
    let n_tables = looked.n_tables();
    if n_tables > TABLES_MAX {
        let text = format!("reads {n_tables} tables, each counted as often as it is read: up to {TABLES_MAX} can be");
        return Err(invalid(text));
    }
    let _ = VisitMut::visit(query, &mut FunctionNames);
    Ok(Statement::Statement(statement))
}

/// Writes the names of functions that give rows as the engine looks for them: it takes the first part as it stands.
struct FunctionNames;

impl VisitorMut for FunctionNames {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } = factor
            && let Some(Ident { value, quote_style, .. }) = name.0.last().and_then(|part| part.as_ident())
            && is_public(&name.0[..name.0.len() - 1])
        {
            let value = if quote_style.is_some() { value.clone() } else { value.to_lowercase() };
            *name = ObjectName::from(vec![Ident::new(value)]);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a table of this schema, or of none, is one of data sets and reports.
fn is_public(schema: &[ObjectNamePart]) -> bool {
    let parts: Option<Vec<_>> = schema.iter().map(|part| part.as_ident()).collect();
    let names = parts.map(|parts| parts.into_iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>());
    names.is_some_and(|names| match &*names {
        [] => true,
        [schema] => schema == CATALOG.1,
        [catalog, schema] => catalog == CATALOG.0 && schema == CATALOG.1,
        _ => false,
    })
}

fn invalid(text: String) -> Status {
    problem::invalid("INVALID_SQL", "query", text)
}

/// The first word of a statement.
fn verb(statement: &str) -> String {
    statement.split_whitespace().next().unwrap_or_default().to_uppercase()
}

/// Refuses what would be too large or too deep a tree, before there is one.
fn count_tokens(sql: &str) -> Result<(), Status> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| invalid(error.to_string()))?;
    let counted = || tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let n_tokens = counted().count();
    if n_tokens > TOKENS_MAX {
        return Err(invalid(format!("has {n_tokens} words and signs: up to {TOKENS_MAX} are read")));
    }
    let is_plain = |token: &Token| match token {
        Token::Word(word) => {
            let word = word.value.to_uppercase();
            let deeper =
                ["NOT", "AND", "OR", "IS", "UNION", "INTERSECT", "EXCEPT", "JOIN", "COLLATE", "AT", "CASE", "SELECT"];
            word != "LATERAL" && !deeper.contains(&word.as_str())
        }
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::Period | Token::SemiColon => true,
        Token::RParen | Token::RBracket | Token::RBrace | Token::EOF => true,
        _ => false,
    };
    let n_deeper = counted().filter(|token| !is_plain(token)).count();
    if n_deeper > DEEPER_MAX {
        let text = format!("has {n_deeper} operators, brackets, joins and SELECTs: up to {DEEPER_MAX} are read");
        return Err(invalid(text));
    }
    Ok(())
}

/// What is seen of a statement.
#[derive(Default)]
struct Looked {
    /// All tables that are named, within named queries, too.
    tables: Vec<String>,
    /// Those within each named query.
    named: HashMap<String, Vec<String>>,
}

impl Looked {
    fn n_tables(&self) -> u64 {
        let mut known = HashMap::new();
        self.tables.iter().map(|name| self.weight(name, &mut known)).fold(0, u64::saturating_add)
    }

    /// How many tables a name stands for.
    fn weight<'s>(&'s self, name: &'s str, known: &mut HashMap<&'s str, u64>) -> u64 {
        if let Some(weight) = known.get(name) {
            return *weight;
        }
        let Some(within) = self.named.get(name) else { return 1 };
        // one that names itself is read in turns
        known.insert(name, 1);
        let weight = within.iter().map(|name| self.weight(name, known)).fold(1, u64::saturating_add);
        known.insert(name, weight);
        weight
    }
}

impl Visitor for Looked {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if !query.locks.is_empty() {
            return ControlFlow::Break("FOR UPDATE and FOR SHARE are not done here: it only reads".to_owned());
        }
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut within = Relations(Vec::new());
            let _ = table.query.visit(&mut within);
            self.named.entry(table.alias.name.value.to_lowercase()).or_default().extend(within.0);
        }
        reads(&query.body)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        self.tables.push(relation.to_string().to_lowercase());
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                let is_plain = with_hints.is_empty()
                    && version.is_none()
                    && !with_ordinality
                    && partitions.is_empty()
                    && json_path.is_none()
                    && sample.is_none()
                    && index_hints.is_empty();
                match is_plain {
                    true => ControlFlow::Continue(()),
                    false => {
                        ControlFlow::Break("a table is read whole here: no TABLESAMPLE, ORDINALITY or hints".to_owned())
                    }
                }
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => {
                ControlFlow::Break("|| is not done here: use concat(...)".to_owned())
            }
            Expr::Cube(columns) if columns.len() > CUBE_MAX => {
                ControlFlow::Break(format!("CUBE is done of up to {CUBE_MAX} columns"))
            }
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                ControlFlow::Break("parameters are not taken: write the values into the statement".to_owned())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Refuses what changes something within a query.
fn reads(body: &SetExpr) -> ControlFlow<String> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => {
            ControlFlow::Break("SELECT ... INTO is not done here: it only reads".to_owned())
        }
        SetExpr::Select(select) => match &select.group_by {
            GroupByExpr::Expressions(_, modifiers) if !modifiers.is_empty() => {
                ControlFlow::Break("GROUP BY is done without WITH ROLLUP, CUBE or TOTALS".to_owned())
            }
            _ => ControlFlow::Continue(()),
        },
        SetExpr::SetOperation { left, right, .. } => {
            reads(left)?;
            reads(right)
        }
        // each is visited by itself
        SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        other => ControlFlow::Break(format!("must be a SELECT: {} is not done here", verb(&other.to_string()))),
    }
}

/// Names of tables.
struct Relations(Vec<String>);

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.0.push(relation.to_string().to_lowercase());
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why it is refused.
    fn why(sql: &str) -> Option<String> {
        one_select(sql).err().map(|status| status.message().to_owned())
    }

    /// Named queries of which each reads the one before twice.
    fn doubled(levels: usize) -> String {
        let named = (1..levels).map(|n| format!(", a{n} AS (SELECT * FROM a{0} UNION ALL SELECT * FROM a{0})", n - 1));
        format!("WITH a0 AS (SELECT 1 AS x){} SELECT count(*) FROM a{}", named.collect::<String>(), levels - 1)
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_refused_before_it_is_planned() {
        for fine in [
            "SELECT 1",
            "SELECT a, b FROM t JOIN u ON t.id = u.id WHERE a > 1 AND NOT (b IS NULL OR b = 'x') GROUP BY a, b ORDER BY 1",
            "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT * FROM a JOIN b ON a.x = b.x",
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 9) SELECT * FROM t",
            &doubled(4),
        ] {
            assert_eq!(why(fine), None, "{fine}");
        }
        for (deep, text) in [
            ("SELECT ".to_owned() + &"NOT ".repeat(300) + "true", "operators"),
            ("SELECT ".to_owned() + &vec!["1"; 300].join("+"), "operators"),
            (vec!["SELECT 1"; 300].join(" UNION ALL "), "operators"),
            ("SELECT 1".to_owned() + &"::int".repeat(300), "operators"),
            ("SELECT true".to_owned() + &" IS TRUE".repeat(300), "operators"),
            ("SELECT ".to_owned() + &"(".repeat(300) + "1" + &")".repeat(300), "operators"),
            ("SELECT ".to_owned() + &vec!["a"; 5_000].join(","), "words and signs"),
            (doubled(27), "tables"),
            ("SELECT ".to_owned() + &" ".repeat(70_000) + "1", "bytes"),
        ] {
            assert!(why(&deep).is_some_and(|why| why.contains(text)), "{:?}: {:?}", &deep[..40], why(&deep));
        }
    }

    #[test]
    fn what_does_more_than_to_read_says_what_it_is() {
        for (sql, text) in [
            ("SELECT 'a' || 'b'", "concat"),
            ("SELECT * FROM t WHERE a = $1", "parameters"),
            ("SELECT * FROM t TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE"),
            ("SELECT * FROM t FOR UPDATE", "FOR UPDATE"),
            ("SELECT 1 INTO t", "INTO"),
            ("WITH t AS (DELETE FROM u RETURNING *) SELECT * FROM t", "DELETE"),
            ("SELECT a, count(*) FROM t GROUP BY CUBE (a, b, c, d, e)", "CUBE"),
            ("DROP TABLE t", "DROP"),
        ] {
            assert!(why(sql).is_some_and(|why| why.contains(text)), "{sql}: {:?}", why(sql));
        }
    }

    #[test]
    fn a_function_that_gives_rows_is_found_however_its_name_is_written() {
        for (written, read) in [
            ("City_Report('TX')", "city_report('TX')"),
            ("public.city_report('TX')", "city_report('TX')"),
            ("Wardline.PUBLIC.\"city_report\"('TX')", "city_report('TX')"),
            ("\"City_Report\"('TX')", "City_Report('TX')"),
            // another's, and a table
            ("pg_catalog.City_Report('TX')", "pg_catalog.City_Report('TX')"),
            ("PUBLIC.Cities", "PUBLIC.Cities"),
        ] {
            let select = one_select(&format!("SELECT * FROM {written}")).map(|select| select.to_string());
            assert_eq!(select.ok(), Some(format!("SELECT * FROM {read}")), "{written}");
        }
    }
}
