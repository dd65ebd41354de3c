//! Arrow Flight SQL, for clients that take columns (ADBC, JDBC, pandas, polars, DuckDB).
//!
//! Nothing is kept between calls: a ticket, and the handle of a prepared statement, is the statement itself, which is planned again for
//! whoever comes with it.

use super::{
    Statements,
    tables::{self, Listed},
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc,
    Ticket,
    encode::FlightDataEncoderBuilder,
    error::FlightError,
    flight_service_server::{FlightService, FlightServiceServer},
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
        Any, Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes,
        CommandGetTables, CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, SqlInfo,
        TicketStatementQuery,
        metadata::{SqlInfoData, SqlInfoDataBuilder},
        server::FlightSqlService,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError, ipc::writer::IpcWriteOptions};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use model::access::Principal;
use prost::Message;
use proto::problem;
use std::{collections::BTreeSet, pin::Pin, sync::LazyLock};
use tonic::{Code, Request, Response, Status, Streaming};

/// The one catalogue of all tables.
const CATALOG: &str = crate::reports::CATALOG.0;

type Rows<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Got = Result<Response<<Flight as FlightService>::DoGetStream>, Status>;
type Told = Result<Response<FlightInfo>, Status>;

/// Answers Flight SQL.
pub struct Flight {
    statements: Statements,
}

/// What the server says of itself.
static ABOUT: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut about = SqlInfoDataBuilder::new();
    about.append(SqlInfo::FlightSqlServerName, "Wardline");
    about.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    about.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    about.append(SqlInfo::FlightSqlServerReadOnly, true);
    about.append(SqlInfo::FlightSqlServerSql, true);
    about.append(SqlInfo::FlightSqlServerSubstrait, false);
    about.append(SqlInfo::FlightSqlServerTransaction, 0);
    about.build().expect("the server's own facts are made by a test")
});

