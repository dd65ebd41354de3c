//! What the descriptors say of the registry's resources: which fields callers set, and which are the server's.
//!
//! Nothing here names a field: one that is added to a .proto file follows the rules by its type and its options.

pub use crate::options::v1::Field as Limits;
use crate::{problem, registry::v1 as registry};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use tonic::{Code, Status};

/// The field that names a version.
const ETAG: &str = "etag";

/// A message that is created, shown and updated.
pub trait Resource: Message + Default {
    /// The message's full name.
    const NAME: &'static str;
    /// Its field in the requests that carry it, and so what complaints call it.
    const FIELD: &'static str;
}

macro_rules! resources {
    ($($message:ident: $field:literal;)+) => {$(
        impl Resource for registry::$message {
            const NAME: &'static str = concat!("wardline.registry.v1.", stringify!($message));
            const FIELD: &'static str = $field;
        }
    )+};
}

resources! {
    User: "user";
    Role: "role";
    Grant: "grant";
    Relation: "relation";
    Consent: "consent";
    Device: "device";
    Assignment: "assignment";
    Retraction: "retraction";
}

/// Values of `google.api.FieldBehavior`.
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const IDENTIFIER: i32 = 8;

/// Whether a request without a field is refused: `(google.api.field_behavior) = REQUIRED`.
pub fn is_required(field: &FieldDescriptor) -> bool {
    has_behavior(field, REQUIRED)
}

/// Whether the server sets a field: `(google.api.field_behavior) = OUTPUT_ONLY`.
pub fn is_output_only(field: &FieldDescriptor) -> bool {
    has_behavior(field, OUTPUT_ONLY)
}

/// Whether a field says which resource is meant: `(google.api.field_behavior) = IDENTIFIER`.
pub fn is_identifier(field: &FieldDescriptor) -> bool {
    has_behavior(field, IDENTIFIER)
}

/// Whether a field says which resource is meant, or which version of it.
pub fn is_key(field: &FieldDescriptor) -> bool {
    field.name() == ETAG || is_identifier(field)
}

/// What a field may hold, beyond its type: `(wardline.options.v1.field)`.
pub fn limits(field: &FieldDescriptor) -> Limits {
    let option = field.parent_pool().get_extension_by_name("wardline.options.v1.field");
    let options = field.options();
    let held =
        option.filter(|option| options.has_extension(option)).map(|option| options.get_extension(&option).into_owned());
    held.and_then(|held| held.as_message()?.transcode_to().ok()).unwrap_or_default()
}

fn has_behavior(field: &FieldDescriptor, behavior: i32) -> bool {
    let Some(option) = field.parent_pool().get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let held = options.get_extension(&option);
    held.as_list().is_some_and(|held| held.iter().any(|held| held.as_enum_number() == Some(behavior)))
}

/// The descriptor of a resource.
pub(crate) fn descriptor<R: Resource>() -> Result<MessageDescriptor, Status> {
    let found = crate::pool().and_then(|pool| pool.get_message_by_name(R::NAME));
    found.ok_or_else(|| problem::status(Code::Internal, "INTERNAL", format!("{} has no descriptor", R::NAME)))
}

/// A resource with its fields within reach.
pub(crate) fn dynamic<R: Resource>(resource: &R) -> Result<DynamicMessage, Status> {
    decoded::<R>(&resource.encode_to_vec())
}

/// The same of an encoded one; keeps fields of newer versions.
pub(crate) fn decoded<R: Resource>(bytes: &[u8]) -> Result<DynamicMessage, Status> {
    let unreadable = |_| problem::status(Code::DataLoss, "UNREADABLE", format!("what is kept is no {}", R::FIELD));
    DynamicMessage::decode(descriptor::<R>()?, bytes).map_err(unreadable)
}

/// The message of a section: a part of a resource whose fields are set one by one.
pub(crate) fn section(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_list() && !field.is_map() => {
            (message.package_name() != "google.protobuf").then_some(message)
        }
        _ => None,
    }
}

/// A field that can be set, with the sections that it is in before it.
pub(crate) type Path = Vec<FieldDescriptor>;

/// Every field that a caller can set, those of sections one by one.
pub(crate) fn settable(message: &MessageDescriptor) -> Vec<Path> {
    let callers = |field: &FieldDescriptor| !is_output_only(field) && !is_key(field);
    let paths = |field: FieldDescriptor| match section(&field) {
        Some(inner) => settable(&inner).into_iter().map(|path| [vec![field.clone()], path].concat()).collect(),
        None => vec![vec![field]],
    };
    message.fields().filter(callers).flat_map(paths).collect()
}

/// The path as a field mask names it, with dots.
pub(crate) fn shown(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

/// The fields of a resource that a caller can set, as a mask names them.
pub fn fields<R: Resource>() -> Result<Vec<String>, Status> {
    Ok(settable(&descriptor::<R>()?).iter().map(|path| shown(path)).collect())
}

/// Refuses what a caller sent of a resource when anything of it is the server's to set; names all of it.
///
/// # Errors
/// INVALID_ARGUMENT, `OUTPUT_ONLY`.
pub fn check_sent<R: Resource>(sent: &R) -> Result<(), Status> {
    refuse_outputs::<R>(&dynamic(sent)?)
}

pub(crate) fn refuse_outputs<R: Resource>(sent: &DynamicMessage) -> Result<(), Status> {
    let mut outputs = Vec::new();
    collect_outputs(sent, R::FIELD, &mut outputs);
    if outputs.is_empty() {
        return Ok(());
    }
    let refused = |field: String| (field, "is set by the server; leave it out".to_owned());
    Err(problem::invalid_fields("OUTPUT_ONLY", &outputs.into_iter().map(refused).collect::<Vec<_>>()))
}

fn collect_outputs(sent: &DynamicMessage, above: &str, found: &mut Vec<String>) {
    for (field, value) in sent.fields() {
        let here = format!("{above}.{}", field.name());
        match value {
            _ if is_output_only(&field) => found.push(here),
            Value::Message(inner) if section(&field).is_some() => collect_outputs(inner, &here, found),
            _ => {}
        }
    }
}

/// A resource as it is shown: of the sections that are there, every field is, so that readers need not know defaults.
pub fn whole<R: Resource>(resource: &R) -> Result<R, Status> {
    let mut message = dynamic(resource)?;
    fill(&mut message);
    typed(&message)
}

fn fill(message: &mut DynamicMessage) {
    for field in message.descriptor().fields() {
        if section(&field).is_some() {
            if message.has_field(&field)
                && let Some(inner) = message.get_field_mut(&field).as_message_mut()
            {
                fill(inner);
            }
        } else if field.supports_presence() && !matches!(field.kind(), Kind::Message(_)) && !message.has_field(&field) {
            message.set_field(&field, field.default_value());
        }
    }
}

/// The sections of an encoded resource and nothing beside them; fields that this version does not know stay.
pub fn sections<R: Resource>(encoded: &[u8]) -> Result<Vec<u8>, Status> {
    let mut message = decoded::<R>(encoded)?;
    for field in message.descriptor().fields().filter(|field| section(field).is_none()) {
        message.clear_field(&field);
    }
    Ok(message.encode_to_vec())
}

pub(crate) fn typed<R: Resource>(message: &DynamicMessage) -> Result<R, Status> {
    let unlike = |_| problem::status(Code::Internal, "INTERNAL", format!("{} is not as its descriptor", R::NAME));
    message.transcode_to().map_err(unlike)
}
