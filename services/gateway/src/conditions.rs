//! Conditional requests (RFC 9110, 13): what `If-Match` and `If-None-Match` list.

use super::problem::{Problem, Violations};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How the tag of a version's compressed form ends. A condition is about versions: the tag of either form names one.
const GZIP: &str = "-gzip";
/// Most entity tags of one header: each may cost a call.
const MAX_TAGS: usize = 8;

/// The condition of `If-Match` or `If-None-Match`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `*`: whatever is there.
    Any,
    /// The entity tag must be one of these.
    Tags(Vec<Tag>),
}

/// An entity tag, without its quotation marks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    is_weak: bool,
    text: String,
}

impl Condition {
    /// What all headers of this name say together; `None` when there is none.
    ///
    /// # Errors
    /// INVALID_REQUEST, when one of them is no list of entity tags.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let values: Option<Vec<_>> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
        match values.as_deref() {
            Some([]) => Ok(None),
            Some(values) => Self::parse(&values.join(",")).map(Some).ok_or_else(|| wrong(name)),
            None => Err(wrong(name)),
        }
    }

    /// What a header's text says; `None` when that is no list of entity tags.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        // elements of a list may be empty (RFC 9110, 5.6.1.2)
        let (mut tags, mut rest) = (Vec::new(), text.trim().trim_start_matches([' ', '\t', ',']));
        while !rest.is_empty() {
            let strong = rest.strip_prefix("W/");
            let (tag, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            tags.push(Tag { is_weak: strong.is_some(), text: tag.to_owned() });
            let after = after.trim_start();
            if !after.is_empty() && !after.starts_with(',') || tags.len() > MAX_TAGS {
                return None;
            }
            rest = after.trim_start_matches([' ', '\t', ',']);
        }
        // nor need a list have any
        Some(Self::Tags(tags))
    }

    /// The versions that can match strongly: a weak tag never does (RFC 9110, 8.8.3.2). `*` lists none.
    pub(super) fn strong(&self) -> Vec<&str> {
        let Self::Tags(tags) = self else { return Vec::new() };
        let strong = tags.iter().filter(|tag| !tag.is_weak).map(|tag| version(&tag.text));
        // in an rpc's request these stand for whatever is there: no version has them
        strong.filter(|version| !matches!(*version, "" | "*")).collect()
    }

    /// Whether what is there may be answered: what is asked of `If-Match`. `*` takes whatever is there; a list only what
    /// has one of its versions, compared strongly, and so nothing that has no entity tag.
    fn holds(&self, etag: Option<&str>) -> bool {
        *self == Self::Any || etag.is_some_and(|etag| self.strong().contains(&version(etag)))
    }

    /// A version's tag as it is listed, weak or not: what is asked of `If-None-Match`. That of the other form says which form the
    /// caller has, and so of which one it is told that it is the newest.
    pub(super) fn listed<'a>(&'a self, etag: &'a str) -> Option<&'a str> {
        match self {
            Self::Any => Some(etag),
            Self::Tags(tags) if tags.iter().any(|tag| tag.text == etag) => Some(etag),
            Self::Tags(tags) => tags.iter().map(|tag| tag.text.as_str()).find(|text| version(text) == version(etag)),
        }
    }
}

/// What is there, with this entity tag or none, is to be answered only when it holds (`If-Match`); without a condition always.
///
/// # Errors
/// ETAG_MISMATCH, 412.
pub(super) fn require(only: Option<&Condition>, etag: Option<&str>) -> Result<(), Problem> {
    match only {
        Some(only) if !only.holds(etag) => Err(failed()),
        _ => Ok(()),
    }
}