impl Flight {
    /// Plans and runs what is asked by `statements`.
    pub fn new(statements: Statements) -> Self {
        Self { statements }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> FlightServiceServer<Self> {
        FlightServiceServer::new(self).max_decoding_message_size(128 * 1024)
    }

    /// What a statement gives.
    async fn described<T>(&self, request: &Request<T>, sql: &str) -> Result<SchemaRef, Status> {
        self.statements.described(caller(request)?, sql).await
    }

    /// The rows of a statement.
    async fn rows(&self, request: &Request<Ticket>, sql: &str) -> Got {
        let planned = self.statements.plan(caller(request)?, sql).await?;
        let schema = planned.schema().clone();
        Ok(encoded(schema, planned.run()?.boxed()))
    }

    async fn tables(&self, query: &CommandGetTables, caller: &Principal) -> Result<RecordBatch, Status> {
        let listed = tables::all(&self.statements, caller).await?;
        let mut builder = query.clone().into_builder();
        for Listed { schema, name, kind } in listed {
            let columns = match query.include_schema {
                true => self.columns(caller, &schema, &name).await?,
                false => SchemaRef::new(datafusion::arrow::datatypes::Schema::empty()),
            };
            builder.append(CATALOG, &schema, &name, kind, &columns).map_err(unsaid)?;
        }
        builder.build().map_err(unsaid)
    }

    async fn columns(&self, caller: &Principal, schema: &str, name: &str) -> Result<SchemaRef, Status> {
        let sql = format!("SELECT * FROM \"{schema}\".\"{name}\"");
        self.statements.described(caller, &sql).await
    }

    async fn schemas(&self, query: CommandGetDbSchemas, caller: &Principal) -> Result<RecordBatch, Status> {
        let listed = tables::all(&self.statements, caller).await?;
        let names: BTreeSet<_> = listed.into_iter().map(|table| table.schema).collect();
        let mut builder = query.into_builder();
        names.iter().for_each(|name| builder.append(CATALOG, name));
        builder.build().map_err(unsaid)
    }
}

#[async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Rows<HandshakeResponse>>, Status> {
        // the auth layer has let it in; what it says is not needed, but is to be readable
        let (metadata, _, mut said) = request.into_parts();
        said.message().await?;
        let token = guard::token(&metadata, guard::FLIGHT).unwrap_or_default();
        let answer = HandshakeResponse { protocol_version: 0, payload: Bytes::new() };
        let mut answer: Response<Rows<_>> = Response::new(stream::iter([Ok(answer)]).boxed());
        let bearer = format!("Bearer {token}").parse().map_err(|_| Status::internal("a token that is no header"))?;
        answer.metadata_mut().insert("authorization", bearer);
        Ok(answer)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Told {
        let schema = self.described(&request, &query.query).await?;
        let ticket = TicketStatementQuery { statement_handle: query.query.into() };
        told(request.into_inner(), &schema, &ticket)
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Got {
        self.rows(&request, sql_of(&ticket.statement_handle)?).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let schema = self.described(&request, &query.query).await?;
        let IpcMessage(schema) = SchemaAsIpc::new(&schema, &IpcWriteOptions::default())
            .try_into()
            .map_err(|error: ArrowError| unsaid(error.into()))?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: query.query.into(),
            dataset_schema: schema,
            parameter_schema: Bytes::new(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Told {
        let schema = self.described(&request, sql_of(&query.prepared_statement_handle)?).await?;
        told(request.into_inner(), &schema, &query)
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Got {
        self.rows(&request, sql_of(&query.prepared_statement_handle)?).await
    }

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Told {
        told(request.into_inner(), &query.into_builder().schema(), &query)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, _request: Request<Ticket>) -> Got {
        let mut builder = query.into_builder();
        builder.append(CATALOG);
        one(builder.build().map_err(unsaid)?)
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Told {
        told(request.into_inner(), &query.clone().into_builder().schema(), &query)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Got {
        one(self.schemas(query, caller(&request)?).await?)
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Told {
        told(request.into_inner(), &query.clone().into_builder().schema(), &query)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Got {
        one(self.tables(&query, caller(&request)?).await?)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Told {
        told(request.into_inner(), &query.into_builder().schema(), &query)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, _request: Request<Ticket>) -> Got {
        let mut builder = query.into_builder();
        ["TABLE", "VIEW"].into_iter().for_each(|kind| builder.append(kind));
        one(builder.build().map_err(unsaid)?)
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Told {
        told(request.into_inner(), &ABOUT.schema(), &query)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _request: Request<Ticket>) -> Got {
        one(query.into_builder(&ABOUT).build().map_err(unsaid)?)
    }

    async fn get_flight_info_fallback(&self, _command: Command, _request: Request<FlightDescriptor>) -> Told {
        Err(not_served("cmd"))
    }

    async fn do_get_fallback(&self, _request: Request<Ticket>, _message: Any) -> Got {
        Err(not_served("ticket"))
    }

    async fn do_action_fallback(
        &self,
        _request: Request<Action>,
    ) -> Result<Response<Rows<arrow_flight::Result>>, Status> {
        Err(not_served("type"))
    }

    async fn register_sql_info(&self, _id: i32, _info: &SqlInfo) {}
}

fn not_served(field: &str) -> Status {
    problem::invalid(
        "UNKNOWN_COMMAND",
        field,
        "must be a command of Flight SQL that is served here: statements and lists of tables",
    )
}

fn caller<T>(request: &Request<T>) -> Result<&Principal, Status> {
    guard::principal(request.extensions())
}

/// The statement that a handle is.
fn sql_of(handle: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(handle).map_err(|_| problem::invalid("INVALID_SQL", "query", "must be UTF-8"))
}

/// What there is to be fetched, and with which ticket.
fn told(asked: FlightDescriptor, schema: &SchemaRef, ticket: &impl ProstMessageExt) -> Told {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new().try_with_schema(schema).map_err(|error| unsaid(error.into()))?;
    let info = info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_descriptor(asked);
    Ok(Response::new(info))
}

fn one(batch: RecordBatch) -> Got {
    Ok(encoded(batch.schema(), stream::iter([Ok(batch)]).boxed()))
}

fn encoded(schema: SchemaRef, rows: Rows<RecordBatch>) -> Response<<Flight as FlightService>::DoGetStream> {
    let rows = rows.map_err(|status| FlightError::Tonic(Box::new(status)));
    let parts = FlightDataEncoderBuilder::new().with_schema(schema).build(rows);
    Response::new(
        parts
            .map_err(|error| match error {
                FlightError::Tonic(status) => *status,
                error => unsaid(error),
            })
            .boxed(),
    )
}

/// What cannot be said in Arrow's format.
fn unsaid(error: FlightError) -> Status {
    tracing::error!(error = &error as &dyn std::error::Error, "an answer of Flight SQL cannot be encoded");
    problem::status(Code::Internal, "SQL_FAILED", "the answer cannot be encoded; tell the operators")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_says_what_it_is() {
        let said = CommandGetSqlInfo { info: vec![] }.into_builder(&ABOUT).build().unwrap();
        assert!(said.num_rows() >= 6, "{said:?}");
    }
}
