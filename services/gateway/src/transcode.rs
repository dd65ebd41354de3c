//! A request of HTTP becomes the request of an rpc, and the answer of an rpc becomes JSON.

use super::{
    conditions::{self, Condition},
    json::{self, At, Wrong, refuse},
    places::CreatedPath,
    problem::Problem,
    routes::{Path, decoded, last},
};
use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, SerializeOptions, Value,
};
use proto::{
    resource::is_key,
    rpc::{Body, Http, Rpc},
};
use serde_json::Value as Json;

/// What makes an answer change its `ETag`, and what an update must name.
const ETAG: &str = "etag";

/// What an update changes.
const MASK: &str = "update_mask";

/// Fields of answers that are secrets: of what is compressed together with them, its length would tell.
const SECRETS: [&str; 4] = ["token", "refresh_token", "claim_code", "claim_codes"];

/// A route with all that is needed to serve it.
pub(crate) struct Served {
    rpc: &'static Rpc,
    pub(crate) route: &'static Http,
    pub(crate) path: Path,
    pub(crate) method: MethodDescriptor,
    /// Of what it makes, when that has a path of its own.
    pub(crate) place: Option<CreatedPath>,
}

/// What a caller sent, taken apart.
pub(super) struct Asked<'a> {
    /// Variables of the path: name of the field, and value.
    pub(super) variables: &'a [(&'static str, String)],
    /// The query, as it was sent.
    pub(super) query: &'a str,
    /// The condition of the header `If-Match`; `None`: the request has none.
    pub(super) if_match: Option<&'a Condition>,
    /// The body as it was received; empty: the request has none.
    pub(super) body: &'a [u8],
}

/// An answer as it is sent, and its entity tag.
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) media_type: HeaderValue,
    pub(super) etag: Option<String>,
    /// What was made, when it has a path of its own.
    pub(super) created: Option<DynamicMessage>,
}

impl Served {
    /// Finds the descriptor of an rpc that has a route.
    pub(crate) fn new(pool: &DescriptorPool, rpc: &'static Rpc, route: &'static Http) -> Option<Self> {
        let (service, name) = rpc.names();
        let method = pool.get_service_by_name(service)?.methods().find(|method| method.name() == name)?;
        Some(Self { rpc, route, path: Path::new(&route.path), method, place: None })
    }

    /// The rpc's name; that of another path of the rpc has the path's words, too.
    pub(crate) fn operation_id(&self) -> String {
        let name = self.method.name();
        if self.rpc.http.first() == Some(self.route) || self.rpc.http.is_empty() {
            return name.to_owned();
        }
        let words = self.route.path.split(|letter: char| !letter.is_ascii_alphanumeric());
        let words = words.filter_map(|word| word.split_at_checked(1));
        let words: String = words.map(|(first, rest)| format!("{}{rest}", first.to_ascii_uppercase())).collect();
        format!("{name}At{words}")
    }

    /// Whether it reads, and changes nothing.
    pub(crate) fn is_read(&self) -> bool {
        self.route.method == "GET"
    }

    /// Whether its path is one of this API, and not one that a system before had fixed, with its status codes.
    pub(crate) fn is_of_this_api(&self) -> bool {
        self.route.path.starts_with("/v1/")
    }

    /// Whether it answers with one thing that it makes, or made before for the same key: 201.
    pub(crate) fn creates(&self) -> bool {
        self.route.method == "POST" && self.is_of_this_api() && self.rpc.makes
    }

    /// Whether its answer has a secret: it is not compressed.
    pub(super) fn has_secret(&self) -> bool {
        self.method.output().fields().any(|field| SECRETS.contains(&field.name()))
    }

    /// Whether what it makes has a path of its own.
    pub(crate) fn has_location(&self) -> bool {
        self.place.is_some()
    }