/// An entity tag of bytes: the same ones have the same, whoever made them.
pub(super) fn tag_of(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// That of their compressed form: each form has its own.
pub(super) fn gzip_tag(tag: &str) -> String {
    format!("{tag}{GZIP}")
}

/// The tag of a version, of whichever form it is.
fn version(tag: &str) -> &str {
    tag.strip_suffix(GZIP).unwrap_or(tag)
}

/// 412: what is there is none of what was listed.
pub(super) fn failed() -> Problem {
    let detail = "If-Match: none of the entity tags is that of what is there; a weak one (W/) never is: read it again";
    Problem::new(StatusCode::PRECONDITION_FAILED, "ETAG_MISMATCH", detail)
}

/// 412: what is there has no entity tag, and so none of those that were listed.
pub(super) fn untagged() -> Problem {
    let detail = "If-Match: nothing here goes by an entity tag, so none of the list is there; leave it out, or send *";
    Problem::new(StatusCode::PRECONDITION_FAILED, "ETAG_MISMATCH", detail)
}

/// An entity tag as a header's value.
pub(super) fn quoted(etag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\"")).ok()
}

fn wrong(name: &HeaderName) -> Problem {
    let mut wrong = Violations::default();
    let shown = if name == axum::http::header::IF_MATCH { "If-Match" } else { "If-None-Match" };
    wrong.push(shown, format!("must be * or up to {MAX_TAGS} entity tags as they came in ETag: \"...\", \"...\""));
    Problem::fields(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_are_written() {
        let strong = |text: &str| Condition::parse(text).map(|tags| tags.strong().join("|"));
        assert_eq!(strong(r#""7""#).as_deref(), Some("7"));
        assert_eq!(strong(r#" "7" ,, "a,b"	,W/"8" "#).as_deref(), Some("7|a,b"));
        assert_eq!(strong(r#", "7","#).as_deref(), Some("7"), "empty elements");
        // these would stand for whatever is there
        for none in [r#""""#, r#""*""#, r#""-gzip""#, r#""*-gzip""#] {
            for list in [none.to_owned(), format!("{none}, \"7\""), format!("\"7\", {none}")] {
                let expected = if list == none { "" } else { "7" };
                assert_eq!(strong(&list).as_deref(), Some(expected), "{list}");
                assert!(Condition::parse(&list).is_some_and(|listed| !listed.holds(None)), "{list}");
            }
        }
        assert_eq!(Condition::parse(" * "), Some(Condition::Any));
        for empty in ["", " , ,"] {
            let empty = Condition::parse(empty).unwrap();
            assert!(!empty.holds(Some("7")) && empty.listed("7").is_none(), "it names nothing");
        }
        for wrong in
            ["7", ", *", "\"7", "w/\"7\"", "*, \"7\"", "\"7\"\"8\"", "\"7\" \"8\"", "\"7\" 8", &"\"7\",".repeat(9)]
        {
            assert_eq!(Condition::parse(wrong), None, "{wrong}");
        }
        let listed = Condition::parse(r#"W/"7", "8""#).unwrap();
        assert_eq!(["7", "8", "9"].map(|etag| listed.listed(etag).is_some()), [true, true, false]);
        assert!(Condition::Any.listed("7").is_some());
        assert_eq!([Some("7"), Some("8"), Some("9"), None].map(|etag| listed.holds(etag)), [false, true, false, false]);
        assert!(Condition::Any.holds(None));
        // either form's tag names the version, and whose form is newest is said by its own
        let packed = Condition::parse(r#""7-gzip", W/"8-gzip""#).unwrap();
        assert_eq!(packed.strong(), ["7"]);
        assert!(packed.holds(Some("7")) && packed.holds(Some("7-gzip")) && !packed.holds(Some("8")));
        assert_eq!([packed.listed("7"), packed.listed("8-gzip")], [Some("7-gzip"), Some("8-gzip")]);
        assert_eq!(packed.listed("9"), None);
    }

    #[test]
    fn headers_of_one_name_are_one_list() {
        let name = axum::http::header::IF_NONE_MATCH;
        let mut headers = HeaderMap::new();
        assert!(Condition::of(&headers, &name).is_ok_and(|none| none.is_none()));
        for tag in ["\"7\"", "W/\"8\""] {
            headers.append(&name, HeaderValue::from_static(tag));
        }
        assert!(Condition::of(&headers, &name).is_ok_and(|both| both.is_some_and(|both| both.listed("8").is_some())));
        headers.append(&name, HeaderValue::from_bytes(b"\"\xff\"").unwrap());
        assert!(Condition::of(&headers, &name).is_err());
    }
}
