//! Messages and their fields as JSON Schema, from the descriptors.
//!
//! What is sent and what is answered are different schemas of one message: a request with a field that there is not, or that is
//! the server's, is refused; an answer has every field that has no presence, and may have more than this version knows.

use super::{comment, reference};
use crate::json::is_leaf;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use proto::resource::{self, Limits};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// A UUID as it is written here, and nothing, for one that may be missing.
const UUID_OR_NOTHING: &str = "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})?$";

/// A name that people type, as `guard::ids::word` takes it.
const WORD: &str = "[a-z0-9-]{1,64}";

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In a request that is complete by itself.
    In,
    /// To the server, for an update: what is not there stays as it is.
    Change,
    /// In an answer.
    Out,
}

/// The schemas that are needed, collected on the way.
#[derive(Default)]
pub(super) struct Schemas {
    /// By short name: the full one, and the schema.
    all: BTreeMap<String, (String, Json)>,
    clash: Option<(String, String)>,
}

impl Schemas {
    /// All of them by name; or two messages of one name.
    pub(super) fn into_map(self) -> Result<Map<String, Json>, (String, String)> {
        match self.clash {
            Some(clash) => Err(clash),
            None => Ok(self.all.into_iter().map(|(name, (_, schema))| (name, schema)).collect()),
        }
    }

    /// A reference to the schema of a message with these fields, which is made when there is none.
    pub(super) fn message(&mut self, message: &MessageDescriptor, fields: &[FieldDescriptor], way: Way) -> Json {
        let suffix = match way {
            Way::Out => "",
            Way::In if message.name().ends_with("Request") => "",
            Way::In => "Input",
            Way::Change => "Change",
        };
        let name = format!("{}{suffix}", message.name());
        if self.is_new(&name, message.full_name()) {
            let schema = self.object(message, fields, way);
            self.all.insert(name.clone(), (message.full_name().to_owned(), schema));
        }
        reference(&name)
    }

    fn object(&mut self, message: &MessageDescriptor, fields: &[FieldDescriptor], way: Way) -> Json {
        let is_out = way == Way::Out;
        let shown = fields.iter().filter(|field| is_out || !resource::is_output_only(field));
        let properties: Map<_, _> =
            shown.clone().map(|field| (field.name().to_owned(), self.field(field, way))).collect();
        let needed = shown.filter(|field| match way {
            Way::Out => !field.supports_presence(),
            Way::In => resource::is_required(field),
            Way::Change => false,
        });
        let needed: Vec<_> = needed.map(FieldDescriptor::name).collect();
        let mut text = comment(&message.parent_file(), message.path());
        for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
            let names: Vec<_> = choice.fields().map(|field| format!("`{}`", field.name())).collect();
            text += &format!(" Only one of {}.", names.join(", "));
        }
        let mut schema = json!({
            "type": "object", "description": text, "properties": properties, "additionalProperties": is_out,
        });
        if !needed.is_empty() {
            schema["required"] = json!(needed);
        }
        schema
    }

    fn choices(&mut self, choices: &EnumDescriptor) -> Json {
        if self.is_new(choices.name(), choices.full_name()) {
            let file = choices.parent_file();
            let lines = choices.values().map(|value| format!("- `{}`: {}", value.name(), comment(&file, value.path())));
            let text = format!("{}\n\n{}", comment(&file, choices.path()), lines.collect::<Vec<_>>().join("\n"));
            let names: Vec<_> = choices.values().map(|value| value.name().to_owned()).collect();
            let schema = json!({ "type": "string", "enum": names, "description": text });
            self.all.insert(choices.name().to_owned(), (choices.full_name().to_owned(), schema));
        }
        reference(choices.name())
    }

    /// Whether a schema is to be made; until it is, it stands there empty, for messages that hold themselves.
    fn is_new(&mut self, name: &str, full_name: &str) -> bool {
        match self.all.get(name) {
            Some((held, _)) if held != full_name => {
                self.clash = Some((held.clone(), full_name.to_owned()));
                false
            }
            Some(_) => false,
            None => {
                self.all.insert(name.to_owned(), (full_name.to_owned(), Json::Null));
                true
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor, way: Way) -> Json {
        let mut schema = self.value(field, way);
        if way != Way::Out && !(way == Way::In && resource::is_required(field)) {
            schema = or_null(schema);
        }
        schema["description"] = comment(&field.parent_file(), field.path()).into();
        if resource::is_output_only(field) {
            schema["readOnly"] = true.into();
        }
        schema
    }

    /// What a field holds, on its way.
    pub(super) fn value(&mut self, field: &FieldDescriptor, way: Way) -> Json {
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            let of = self.value(&entry.map_entry_value_field(), way);
            return json!({ "type": "object", "additionalProperties": of });
        }
        let (limits, is_out) = (resource::limits(field), way == Way::Out);
        let one = match field.kind() {
            // what stands in a list is never empty
            Kind::String => text(&limits, is_out, is_out || !(resource::is_required(field) || field.is_list())),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64", "format": "byte" }),
            Kind::Enum(choices) => self.choices(&choices),
            Kind::Message(message) if is_leaf(&message) => leaf(&message, &limits, is_out),
            Kind::Message(message) => {
                let fields: Vec<_> = message.fields().collect();
                // the sections of what is changed have no fields that must be there
                self.message(&message, &fields, if way == Way::Change { Way::In } else { way })
            }
            number => self::number(&number, &limits, is_out),
        };
        if !field.is_list() {
            return one;
        }
        match limits.max_items {
            0 => json!({ "type": "array", "items": one }),
            most => json!({ "type": "array", "items": one, "maxItems": most }),
        }
    }
}