    /// Whether a field of the request may hold any JSON object.
    pub(super) fn is_free_form(&self) -> bool {
        let is_struct = |field: FieldDescriptor| matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Struct");
        self.method.input().fields().any(is_struct)
    }

    /// The rpc that the route calls.
    pub(crate) fn rpc(&self) -> &'static Rpc {
        self.rpc
    }

    /// The fields of the rpc's request that are query parameters.
    pub(crate) fn parameters(&self) -> Vec<FieldDescriptor> {
        let body = match &self.route.body {
            Body::Whole => return Vec::new(),
            Body::Field(field) => Some(field.as_str()),
            Body::Nothing => None,
        };
        let taken: Vec<_> = self.path.fields().chain(body).collect();
        self.method.input().fields().filter(|field| !taken.contains(&field.name())).collect()
    }

    /// Where in the request an entity tag goes, if it has one: a dotted name.
    pub(crate) fn etag(&self) -> Option<String> {
        let input = self.method.input();
        if let Body::Field(body) = &self.route.body {
            let field = input.get_field_by_name(body)?;
            field.kind().as_message()?.get_field_by_name(ETAG)?;
            // a new one has none yet
            return (self.route.method != "POST").then(|| format!("{body}.{ETAG}"));
        }
        input.get_field_by_name(ETAG).map(|field| field.name().to_owned())
    }

    /// The one field of the response that is answered in its place: who gets, creates or updates something is answered
    /// with the thing itself.
    pub(crate) fn unwrapped(&self) -> Option<FieldDescriptor> {
        let output = self.method.output();
        let mut fields = output.fields();
        let (only, None) = (fields.next()?, fields.next()) else { return None };
        let is_one = matches!(only.kind(), Kind::Message(_)) && !only.is_list();
        (is_one && ["Get", "Create", "Update"].iter().any(|verb| self.method.name().starts_with(verb))).then_some(only)
    }

    /// Whether it answers with a file and not with JSON.
    pub(crate) fn is_file(&self) -> bool {
        !self.rpc.media_types.is_empty()
    }

    /// The message that the rpc answers with.
    pub(crate) fn answered(&self) -> MessageDescriptor {
        let only = self.unwrapped().and_then(|field| field.kind().as_message().cloned());
        only.unwrap_or_else(|| self.method.output())
    }

    /// The rpc's request, encoded.
    pub(super) fn request(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Problem> {
        let mut wrong = Wrong::default();
        let mut message = DynamicMessage::new(self.method.input());
        self.take_body(&mut message, asked.body, &mut wrong)?;
        for (field, text) in asked.variables {
            let value = Value::String(text.clone());
            match place(&mut message, field, value) {
                Placed::Yes => {}
                Placed::Differs => refuse(&mut wrong, last(field), "is another one in the path; leave it out here"),
                Placed::No => refuse(&mut wrong, last(field), "does not belong into the path"),
            }
        }
        self.take_query(&mut message, asked.query, &mut wrong);
        if let Some(tag) = asked.if_match {
            self.take_if_match(&mut message, tag, &mut wrong)?;
        }
        if wrong.is_empty() { Ok(message.encode_to_vec()) } else { Err(Problem::fields(wrong)) }
    }

    fn take_body(&self, message: &mut DynamicMessage, body: &[u8], wrong: &mut Wrong) -> Result<(), Problem> {
        let parsed = || {
            json::parse(body).map_err(|error| {
                // serde_json's text names line and column, never a value
                Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", error.to_string())
            })
        };
        match &self.route.body {
            Body::Nothing if body.is_empty() => {}
            Body::Nothing => refuse(wrong, At::Top, "nothing is read from a body here; leave it out"),
            Body::Whole if body.is_empty() => {}
            Body::Whole => json::fill(message, &parsed()?, At::Top, wrong),
            Body::Field(name) => {
                let field = message_field(&self.method.input(), name);
                let Some((field, inner)) = field else { return Ok(()) };
                let mut held = DynamicMessage::new(inner.clone());
                match body {
                    [] => refuse(wrong, At::Top, format!("must be the {name}, as JSON")),
                    _ => {
                        let json = parsed()?;
                        json::fill(&mut held, &json, At::Top, wrong);
                        let mut there = Vec::new();
                        named_in(&json, &inner, "", &mut there);
                        self.imply_mask(message, there);
                    }
                }
                message.set_field(&field, Value::Message(held));
            }
        }
        Ok(())
    }

    /// In JSON it is known what is there, also of what is empty: the mask says so, unless the query has one.
    fn imply_mask(&self, message: &mut DynamicMessage, paths: Vec<Value>) {
        if let Some((field, mask)) = message_field(&self.method.input(), MASK)
            && !paths.is_empty()
        {
            let mut implied = DynamicMessage::new(mask);
            implied.set_field_by_name("paths", Value::List(paths));
            message.set_field(&field, Value::Message(implied));
        }
    }

    fn take_query(&self, message: &mut DynamicMessage, query: &str, wrong: &mut Wrong) {
        let parameters = self.parameters();
        let mut lists: Vec<(FieldDescriptor, Vec<Json>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(text)) = (decoded(name, true), decoded(text, true)) else {
                refuse(wrong, "query", "has a % that begins no character of UTF-8");
                continue;
            };
            let known = parameters.iter().find(|field| field.name() == name || field.json_name() == name);
            let Some(field) = known else {
                let names: Vec<_> = parameters.iter().map(FieldDescriptor::name).collect();
                let text = match names.as_slice() {
                    [] => "there are no query parameters here".to_owned(),
                    names => format!("no such query parameter; there are {}", names.join(", ")),
                };
                refuse(wrong, name, text);
                continue;
            };
            let value = match (field.kind(), text.as_str()) {
                (Kind::Bool, "true") => Json::Bool(true),
                (Kind::Bool, "false") => Json::Bool(false),
                _ => Json::String(text),
            };
            match lists.iter_mut().find(|(held, _)| held == field) {
                Some((_, values)) if field.is_list() => values.push(value),
                Some(_) => refuse(wrong, name, "only once"),
                None => lists.push((field.clone(), vec![value])),
            }
        }
        for (field, mut values) in lists {
            let json = if field.is_list() { Json::Array(values) } else { values.pop().unwrap_or_default() };
            if let Some(value) = json::value(&field, &json, At::Field(&At::Top, field.name()), wrong) {
                message.set_field(&field, value);
            }
        }
    }

    /// The first of several versions goes into the request; [`Served::with_etag`] makes it anew for the others.
    fn take_if_match(
        &self,
        message: &mut DynamicMessage,
        condition: &Condition,
        wrong: &mut Wrong,
    ) -> Result<(), Problem> {
        let Some(field) = self.etag() else {
            if self.creates() {
                refuse(wrong, "If-Match", "nothing is there yet that has an entity tag; leave it out");
                return Ok(());
            }
            // what is changed has to be there anyway
            return if *condition == Condition::Any { Ok(()) } else { Err(conditions::untagged()) };
        };
        let first = match condition {
            Condition::Any => {
                // an etag that is given, too, says more
                place(message, &field, Value::String("*".to_owned()));
                return Ok(());
            }
            Condition::Tags(_) => condition.strong(),
        };
        let Some(tag) = first.first() else { return Err(conditions::failed()) };
        let is_given = etag_of(message, &field).is_some_and(|given| !given.is_empty());
        if is_given && first.len() > 1
            || matches!(place(message, &field, Value::String((*tag).to_owned())), Placed::Differs)
        {
            refuse(wrong, "If-Match", "is not the etag that is given, too; give one of them");
        }
        Ok(())
    }

    /// An encoded request that names another version.
    pub(super) fn with_etag(&self, request: &[u8], tag: String) -> Option<Vec<u8>> {
        let mut message = DynamicMessage::decode(self.method.input(), request).ok()?;
        let field = self.etag()?;
        let (above, name) = field.rsplit_once('.').map_or((None, &*field), |(above, name)| (Some(above), name));
        let held = match above {
            Some(above) => message.get_field_by_name_mut(above)?.as_message_mut()?,
            None => &mut message,
        };
        held.try_set_field_by_name(name, Value::String(tag)).ok()?;
        Some(message.encode_to_vec())
    }

    /// The rpc's response as JSON; `None` when it is no such message.
    pub(super) fn answer(&self, encoded: &[u8]) -> Option<Answer> {
        let mut message = DynamicMessage::decode(self.method.output(), encoded).ok()?;
        if let Some(only) = self.unwrapped()
            && let Some(Value::Message(inner)) = message.take_field(&only)
        {
            message = inner;
        }
        let etag = message.get_field_by_name(ETAG).and_then(|etag| etag.as_str().map(str::to_owned));
        let etag = etag.filter(|etag| !etag.is_empty());
        let created = self.place.as_ref().and_then(|place| place.made_in(&message));
        let mut json = serde_json::Serializer::new(Vec::new());
        // every field is there, whatever it holds: clients need not know defaults
        let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
        message.serialize_with_options(&mut json, &options).ok()?;
        let media_type = HeaderValue::from_static("application/json");
        Some(Answer { body: json.into_inner().into(), media_type, etag, created })
    }
}

