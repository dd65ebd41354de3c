//! Every rpc says what it is, and what it says can be; and no name of ours is a word that a client's language keeps for itself.

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use proto::rpc::{self, Body, Quota};
use std::collections::BTreeSet;

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn has_field(message: &MessageDescriptor, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = message.get_field_by_name(name) else { return false };
    rest.is_none_or(|rest| field.kind().as_message().is_some_and(|message| has_field(message, rest)))
}

#[test]
fn every_rpc_says_who_may_call_it_and_within_which_bounds() {
    let silent: Vec<_> = methods().iter().map(path).filter(|path| rpc::find(path).is_none()).collect();
    assert_eq!(silent, Vec::<String>::new(), "these have no option (wardline.options.v1.rpc)");
    for rpc in rpc::all() {
        assert_eq!(rpc.actions.is_empty(), rpc.is_open, "{}: actions or open, not both", rpc.path);
        assert!(!rpc.process.is_empty(), "{}: its service has no option (wardline.options.v1.process)", rpc.path);
        assert!(rpc.quota != Quota::Unspecified, "{}", rpc.path);
        assert_eq!(rpc.is_open, rpc.quota == Quota::Claims, "{}: what is open counts by address", rpc.path);
        assert!(rpc.memory_bytes > 0, "{}", rpc.path);
        assert_eq!(rpc.answered_in.is_none(), rpc.streams.0, "{}", rpc.path);
        assert!(rpc.max_bytes.is_none_or(|bytes| bytes <= 4 << 20), "{}", rpc.path);
        assert!(!rpc.names().1.starts_with("Create") || rpc.makes, "{}: what it creates is made", rpc.path);
        assert!(!rpc.makes || rpc.quota == Quota::Writes, "{}: what makes something writes", rpc.path);
    }
    for method in methods() {
        let (rpc, is_file) = (rpc::find(&path(&method)).unwrap(), method.output().full_name() == "google.api.HttpBody");
        assert_eq!(is_file, !rpc.media_types.is_empty(), "{}: what answers with a file says of which types", rpc.path);
    }
    let open: Vec<_> = rpc::all().iter().filter(|rpc| rpc.is_open).map(|rpc| rpc.names().1).collect();
    assert_eq!(open, ["ClaimDevice", "RefreshDevice"], "anything else open to all needs a reason");
}

#[test]
fn every_rpc_that_is_no_stream_has_a_route_of_its_own_whose_fields_there_are() {
    let mut seen = BTreeSet::new();
    for method in methods() {
        let rpc = rpc::find(&path(&method)).unwrap();
        // a protocol of others has its own clients
        let is_ours = rpc.path.starts_with("/wardline.");
        assert_eq!(!rpc.http.is_empty(), is_ours && rpc.streams == (false, false), "{}", rpc.path);
        for http in &rpc.http {
            assert!(seen.insert((http.method, &http.path)), "{} {} is two rpcs", http.method, http.path);
            let variables = http.path.split('{').skip(1).filter_map(|part| part.split_once('}'));
            for (variable, _) in variables {
                let (field, message) = (variable.trim_end_matches("=**"), method.input());
                assert!(has_field(&message, field), "{field} of {} is no field of {}", http.path, message.name());
            }
            if let Body::Field(field) = &http.body {
                assert!(has_field(&method.input(), field), "the body of {} is no field", http.path);
            }
        }
        let elsewhere = rpc.http.iter().skip_while(|http| http.path.starts_with("/v1/"));
        // paths of the systems that analytics replaces
        assert!(rpc.process == "analytics" || elsewhere.count() == 0, "{}", rpc.path);
    }
}

/// Keywords of Python 3: what has such a name is not reached by a dot. `type`, `match` and `case` are keywords where they begin a
/// statement alone, and so harmless.
const PYTHON: &str = "False None True and as assert async await break class continue def del elif else except finally for from \
    global if import in is lambda nonlocal not or pass raise return try while with yield";
/// Words that Go keeps for itself.
const GO: &str = "break case chan const continue default defer else fallthrough for func go goto if import interface map package \
    range return select struct switch type var";
/// Of JavaScript, in modules, too: what has such a name cannot be taken out of its message by name.
const JAVASCRIPT: &str = "arguments await break case catch class const continue debugger default delete do else enum eval export \
    extends false finally for function if implements import in instanceof interface let new null package private protected public \
    return static super switch this throw true try typeof var void while with yield";

/// A name as generated Go has it: `range` and `type` become `Range` and `Type`, which are no keywords.
fn in_go(name: &str) -> String {
    let words = name.split('_').filter_map(|word| word.split_at_checked(1));
    words.map(|(first, rest)| first.to_ascii_uppercase() + rest).collect()
}

fn is_kept(name: &str) -> bool {
    let is_one_of = |words: &str, name: &str| words.split_whitespace().any(|word| word == name);
    is_one_of(PYTHON, name) || is_one_of(JAVASCRIPT, name) || is_one_of(GO, &in_go(name))
}

#[test]
fn no_name_is_a_keyword_of_a_clients_language() {
    assert!(["from", "in", "None", "delete"].into_iter().all(is_kept));
    assert!(!["type", "range", "start_date", "From"].into_iter().any(is_kept));
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let mut names = Vec::new();
    for message in pool.all_messages() {
        names.push((message.full_name().to_owned(), message.name().to_owned()));
        names.extend(message.fields().map(|field| (field.full_name().to_owned(), field.name().to_owned())));
        names.extend(message.oneofs().map(|choice| (choice.full_name().to_owned(), choice.name().to_owned())));
    }
    for choices in pool.all_enums() {
        names.push((choices.full_name().to_owned(), choices.name().to_owned()));
        names.extend(choices.values().map(|value| (value.full_name().to_owned(), value.name().to_owned())));
    }
    names.extend(methods().iter().map(|method| (method.full_name().to_owned(), method.name().to_owned())));
    assert!(names.len() > 1_000, "{}", names.len());
    let kept = names.iter().filter(|(full, name)| full.starts_with("wardline.") && is_kept(name));
    assert_eq!(kept.map(|(full, _)| full).collect::<Vec<_>>(), Vec::<&String>::new());
}
