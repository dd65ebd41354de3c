//! The API as an OpenAPI 3.1 document, made of the descriptors: their comments are its texts.

use super::{OPENAPI, json::is_leaf, routes::last, served, transcode::Served};
use anyhow::bail;
use model::access::Purpose;
use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use proto::{resource, rpc::Body};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// What the document says of the API as a whole.
const ABOUT: &str = "The rpcs of Wardline's gRPC services as JSON over HTTP; streams are offered by gRPC alone.\n\n\
    Fields have their names of the .proto files; whole numbers of 64 bits are strings; in answers every field is there. A \
    field or query parameter that does not exist is refused. What one may not see answers as what does not exist. `ETag` \
    and `If-Match` keep two changes from overwriting each other.\n\n\
    A PATCH changes the fields that are in its body, sections field by field, and nothing else; `null` is as if the field were \
    not there. With `update_mask` it changes the fields of the mask, and those that are not in the body become empty. A body \
    that changes nothing, or has a field that is `readOnly`, is refused. Not a primary alarm system.";

/// The document, as JSON.
pub fn document() -> anyhow::Result<String> {
    let mut document = Document::default();
    let mut paths: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    let mut tags = Vec::new();
    for served in served()? {
        let service = served.method.parent_service();
        let tag = json!({ "name": tag(&served), "description": comment(&service.parent_file(), service.path()) });
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        let operation = document.operation(&served);
        paths.entry(served.path.shown()).or_default().insert(served.route.method.to_lowercase(), operation);
    }
    let own = json!({
        "operationId": "GetOpenApi", "summary": "This document", "security": [],
        "responses": { "200": { "description": "OpenAPI 3.1", "content": { "application/json": { "schema": { "type": "object" } } } } },
    });
    paths.entry(OPENAPI.to_owned()).or_default().insert("get".to_owned(), own);
    if let Some((one, other)) = document.clash {
        bail!("{one} and {other} have the same name in the OpenAPI document");
    }
    let schemas: Map<_, _> = document.schemas.into_iter().map(|(name, (_, schema))| (name, schema)).collect();
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
            "schemas": with(schemas, "Problem", problem()),
            "parameters": { "PurposeOfUse": purpose() },
            "responses": { "Problem": {
                "description": "What went wrong, and what can be done about it.",
                "headers": { "Retry-After": { "description": "Seconds; with 429 and 503: ask again then.", "schema": { "type": "integer" } } },
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            } },
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    });
    Ok(format!("{whole:#}\n"))
}

/// What is collected on the way.
#[derive(Default)]
struct Document {
    /// By short name: the full one, and the schema.
    schemas: BTreeMap<String, (String, Json)>,
    clash: Option<(String, String)>,
}

impl Document {
    fn operation(&mut self, served: &Served) -> Json {
        let text = comment(&served.method.parent_file(), served.method.path());
        let mut operation = json!({
            "operationId": served.method.name(),
            "tags": [tag(served)],
            "summary": text.split_once(". ").map_or(text.trim_end_matches('.'), |(first, _)| first),
            "description": text,
            "parameters": self.parameters(served),
            "responses": { "200": self.answer(served), "default": { "$ref": "#/components/responses/Problem" } },
        });
        if served.rpc().is_open {
            operation["security"] = json!([]);
        }
        if let Some((schema, required)) = self.body(served) {
            operation["requestBody"] =
                json!({ "required": required, "content": { "application/json": { "schema": schema } } });
        }
        operation
    }

    fn parameters(&mut self, served: &Served) -> Vec<Json> {
        let mut found = Vec::new();
        for path in served.path.fields() {
            let field = path.split('.').try_fold((served.method.input(), None), |(message, _), name| {
                let field = message.get_field_by_name(name)?;
                Some((field.kind().as_message().cloned().unwrap_or(message), Some(field)))
            });
            let Some(field) = field.and_then(|(_, field)| field) else { continue };
            found.push(self.parameter(&field, last(path), "path"));
        }
        for field in served.parameters() {
            found.push(self.parameter(&field, field.name(), "query"));
        }
        if served.etag().is_some() {
            found.push(json!({
                "name": "If-Match", "in": "header", "schema": { "type": "string" },
                "description": "The `ETag` that was read: with another one there now, nothing is changed (412).",
            }));
        }
        found.push(json!({ "$ref": "#/components/parameters/PurposeOfUse" }));
        found
    }

    fn parameter(&mut self, field: &FieldDescriptor, name: &str, place: &str) -> Json {
        let description = comment(&field.parent_file(), field.path());
        let schema = self.value(field);
        json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": schema })
    }

    /// The schema of a body, and whether there must be one.
    fn body(&mut self, served: &Served) -> Option<(Json, bool)> {
        let input = served.method.input();
        match &served.route.body {
            Body::Nothing => None,
            Body::Field(name) => {
                let field = input.get_field_by_name(name)?;
                Some((self.value(&field), true))
            }
            Body::Whole => {
                let taken: Vec<_> = served.path.fields().collect();
                let left: Vec<_> = input.fields().filter(|field| !taken.contains(&field.name())).collect();
                (!left.is_empty()).then(|| (self.message(&input, &left), false))
            }
        }
    }

