//! The API as an OpenAPI 3.1 document, made of the descriptors: their comments are its texts.

mod problems;
mod schemas;

use super::{
    OPENAPI,
    intake::{MAX_BODY_BYTES, MAX_OPEN_BODY_BYTES},
    routes::{Path, last},
    served,
    transcode::Served,
};
use anyhow::anyhow;
use model::access::Purpose;
use prost_reflect::{FieldDescriptor, FileDescriptor, MessageDescriptor};
use proto::rpc::Body;
use schemas::{Schemas, Way};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// What the document says of the API as a whole.
const ABOUT: &str = "The rpcs of Wardline's gRPC services as JSON over HTTP; streams of readings are offered by gRPC alone. Every GET has its HEAD.\n\n\
    Fields have their names of the .proto files; whole numbers of 64 bits are strings; in answers every field is there. A \
    field or query parameter that does not exist is refused. What one may not see answers as what does not exist. `ETag` \
    and `If-Match` keep two changes from overwriting each other. 201 answers with one thing that was made, now or before for the \
    same key (such as `request_id`).\n\n\
    A PATCH changes the fields that are in its body, sections field by field, and nothing else; `null` is as if the field were \
    not there. With `update_mask` it changes the fields of the mask, and those that are not in the body become empty. A body \
    that changes nothing, or has a field that is `readOnly`, is refused. Not a primary alarm system.";

/// The document, as JSON: all that a cluster serves.
pub fn document() -> anyhow::Result<String> {
    document_of(|_| true)
}

/// Of what these processes serve, by their names (`wardline run --service`).
pub fn document_of(serves: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    let mut document = Document::default();
    let mut paths: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    // OpenAPI knows no two paths that differ by the names of their variables alone: those of the first stand for all
    let mut names: BTreeMap<String, &Path> = BTreeMap::new();
    let mut tags = Vec::new();
    let all = served()?;
    for served in all.iter().filter(|served| served.rpc().process.is_empty() || serves(&served.rpc().process)) {
        let service = served.method.parent_service();
        let tag = json!({ "name": tag(served), "description": comment(&service.parent_file(), service.path()) });
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        let path = *names.entry(served.path.shape()).or_insert(&served.path);
        let operation = document.operation(served, path);
        paths.entry(path.shown()).or_default().insert(served.route.method.to_lowercase(), operation);
    }
    paths.entry(OPENAPI.to_owned()).or_default().insert("get".to_owned(), own());
    tags.push(json!({ "name": "Document", "description": "What the API is." }));
    let schemas = document.schemas.into_map();
    let schemas = schemas.map_err(|(one, other)| anyhow!("{one} and {other} have the same name in the document"))?;
    let whole = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wardline", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": with(schemas, "Problem", problems::schema()),
            "parameters": { "PurposeOfUse": purpose() },
            "responses": problems::responses(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of one of the issuers that are believed.",
            } },
        },
    });
    Ok(format!("{whole:#}\n"))
}

/// The operation that answers with the document.
fn own() -> Json {
    let problem = json!({ "$ref": "#/components/responses/Invalid" });
    json!({
        "operationId": "GetOpenApi", "summary": "This document", "description": "Open to all.", "security": [],
        "tags": ["Document"],
        "parameters": conditions(),
        "responses": {
            "200": {
                "description": "OpenAPI 3.1", "content": { "application/json": { "schema": { "type": "object" } } },
                "headers": { "ETag": header("Of these bytes: for If-Match and If-None-Match of the next read.") },
            },
            "304": unchanged(),
            "400": problem,
            "412": { "$ref": "#/components/responses/OtherVersion" },
        },
    })
}

/// What is collected on the way.
#[derive(Default)]
struct Document {
    schemas: Schemas,
}

