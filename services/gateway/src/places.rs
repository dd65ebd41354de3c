//! Where what a request made can be read: its `Location`.
//!
//! That an rpc makes something stands in its descriptor; where that is read is found here: at the path of this API that answers
//! with the same message and needs no more than what that message and the request's own path say.

use super::routes::{Path, last};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};

/// The path of what an rpc makes.
#[derive(Clone)]
pub(crate) struct CreatedPath {
    made: MessageDescriptor,
    path: Path,
}

impl CreatedPath {
    /// That of a message, which is read at a path.
    pub(crate) fn new(made: MessageDescriptor, path: Path) -> Self {
        Self { made, path }
    }

    /// Whether what is read here is in an answer to a request at the path `own`, with all that the path names.
    pub(crate) fn is_in(&self, answer: &MessageDescriptor, own: &Path) -> bool {
        let answers =
            answer.fields().any(|field| !field.is_list() && field.kind().as_message().is_some_and(|m| *m == self.made));
        let own: Vec<_> = own.fields().map(last).collect();
        let is_known = |name: &str| self.made.get_field_by_name(name).is_some() || own.contains(&name);
        answers && self.path.fields().map(last).all(is_known)
    }

    /// What was made: an answer, or a field of it.
    pub(crate) fn made_in(&self, answer: &DynamicMessage) -> Option<DynamicMessage> {
        if answer.descriptor() == self.made {
            return Some(answer.clone());
        }
        let mut inner = answer.fields().filter_map(|(_, value)| value.as_message());
        inner.find(|inner| inner.descriptor() == self.made).cloned()
    }

    /// The path of this one, made by a request to `own` at the path `sent`; `None` when it would not be a plain path.
    pub(crate) fn location(&self, made: &DynamicMessage, own: &Path, sent: &str) -> Option<String> {
        let variables = own.matched(sent).unwrap_or_default();
        self.path.filled(|name| {
            let held = made.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
            let sent = || variables.iter().find(|(field, _)| last(field) == name).map(|(_, value)| value.clone());
            held.or_else(sent).filter(|value| is_plain(value))
        })
    }
}

/// Whether a value stands in a path as it is.
fn is_plain(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !value.is_empty() && value.bytes().all(is_plain)
}
