//! JSON becomes messages, by their descriptors: the proto3 JSON mapping, strictly. What is no field is refused, not passed
//! over; every field at fault is named, without its value.

use super::problem::Violations;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use proto::problem::NO_NUMBER;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapDeserializer},
};
use serde_json::{Map, Value as Json};
use std::{
    collections::HashMap,
    fmt::{self, Display, Write as _},
    iter,
};

/// JSON from text; the error says line and column. Nested at most 127 deep, no name twice in an object.
pub(super) fn parse(text: &[u8]) -> Result<Json, serde_json::Error> {
    serde_json::from_slice::<Unique>(text).map(|unique| unique.0)
}

/// Where in the JSON something is.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    /// The document as a whole.
    Top,
    /// A field of an object.
    Field(&'a At<'a>, &'a str),
    /// An element of a list.
    Index(&'a At<'a>, usize),
}

impl Display for At<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Top => out.write_str("body"),
            At::Field(At::Top, name) => write!(out, "{name}"),
            At::Field(above, name) => write!(out, "{above}.{name}"),
            At::Index(above, index) => write!(out, "{above}[{index}]"),
        }
    }
}

/// The faults of a document, as far as they are named.
pub(super) type Wrong = Violations;

/// Puts one more on the list.
pub(super) fn refuse(wrong: &mut Wrong, at: impl Display, description: impl Into<String>) {
    wrong.push(InAscii(at), description);
}

/// Names that callers may have made up, as `\u{e9}` where they are not ASCII: a letter that only looks like another and a mark
/// that turns the line around are seen for what they are.
struct InAscii<T>(T);

impl<T: Display> Display for InAscii<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(out), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write!(self.0, "{}", text.escape_default())
    }
}

/// What one of each takes at most while a text is taken apart, in bytes: parsed, and as a message. A map has room for eleven.
const OBJECT_BYTES: usize = 1_536;
const LIST_BYTES: usize = 384;
const VALUE_BYTES: usize = 160;
const STRING_BYTES: usize = 96;

/// How many times more a value takes that may be anything (`google.protobuf.Struct`): each is a message of its own.
pub(super) const FREE_FORM: usize = 6;

/// The memory that it takes to take a text apart, in bytes, at most: by its structure, before anything is parsed.
pub(super) fn weight(text: &[u8]) -> usize {
    let (mut weight, mut in_string, mut escaped) = (2 * text.len(), false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => {
                in_string = true;
                weight += STRING_BYTES;
            }
            (false, b'{') => weight += OBJECT_BYTES,
            (false, b'[') => weight += LIST_BYTES,
            (false, b',' | b':') => weight += VALUE_BYTES,
            _ => {}
        }
    }
    weight
}