impl Document {
    fn operation(&mut self, served: &Served, shown: &Path) -> Json {
        let text = comment(&served.method.parent_file(), served.method.path());
        let mut answers = Map::new();
        let status = if served.creates() { "201" } else { "200" };
        answers.insert(status.to_owned(), self.answer(served));
        if is_read_with_etag(served) {
            answers.insert("304".to_owned(), unchanged());
        }
        problems::add(served, &mut answers);
        let mut operation = json!({
            "operationId": served.operation_id(),
            "tags": [tag(served)],
            "x-wardline-process": served.rpc().process,
            "summary": text.split_once(". ").map_or(text.trim_end_matches('.'), |(first, _)| first),
            "description": text,
            "parameters": self.parameters(served, shown),
            "responses": answers,
        });
        if served.rpc().is_open {
            operation["security"] = json!([]);
        }
        if let Some((schema, required)) = self.body(served) {
            let most = if served.rpc().is_open { MAX_OPEN_BODY_BYTES } else { MAX_BODY_BYTES };
            let message =
                served.rpc().max_bytes.map(|most| format!(", and {most} bytes as a message")).unwrap_or_default();
            operation["requestBody"] = json!({
                "description": format!("At most {most} bytes{message}."),
                "x-wardline-max-bytes": most,
                "required": required, "content": { "application/json": { "schema": schema } },
            });
        }
        operation
    }

    /// `shown`: the path whose variables' names are said.
    fn parameters(&mut self, served: &Served, shown: &Path) -> Vec<Json> {
        let mut found = Vec::new();
        for (path, shown) in served.path.fields().zip(shown.fields()) {
            let field = path.split('.').try_fold((served.method.input(), None), |(message, _), name| {
                let field = message.get_field_by_name(name)?;
                Some((field.kind().as_message().cloned().unwrap_or(message), Some(field)))
            });
            let Some(field) = field.and_then(|(_, field)| field) else { continue };
            found.push(self.parameter(&field, last(shown), "path"));
        }
        for field in served.parameters() {
            found.push(self.parameter(&field, field.name(), "query"));
        }
        if is_read_with_etag(served) {
            found.extend(conditions());
        } else if served.etag().is_some() {
            found.push(json!({
                "name": "If-Match", "in": "header", "schema": tags(),
                "description": "The `ETag` that was read, or several, or *: with another version there now, nothing is changed (412).",
            }));
        }
        found.push(json!({ "$ref": "#/components/parameters/PurposeOfUse" }));
        found
    }

    fn parameter(&mut self, field: &FieldDescriptor, name: &str, place: &str) -> Json {
        let description = comment(&field.parent_file(), field.path());
        let mut schema = self.schemas.value(field, Way::In);
        if place == "path" && schema["type"] == "string" && proto::resource::limits(field).uuid {
            schema = json!({ "type": "string", "format": "uuid" });
        }
        json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": schema })
    }

    /// The schema of a body, and whether there must be one.
    fn body(&mut self, served: &Served) -> Option<(Json, bool)> {
        let input = served.method.input();
        let taken: Vec<_> = served.path.fields().map(last).collect();
        match &served.route.body {
            Body::Nothing => None,
            Body::Field(name) => {
                let field = input.get_field_by_name(name)?;
                let resource = field.kind().as_message()?.clone();
                let way = if served.route.method == "PATCH" { Way::Change } else { Way::In };
                // what the path says need not be said again
                let fields: Vec<_> = resource.fields().filter(|field| !taken.contains(&field.name())).collect();
                Some((self.schemas.message(&resource, &fields, way), true))
            }
            Body::Whole => {
                let left: Vec<_> = input.fields().filter(|field| !taken.contains(&field.name())).collect();
                let is_needed = left.iter().any(proto::resource::is_required);
                (!left.is_empty()).then(|| (self.schemas.message(&input, &left, Way::In), is_needed))
            }
        }
    }

