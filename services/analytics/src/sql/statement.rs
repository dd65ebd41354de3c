//! What is a statement: one SELECT, and nothing that changes or names anything outside.

use datafusion::sql::{
    parser::{DFParser, Statement},
    sqlparser::{ast, dialect::PostgreSqlDialect},
};
use proto::problem;
use tonic::Status;

/// Longest statement, in bytes.
const LONGEST: usize = 64 << 10;

/// The one SELECT of a text, in the dialect of PostgreSQL.
///
/// # Errors
/// INVALID_ARGUMENT with what is wrong: the grammar, several statements, or one that is no SELECT.
pub(super) fn one_select(sql: &str) -> Result<Statement, Status> {
    let invalid = |text: String| problem::invalid("INVALID_SQL", "query", text);
    if sql.len() > LONGEST {
        return Err(invalid(format!("is {} bytes long: up to {LONGEST} are read", sql.len())));
    }
    let statements = DFParser::parse_sql_with_dialect(sql, &PostgreSqlDialect {});
    let mut statements = statements.map_err(|error| invalid(error.strip_backtrace()))?;
    let (Some(one), true) = (statements.pop_front(), statements.is_empty()) else {
        return Err(invalid("must be one statement".to_owned()));
    };
    match one {
        Statement::Statement(statement) => match *statement {
            ast::Statement::Query(query) if is_select(&query) => {
                Ok(Statement::Statement(Box::new(ast::Statement::Query(query))))
            }
            other => Err(invalid(format!("must be a SELECT: {} is not done here", verb(&other.to_string())))),
        },
        other => Err(invalid(format!("must be a SELECT: {} is not done here", verb(&other.to_string())))),
    }
}

/// Whether a query only reads: neither `SELECT ... INTO`, nor a change within it, nor a lock.
fn is_select(query: &ast::Query) -> bool {
    let within = query.with.iter().flat_map(|with| &with.cte_tables).all(|table| is_select(&table.query));
    within && query.locks.is_empty() && reads(&query.body)
}

fn reads(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(query) => is_select(query),
        ast::SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
        ast::SetExpr::Values(_) => true,
        _ => false,
    }
}

/// The first word of a statement.
fn verb(statement: &str) -> String {
    statement.split_whitespace().next().unwrap_or_default().to_uppercase()
}