/// A field by its name, as in the .proto file or in lowerCamelCase.
pub(super) fn named(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

/// Fills a message from an object.
pub(super) fn fill(message: &mut DynamicMessage, json: &Json, at: At<'_>, wrong: &mut Wrong) {
    let Some(object) = json.as_object() else { return refuse(wrong, at, "must be an object") };
    let descriptor = prost_reflect::ReflectMessage::descriptor(message);
    for (name, json) in object {
        let here = At::Field(&at, name);
        let Some(field) = named(&descriptor, name) else {
            refuse(wrong, here, with_hint("there is no such field".to_owned(), &descriptor, name, json));
            continue;
        };
        // null: as if it were not there
        if json.is_null() {
            continue;
        }
        let others =
            field.containing_oneof().map(|choice| choice.fields().collect()).unwrap_or_else(|| vec![field.clone()]);
        if others.iter().any(|other| message.has_field(other)) {
            let names: Vec<_> = others.iter().map(FieldDescriptor::name).collect();
            refuse(wrong, here, format!("only once, and only one of {}", names.join(", ")));
            continue;
        }
        if let Some(value) = value(&field, json, here, wrong) {
            message.set_field(&field, value);
        }
    }
}

/// The value of a field; `None` when it is refused.
pub(super) fn value(field: &FieldDescriptor, json: &Json, at: At<'_>, wrong: &mut Wrong) -> Option<Value> {
    if field.is_map() {
        return map(field, json, at, wrong);
    }
    if !field.is_list() {
        return single(field, json, at, wrong);
    }
    let Some(elements) = json.as_array() else {
        refuse(wrong, at, "must be a list");
        return None;
    };
    let mut values = Vec::with_capacity(elements.len());
    for (index, json) in elements.iter().enumerate() {
        values.push(single(field, json, At::Index(&at, index), wrong)?);
    }
    Some(Value::List(values))
}

/// A map from texts, as an object.
fn map(field: &FieldDescriptor, json: &Json, at: At<'_>, wrong: &mut Wrong) -> Option<Value> {
    let Some(object) = json.as_object() else {
        refuse(wrong, at, "must be an object");
        return None;
    };
    let of = field.kind().as_message()?.map_entry_value_field();
    let mut entries = HashMap::with_capacity(object.len());
    for (key, json) in object {
        entries.insert(MapKey::String(key.clone()), single(&of, json, At::Field(&at, key), wrong)?);
    }
    Some(Value::Map(entries))
}

/// A value by itself, or an element of a list.
fn single(field: &FieldDescriptor, json: &Json, at: At<'_>, wrong: &mut Wrong) -> Option<Value> {
    if let Kind::Message(descriptor) = field.kind()
        && !is_leaf(&descriptor)
    {
        let mut message = DynamicMessage::new(descriptor);
        if json.is_string() {
            let text = "must be an object".to_owned();
            refuse(wrong, at, with_hint(text, field.parent_message(), field.name(), json));
        } else {
            fill(&mut message, json, at, wrong);
        }
        return Some(Value::Message(message));
    }
    let found = leaf(field, json);
    if found.is_none() {
        refuse(wrong, at, with_hint(expected(&field.kind()), field.parent_message(), field.name(), json));
    }
    found
}

/// Where the number of a reading stands, or may be looked for: message and names. Only there "LO" is what a device shows.
const NUMBERS: [(&str, &[&str]); 2] =
    [("wardline.telemetry.v1.Reading", &["number", "bound", "value"]), ("wardline.telemetry.v1.Bound", &["number"])];

/// A refusal, and of a text in place of a reading's number how to send that.
fn with_hint(refusal: String, message: &MessageDescriptor, name: &str, json: &Json) -> String {
    let is_number = || NUMBERS.iter().any(|(of, names)| *of == message.full_name() && names.contains(&name));
    if json.is_string() && is_number() {
        format!("{refusal}; {NO_NUMBER}; a code of the metric's value set is sent as code")
    } else {
        refusal
    }
}

/// A value that the JSON mapping writes as one JSON value, not as an object with its fields.
pub(super) fn is_leaf(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// One value through prost-reflect's own mapping: as the only field of its message.
fn leaf(field: &FieldDescriptor, json: &Json) -> Option<Value> {
    let is_mask = matches!(field.kind(), Kind::Message(message) if message.name() == "FieldMask");
    // the mapping has lowerCamelCase; we take names as they are everywhere else, too
    let mask = json.as_str().filter(|_| is_mask).map(|paths| Json::from(camel_case(paths)));
    let exact = exact(field, json)?;
    let json = mask.as_ref().or(exact.as_ref()).unwrap_or(json);
    let list = field.is_list().then(|| Json::Array(vec![json.clone()]));
    let only = iter::once((field.json_name(), list.as_ref().unwrap_or(json)));
    let whole = MapDeserializer::<_, serde_json::Error>::new(only);
    let mut message = DynamicMessage::deserialize(field.parent_message().clone(), whole).ok()?;
    // a field without presence that is at its default is not set
    match message.take_field(field) {
        Some(Value::List(mut values)) if field.is_list() => values.pop(),
        Some(value) => Some(value),
        None => Some(field.default_value()),
    }
}

/// A time as the mapping may take it, which cuts digits and takes any sixtieth second: another text where there is one, `None`
/// for a time that it would change.
fn exact(field: &FieldDescriptor, json: &Json) -> Option<Option<Json>> {
    let (Kind::Message(message), Some(text)) = (field.kind(), json.as_str()) else { return Some(None) };
    match message.name() {
        "Timestamp" => model::exact_time(text).map(|text| Some(Json::from(&*text))),
        "Duration" => model::is_exact_length(text).then_some(None),
        _ => Some(None),
    }
}

fn camel_case(paths: &str) -> String {
    let mut parts = paths.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

/// Description of the values that a field takes.
pub(super) fn expected(kind: &Kind) -> String {
    let text = match kind {
        Kind::Double | Kind::Float => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits",
        Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits, not negative",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits; large ones as a string",
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits, not negative; large ones as a string",
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Bytes => "a string in base64",
        Kind::Enum(choices) => {
            let names: Vec<_> = choices.values().map(|choice| choice.name().to_owned()).collect();
            return format!("must be one of {}", names.join(", "));
        }
        Kind::Message(message) => match message.name() {
            "Timestamp" => {
                "an RFC 3339 time such as \"2026-01-31T12:00:00Z\", with at most nine digits after a second and no leap second \
                 that never was (in an address, `+` is written %2B)"
            }
            "Duration" => "seconds with an s, such as \"1.5s\", with at most nine digits after the point",
            "FieldMask" => "names of fields, separated by commas",
            _ => "an object",
        },
    };
    format!("must be {text}")
}

/// JSON in which no object has a name twice: which of the two would count, readers do not agree on.
struct Unique(Json);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("a name is there twice in an object"));
            }
            let Unique(value) = entries.next_value()?;
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}
