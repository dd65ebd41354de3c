//! Every rpc says what it is, and what it says can be.

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
        assert_eq!(!rpc.http.is_empty(), rpc.streams == (false, false), "{}", rpc.path);
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