/// The same, or nothing: `null` in a request is as if the field were not there.
fn or_null(mut schema: Json) -> Json {
    match schema["type"].take() {
        Json::String(kind) => schema["type"] = json!([kind, "null"]),
        Json::Array(mut kinds) => {
            kinds.push("null".into());
            schema["type"] = kinds.into();
        }
        _ => {
            let reference = schema["$ref"].take();
            return json!({ "anyOf": [{ "$ref": reference }, { "type": "null" }] });
        }
    }
    if let Some(Json::Array(words)) = schema.get_mut("enum") {
        words.push(Json::Null);
    }
    schema
}

/// A text within its limits, perhaps none. An answer may hold one that an older version took.
fn text(limits: &Limits, is_out: bool, may_be_empty: bool) -> Json {
    let mut schema = match (limits.uuid, may_be_empty) {
        (true, true) => return json!({ "type": "string", "pattern": UUID_OR_NOTHING }),
        (true, false) => return json!({ "type": "string", "format": "uuid" }),
        (false, true) => json!({ "type": "string" }),
        (false, false) => json!({ "type": "string", "minLength": limits.min_chars.max(1) }),
    };
    if limits.max_chars > 0 {
        schema["maxLength"] = json!(limits.max_chars);
    }
    if is_out {
        return schema;
    }
    if !limits.one_of.is_empty() {
        let words = limits.one_of.iter().map(String::as_str).chain(may_be_empty.then_some(""));
        return json!({ "type": "string", "enum": words.collect::<Vec<_>>() });
    }
    let pattern = if limits.word { WORD } else { limits.pattern.as_str() };
    if !pattern.is_empty() {
        let or_nothing = if may_be_empty { "?" } else { "" };
        schema["pattern"] = format!("^({pattern}){or_nothing}$").into();
    }
    schema
}

/// A number within its limits: large ones are strings. In a request each may be a string as well.
fn number(kind: &Kind, limits: &Limits, is_out: bool) -> Json {
    let mut schema = of_kind(kind, is_out);
    if is_out {
        return schema;
    }
    let least = limits.least.or(limits.not_negative.then_some(0.0));
    if let (Some(least), Some(most), true) = (least, limits.most, schema.get("pattern").is_some()) {
        schema["pattern"] = format!("^{}$", digits(least, most)).into();
    }
    let mut range = Map::new();
    range.extend(least.map(|least| ("minimum".to_owned(), bound(least))));
    range.extend(limits.most.map(|most| ("maximum".to_owned(), bound(most))));
    if limits.or_zero {
        schema["anyOf"] = json!([{ "const": 0 }, range]);
    } else if let Some(schema) = schema.as_object_mut() {
        schema.extend(range);
    }
    schema
}

/// An end of a range, without a point where it is whole. 2^63 - 1, of which a float makes 2^63, is itself again.
fn bound(value: f64) -> Json {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

/// Whole numbers up to `most` as a regular expression: from 0 on, or from 1 where 0 is less than `least`.
fn digits(least: f64, most: f64) -> String {
    let most = (most as i64).to_string();
    let mut choices = Vec::new();
    if least < 1.0 {
        choices.push("0".to_owned());
    }
    if most.len() > 1 {
        choices.push(format!("[1-9][0-9]{{0,{}}}", most.len() - 2));
    }
    // as long as the greatest, and less from one of its digits on
    for (place, digit) in most.bytes().enumerate() {
        let first = if place == 0 { b'1' } else { b'0' };
        if first < digit {
            let (first, last, left) = (char::from(first), char::from(digit - 1), most.len() - place - 1);
            choices.push(format!("{}[{first}-{last}][0-9]{{{left}}}", &most[..place]));
        }
    }
    choices.push(most);
    format!("0*({})", choices.join("|"))
}

/// A number of a kind, whatever it is of.
fn of_kind(kind: &Kind, is_out: bool) -> Json {
    match kind {
        Kind::Double | Kind::Float => match is_out {
            true => json!({ "type": "number", "format": "double" }),
            false => json!({ "type": ["number", "string"], "format": "double" }),
        },
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => match is_out {
            true => json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$" }),
            false => json!({ "type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]{1,19}$",
                "minimum": i64::MIN, "maximum": i64::MAX }),
        },
        Kind::Uint64 | Kind::Fixed64 => match is_out {
            true => json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$" }),
            false => json!({ "type": ["string", "integer"], "format": "uint64", "pattern": "^[0-9]{1,20}$",
                "minimum": 0, "maximum": u64::MAX }),
        },
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        _ => json!({ "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX }),
    }
}

/// What the JSON mapping writes as one value.
fn leaf(message: &MessageDescriptor, limits: &Limits, is_out: bool) -> Json {
    match message.name() {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => {
            let seconds = match limits.most {
                Some(most) if !is_out => digits(limits.least.unwrap_or_default(), most),
                None if limits.not_negative && !is_out => "[0-9]+".to_owned(),
                _ => "-?[0-9]+".to_owned(),
            };
            json!({ "type": "string", "pattern": format!("^{seconds}(\\.[0-9]{{1,9}})?s$") })
        }
        "Struct" if limits.max_items > 0 && !is_out => json!({ "type": "object", "maxProperties": limits.max_items }),
        "Struct" => json!({ "type": "object" }),
        _ => json!({ "type": "string" }),
    }
}
