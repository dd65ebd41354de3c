//! Reports as tables: what a report's name and parameters stand for in a statement.

use crate::reports::{self, Parameters, Report};
use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::ScalarValue,
    dataframe::DataFrame,
    error::DataFusionError,
    execution::context::SessionContext,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use futures::FutureExt;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A report, as a function of its parameters in their order.
pub(super) struct ReportFunction {
    pub report: &'static Report,
    /// Has the report's tables, and no statement of the caller's.
    pub inner: SessionContext,
}

impl fmt::Debug for ReportFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "report {}", self.report.name)
    }
}

impl ReportFunction {
    /// The report with these parameters.
    pub(super) fn of(&self, given: &BTreeMap<String, String>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let plain = |error: reports::Error| match error {
            reports::Error::Engine(error) => *error,
            error => DataFusionError::Plan(error.to_string()),
        };
        let parameters = self.report.check(given).map_err(plain)?;
        // its tables are there: nothing is waited for
        let planned = self.planned(&parameters).now_or_never();
        let planned = planned.ok_or_else(|| DataFusionError::Internal("a report is not planned at once".to_owned()))?;
        Ok(planned.map_err(plain)?.into_view())
    }

    /// In a context of its own: what the report is planned over is made there, too.
    async fn planned(&self, parameters: &Parameters) -> Result<DataFrame, reports::Error> {
        let failed = |error| reports::Error::Engine(Box::new(error));
        let context = reports::beside(&self.inner);
        for table in &self.report.tables {
            let provider = self.inner.table_provider(table.as_str()).await.map_err(failed)?;
            context.register_table(table.as_str(), provider).map_err(failed)?;
        }
        reports::plan(&context, self.report, parameters).await
    }
}

/// A report that has no rows without parameters: to read it says so.
#[derive(Debug)]
pub(super) struct WithoutParameters(pub(super) &'static Report);

#[async_trait]
impl TableProvider for WithoutParameters {
    fn schema(&self) -> SchemaRef {
        reports::declared(self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let Report { name, parameters, .. } = self.0;
        let takes: Vec<_> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        Err(DataFusionError::Plan(format!("{name} needs parameters: FROM {name}(...), of {}", takes.join(", "))))
    }
}

impl TableFunctionImpl for ReportFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let (takes, exprs) = (&self.report.parameters, args.exprs());
        if exprs.len() > takes.len() {
            let names: Vec<_> = takes.iter().map(|parameter| parameter.name.as_str()).collect();
            let text = format!("{} takes {} parameters: {}", self.report.name, takes.len(), names.join(", "));
            return Err(DataFusionError::Plan(text));
        }
        let given = takes.iter().zip(exprs).map(|(parameter, expr)| {
            let text = literal(expr);
            let must = || DataFusionError::Plan(format!("{}: must be a text or a number", parameter.name));
            Ok((parameter.name.clone(), text.ok_or_else(must)?))
        });
        self.of(&given.collect::<Result<_, DataFusionError>>()?)
    }
}

/// A text or a number that stands in a statement.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => Some(text.clone()),
            ScalarValue::Int64(Some(_)) | ScalarValue::UInt64(Some(_)) => Some(value.to_string()),
            _ => None,
        },
        Expr::Negative(of) => literal(of).map(|text| format!("-{text}")),
        _ => None,
    }
}