    fn answer(&mut self, served: &Served) -> Json {
        let output = served.answered();
        if served.is_file() {
            return file(served, &output);
        }
        let fields: Vec<_> = output.fields().collect();
        let kind = if served.rpc().streams.1 { "text/event-stream" } else { "application/json" };
        let mut answer = json!({
            "description": comment(&output.parent_file(), output.path()),
            "content": { kind: { "schema": self.schemas.message(&output, &fields, Way::Out) } },
        });
        let mut headers = Map::new();
        if output.get_field_by_name("etag").is_some() {
            let text = "For If-Match of the next change or read, and If-None-Match of the next read.";
            headers.insert("ETag".to_owned(), header(text));
        }
        if served.has_location() {
            headers.insert("Location".to_owned(), header("The path of what was made, now or before for the same key."));
        }
        if !headers.is_empty() {
            answer["headers"] = headers.into();
        }
        answer
    }
}

/// The answer of an rpc that answers with a file: nothing is said of what its bytes hold.
fn file(served: &Served, output: &MessageDescriptor) -> Json {
    let contents: Map<_, _> = served.rpc().media_types.iter().map(|kind| (kind.clone(), json!({}))).collect();
    json!({
        "description": comment(&output.parent_file(), output.path()),
        "content": contents,
        "headers": {
            "ETag": header("Of these bytes: for If-Match and If-None-Match of the next read."),
            "Content-Disposition": header("The name of the file."),
        },
    })
}

/// Whether it reads what has an entity tag: the conditions of a read are for that.
fn is_read_with_etag(served: &Served) -> bool {
    served.is_read() && (served.is_file() || served.answered().get_field_by_name("etag").is_some())
}

/// `*`, or a list of entity tags.
fn tags() -> Json {
    let one = r##"(W/)?"[!#-~]*""##;
    json!({ "type": "string", "pattern": format!(r"^(\*|{one}(, {one}){{0,7}})$") })
}

/// The conditions of a read, as header parameters (RFC 9110, 13.1).
fn conditions() -> [Json; 2] {
    let condition =
        |name: &str, text: &str| json!({ "name": name, "in": "header", "schema": tags(), "description": text });
    [
        condition(
            "If-Match",
            "The `ETag` that is meant, or several, or *: with another version there now, nothing is answered (412).",
        ),
        condition(
            "If-None-Match",
            "The `ETag` of what the caller has, or several, or *: when it is that of what is there, 304 without a body.",
        ),
    ]
}

/// The answer to who has what is there.
fn unchanged() -> Json {
    json!({
        "description": "What is there is what `If-None-Match` names: nothing is sent again.",
        "headers": { "ETag": header("Of what the caller has.") },
    })
}

fn header(text: &str) -> Json {
    json!({ "description": text, "schema": { "type": "string" } })
}

fn with(mut map: Map<String, Json>, name: &str, value: Json) -> Map<String, Json> {
    map.insert(name.to_owned(), value);
    map
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn tag(served: &Served) -> String {
    let service = served.method.parent_service();
    service.name().trim_end_matches("Service").to_owned()
}

/// What is to be said of the health service: its descriptors come without comments.
const OF_HEALTH: &str = "Whether a service is there, now and whenever that changes, as server-sent events. `service` is the full \
    name of a service of rpcs; empty: all that the process serves. One that it does not serve is `SERVICE_UNKNOWN`. Open to all.";

/// What stands before a declaration in its .proto file, as one paragraph a block.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    if file.package_name() == "grpc.health.v1" {
        return OF_HEALTH.to_owned();
    }
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let place = info.and_then(|info| info.location.iter().find(|place| place.path == path));
    let text = place.map(|place| place.leading_comments()).unwrap_or_default();
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn purpose() -> Json {
    let codes: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.code()).collect();
    json!({
        "name": "purpose-of-use", "in": "header", "schema": { "type": "string", "enum": codes },
        "description": "What the request is for (HL7 v3 PurposeOfUse); without it, what the relation to the patient is usually for.",
    })
}