    fn answer(&mut self, served: &Served) -> Json {
        let output = served.answered();
        let fields: Vec<_> = output.fields().collect();
        let mut answer = json!({
            "description": comment(&output.parent_file(), output.path()),
            "content": { "application/json": { "schema": self.message(&output, &fields) } },
        });
        if output.get_field_by_name("etag").is_some() {
            let header = json!({ "description": "For If-Match of the next change.", "schema": { "type": "string" } });
            answer["headers"] = json!({ "ETag": header });
        }
        answer
    }

    /// A reference to the schema of a message with these fields, which is made when there is none.
    fn message(&mut self, message: &MessageDescriptor, fields: &[FieldDescriptor]) -> Json {
        if self.is_new(message.name(), message.full_name()) {
            let properties: Map<_, _> =
                fields.iter().map(|field| (field.name().to_owned(), self.field(field))).collect();
            let mut text = comment(&message.parent_file(), message.path());
            for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
                let names: Vec<_> = choice.fields().map(|field| format!("`{}`", field.name())).collect();
                text += &format!(" Only one of {}.", names.join(", "));
            }
            let schema = json!({ "type": "object", "description": text, "properties": properties });
            self.schemas.insert(message.name().to_owned(), (message.full_name().to_owned(), schema));
        }
        reference(message.name())
    }

    fn choices(&mut self, choices: &EnumDescriptor) -> Json {
        if self.is_new(choices.name(), choices.full_name()) {
            let file = choices.parent_file();
            let lines = choices.values().map(|value| format!("- `{}`: {}", value.name(), comment(&file, value.path())));
            let text = format!("{}\n\n{}", comment(&file, choices.path()), lines.collect::<Vec<_>>().join("\n"));
            let names: Vec<_> = choices.values().map(|value| value.name().to_owned()).collect();
            let schema = json!({ "type": "string", "enum": names, "description": text });
            self.schemas.insert(choices.name().to_owned(), (choices.full_name().to_owned(), schema));
        }
        reference(choices.name())
    }

    /// Whether a schema is to be made; until it is, it stands there empty, for messages that hold themselves.
    fn is_new(&mut self, name: &str, full_name: &str) -> bool {
        match self.schemas.get(name) {
            Some((held, _)) if held != full_name => {
                self.clash = Some((held.clone(), full_name.to_owned()));
                false
            }
            Some(_) => false,
            None => {
                self.schemas.insert(name.to_owned(), (full_name.to_owned(), Json::Null));
                true
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor) -> Json {
        let mut schema = self.value(field);
        schema["description"] = comment(&field.parent_file(), field.path()).into();
        if resource::is_output_only(field) {
            schema["readOnly"] = true.into();
        }
        schema
    }

    fn value(&mut self, field: &FieldDescriptor) -> Json {
        let one = match field.kind() {
            Kind::Double | Kind::Float => json!({ "type": "number", "format": "double" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "pattern": "^-?[0-9]{1,19}$" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]{1,20}$" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Enum(choices) => self.choices(&choices),
            Kind::Message(message) if is_leaf(&message) => match message.name() {
                "Timestamp" => json!({ "type": "string", "format": "date-time" }),
                "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
                _ => json!({ "type": "string" }),
            },
            Kind::Message(message) => {
                let fields: Vec<_> = message.fields().collect();
                self.message(&message, &fields)
            }
        };
        if field.is_list() { json!({ "type": "array", "items": one }) } else { one }
    }
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

/// What stands before a declaration in its .proto file, as one paragraph a block.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
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

/// As `problem.rs` writes it.
fn problem() -> Json {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "RFC 9457. Ask again after 409, 503, 504, and after 429 with Retry-After; after nothing else.",
        "required": ["type", "title", "status", "detail", "reason", "violations", "request_id"],
        "properties": {
            "type": text("about:blank: the status and the reason say it all."),
            "title": text("The status in words."),
            "status": { "type": "integer", "description": "That of the answer." },
            "detail": text("For people; without patient data."),
            "reason": text("For programs: UPPER_SNAKE_CASE, stable; may be empty."),
            "denied": text("What the policy found, such as `NO_RELATION`: for those who may ask why somebody cannot see a patient."),
            "why": text("What the policy looked at: for the same."),
            "request_id": { "type": "string", "format": "uuid", "description": "As in the answer's `x-request-id`, the logs and the audit log." },
            "more_violations": { "type": "integer", "description": "How many fields at fault there are besides those named; absent: none." },
            "violations": {
                "type": "array", "description": "The fields at fault.",
                "items": {
                    "type": "object", "required": ["field", "description"],
                    "properties": {
                        "field": text("As in the body or the query, such as `readings[3].unit`."),
                        "description": text("What is allowed and what to do."),
                    },
                },
            },
        },
    })
}