/// Finds out where what each rpc makes is read.
pub(crate) fn find_places(all: &mut [Served]) {
    let is_one =
        |served: &&Served| served.is_read() && served.is_of_this_api() && served.path.fields().next().is_some();
    let place = |served: &Served| CreatedPath::new(served.answered(), served.path.clone());
    let places: Vec<_> = all.iter().filter(is_one).map(place).collect();
    for served in all.iter_mut().filter(|served| served.creates()) {
        let answer = served.method.output();
        served.place = places.iter().find(|place| place.is_in(&answer, &served.path)).cloned();
    }
}

/// The etag in a request that is being made.
fn etag_of(message: &DynamicMessage, path: &str) -> Option<String> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let value = message.get_field_by_name(name)?;
    match rest {
        Some(rest) => etag_of(value.as_message()?, rest),
        None => value.as_str().map(str::to_owned),
    }
}

/// The fields that an object sets, sections field by field, as a mask names them. `null` is as if it were not there.
fn named_in(json: &Json, message: &MessageDescriptor, above: &str, found: &mut Vec<Value>) {
    for (name, json) in json.as_object().into_iter().flatten().filter(|(_, json)| !json.is_null()) {
        let Some(field) = json::named(message, name).filter(|field| !is_key(field)) else { continue };
        let path = format!("{above}{}", field.name());
        match field.kind() {
            Kind::Message(inner) if !field.is_list() && !json::is_leaf(&inner) => {
                named_in(json, &inner, &format!("{path}."), found);
            }
            _ => found.push(Value::String(path)),
        }
    }
}

fn message_field(message: &MessageDescriptor, name: &str) -> Option<(FieldDescriptor, MessageDescriptor)> {
    let field = message.get_field_by_name(name)?;
    let inner = field.kind().as_message()?.clone();
    Some((field, inner))
}

enum Placed {
    Yes,
    /// Something else is there.
    Differs,
    /// There is no such field.
    No,
}

/// Sets a field by its dotted name, unless it has another value.
fn place(message: &mut DynamicMessage, path: &str, value: Value) -> Placed {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(held) = message.get_field_by_name_mut(name) else { return Placed::No };
    if let Some(rest) = rest {
        return held.as_message_mut().map_or(Placed::No, |inner| place(inner, rest, value));
    }
    match held.as_str() {
        Some("") => {}
        Some(text) if value.as_str() == Some(text) => {}
        Some(_) => return Placed::Differs,
        None => return Placed::No,
    }
    *held = value;
    Placed::Yes
}
