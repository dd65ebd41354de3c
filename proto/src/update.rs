//! What an update changes of a resource: the fields that it names, and nothing else.
//!
//! Without a mask these are the fields that are there: an `optional` one when it was sent, whatever its value, a list when
//! it is not empty, of a section each field by itself. With a mask they are the fields of the mask, where a section stands
//! for all of its own; one that is named and not there is emptied. What names nothing, names a field that there is not, or
//! sends what the server sets is refused.

use crate::{
    problem,
    resource::{
        Path, Resource, decoded, descriptor, dynamic, is_output_only, refuse_outputs, section, settable, shown, typed,
    },
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
use prost_types::FieldMask;
use std::marker::PhantomData;
use tonic::Status;

/// An update that was found to be one.
pub struct Update<R> {
    sent: DynamicMessage,
    /// What is changed, each once.
    paths: Vec<Path>,
    resource: PhantomData<R>,
}

impl<R: Resource> Update<R> {
    /// What `sent` changes, as far as `mask` goes. A mask without paths is none.
    ///
    /// # Errors
    /// INVALID_ARGUMENT: `OUTPUT_ONLY` with every field that is the server's; `INVALID_FIELD` with the path of the mask
    /// that is none; `EMPTY_CHANGE` when nothing is named.
    pub fn new(sent: &R, mask: Option<&FieldMask>) -> Result<Self, Status> {
        let (sent, descriptor) = (dynamic(sent)?, descriptor::<R>()?);
        refuse_outputs::<R>(&sent)?;
        let settable = settable(&descriptor);
        let masked = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let paths: Vec<_> = if masked.is_empty() {
            settable.iter().filter(|path| is_there(&sent, path)).cloned().collect()
        } else {
            check::<R>(&descriptor, &settable, masked)?;
            let named = |path: &&Path| masked.iter().any(|named| stands_for(named, path));
            settable.iter().filter(named).cloned().collect()
        };
        if paths.is_empty() {
            let text = format!(
                "nothing is to be changed; send at least one of {} (a list that is to become empty is named in the mask)",
                names(&settable)
            );
            return Err(problem::invalid("EMPTY_CHANGE", "update_mask", text));
        }
        Ok(Self { sent, paths, resource: PhantomData })
    }

    /// The fields that are changed, as a mask names them.
    pub fn fields(&self) -> impl Iterator<Item = String> {
        self.paths.iter().map(|path| shown(path))
    }

    /// The resource after the update.
    pub fn apply(&self, before: &R) -> Result<R, Status> {
        let mut message = dynamic(before)?;
        self.change(&mut message);
        typed(&message)
    }

    /// The same of an encoded one, in which fields that this version does not know stay as they are.
    pub fn apply_encoded(&self, before: &[u8]) -> Result<Vec<u8>, Status> {
        let mut message = decoded::<R>(before)?;
        self.change(&mut message);
        Ok(message.encode_to_vec())
    }

    fn change(&self, message: &mut DynamicMessage) {
        for path in &self.paths {
            copy(message, &self.sent, path);
        }
    }
}

fn is_there(sent: &DynamicMessage, path: &[FieldDescriptor]) -> bool {
    match path {
        [] => false,
        [field] => sent.has_field(field),
        [field, rest @ ..] => {
            sent.has_field(field) && sent.get_field(field).as_message().is_some_and(|inner| is_there(inner, rest))
        }
    }
}

/// Sets a field to what was sent; one that was not is emptied.
fn copy(into: &mut DynamicMessage, sent: &DynamicMessage, path: &[FieldDescriptor]) {
    match path {
        [] => {}
        [field] if sent.has_field(field) => into.set_field(field, sent.get_field(field).into_owned()),
        [field] => into.clear_field(field),
        [field, rest @ ..] => {
            let value = sent.get_field(field);
            if let (Some(inner), Some(sent)) = (into.get_field_mut(field).as_message_mut(), value.as_message()) {
                copy(inner, sent, rest);
            }
        }
    }
}

/// Whether a path of a mask is this field, or a section that it is in.
fn stands_for(named: &str, path: &[FieldDescriptor]) -> bool {
    (1..=path.len()).any(|length| shown(&path[..length]) == named)
}

/// Refuses a mask with a path that names nothing that can be set.
fn check<R: Resource>(descriptor: &MessageDescriptor, settable: &[Path], masked: &[String]) -> Result<(), Status> {
    for (index, named) in masked.iter().enumerate() {
        if settable.iter().any(|path| stands_for(named, path)) {
            continue;
        }
        if is_output(descriptor, named) {
            let field = format!("{}.{named}", R::FIELD);
            return Err(problem::invalid("OUTPUT_ONLY", &field, "is set by the server; leave it out"));
        }
        let field = format!("update_mask.paths[{index}]");
        return Err(problem::invalid("INVALID_FIELD", &field, format!("one of {}", names(settable))));
    }
    Ok(())
}

fn is_output(message: &MessageDescriptor, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = message.get_field_by_name(name) else { return false };
    is_output_only(&field) || rest.zip(section(&field)).is_some_and(|(rest, inner)| is_output(&inner, rest))
}

fn names(settable: &[Path]) -> String {
    settable.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
}
