//! Whether the path of an HTTP request is that of an rpc, and what it says.
//!
//! Paths stand in the rpcs' descriptors and follow Google's AIPs: resources below `/v1`, and `:verb` for what is no plain create,
//! read, update or delete. A variable names the field of the rpc's request that it fills; `{name=**}` reaches to the end of the
//! path.

/// A part of a path, between slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    /// Fills `field`, up to `verb`; `rest`: all that is left of the path.
    Variable {
        field: &'static str,
        verb: &'static str,
        rest: bool,
    },
}

/// A path of a descriptor, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Path(Vec<Segment>);

impl Path {
    /// Takes a path of a descriptor apart.
    pub(crate) fn new(path: &'static str) -> Self {
        let segment = |text: &'static str| {
            let variable = text.strip_prefix('{').and_then(|text| text.split_once('}'));
            let Some((name, verb)) = variable else { return Segment::Literal(text) };
            let whole = name.strip_suffix("=**");
            Segment::Variable { field: whole.unwrap_or(name), verb, rest: whole.is_some() }
        };
        Self(path.split('/').skip(1).map(segment).collect())
    }

    /// The fields that it fills, as dotted names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Variable { field, .. } => Some(*field),
            Segment::Literal(_) => None,
        })
    }

    /// Whether a variable, by the last part of its name, reaches to the end of the path.
    pub(crate) fn is_rest(&self, name: &str) -> bool {
        let is_it =
            |segment: &Segment| matches!(segment, Segment::Variable { field, rest: true, .. } if last(field) == name);
        self.0.iter().any(is_it)
    }

    /// As OpenAPI writes it: variables by the last part of their names.
    pub(crate) fn shown(&self) -> String {
        self.written(last)
    }

    /// With a value for each variable, by the last part of its name; `None` when one has none.
    pub(crate) fn filled(&self, value: impl Fn(&str) -> Option<String>) -> Option<String> {
        let segments = self.0.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(format!("/{text}")),
            Segment::Variable { field, verb, .. } => Some(format!("/{}{verb}", value(last(field))?)),
        });
        segments.collect()
    }

    /// The same of all paths that differ by the names of their variables alone.
    pub(crate) fn shape(&self) -> String {
        self.written(|_| "")
    }

    fn written(&self, name: impl Fn(&'static str) -> &'static str) -> String {
        let segments = self.0.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Variable { field, verb, .. } => format!("/{{{}}}{verb}", name(field)),
        });
        segments.collect()
    }

    /// How many of its segments are no variables: of two paths that a request has, that with more of them is meant.
    pub(crate) fn n_literals(&self) -> usize {
        self.0.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count()
    }

    /// The variables' values when a path (as it was sent) is this one. A colon in a value is written `%3A`: what follows
    /// a colon is a verb.
    pub(crate) fn matched(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let mut values = Vec::new();
        let mut left = path.strip_prefix('/');
        for segment in &self.0 {
            let (text, after) = match (left?, segment) {
                (text, Segment::Variable { rest: true, .. }) => (text, None),
                (text, _) => text.split_once('/').map_or((text, None), |(text, after)| (text, Some(after))),
            };
            match segment {
                Segment::Literal(literal) if *literal == text => {}
                Segment::Literal(_) => return None,
                Segment::Variable { field, verb, .. } => {
                    let value = text.strip_suffix(verb).filter(|value| !value.is_empty() && !value.contains(':'))?;
                    values.push((*field, decoded(value, false)?));
                }
            }
            left = after;
        }
        left.is_none().then_some(values)
    }
}

/// The last part of a dotted name.
pub(crate) fn last(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// Text without its %-escapes; `None` when they are not UTF-8 or no escapes. In queries a plus is a space.
pub(crate) fn decoded(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rpc;

    #[test]
    fn no_request_has_two_answers() {
        let sample = |path: &str| {
            let segment = |text: &str| text.find('}').map_or(text.to_owned(), |end| format!("a-1{}", &text[end + 1..]));
            path.split('/').map(segment).collect::<Vec<_>>().join("/")
        };
        let all = || rpc::all().iter().flat_map(|rpc| &rpc.http);
        for route in all() {
            let path = sample(&route.path);
            let found: Vec<_> = all()
                .filter(|other| other.method == route.method && Path::new(&other.path).matched(&path).is_some())
                .map(|other| &other.path)
                .collect();
            assert_eq!(found, [&route.path], "{} {path}", route.method);
        }
    }

    #[test]
    fn paths_are_taken_literally() {
        let path = Path::new("/v1/devices/{device_id}:claim");
        assert_eq!(path.matched("/v1/devices/x%2Fy:claim"), Some(vec![("device_id", "x/y".to_owned())]));
        for other in ["/v1/devices/x", "/v1/devices/:claim", "/v1/devices/x:claim/", "/v1//devices/x:claim", "v1", ""] {
            assert_eq!(path.matched(other), None, "{other}");
        }
        for broken in ["/v1/devices/%zz:claim", "/v1/devices/%ff:claim", "/v1/devices/%4:claim"] {
            assert_eq!(path.matched(broken), None, "{broken}");
        }
        let replay = Path::new("/v1/quarantine/{log_position=**}:replay");
        for (path, value) in [("a/0/7", "a/0/7"), ("a%2F0%2F7", "a/0/7")] {
            assert_eq!(
                replay.matched(&format!("/v1/quarantine/{path}:replay")),
                Some(vec![("log_position", value.to_owned())])
            );
        }
        assert_eq!(Path::new("/v1/users/{user.user_id}").shown(), "/v1/users/{user_id}");
    }
}
