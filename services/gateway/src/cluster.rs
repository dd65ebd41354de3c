//! One address for a cluster: which service of it serves which path, as the chart's routes have it.
//!
//! What a service of the cluster serves stands in the descriptors; here it becomes what a gateway of Kubernetes can match: rpcs by
//! their service, routes of the JSON API by regular expressions of whole paths, of which no two services have one in common.

use super::{routes, served};
use guard::access::{HEALTH, OPENAPI};
use proto::rpc;
use std::collections::{BTreeMap, BTreeSet};

/// The service that answers what all of them could: the OpenAPI document, and whether it is there.
const FOR_ALL: &str = "registry";

/// Text of `helm/wardline/files/routes.yaml`: by service, the gRPC services and the patterns of paths that it serves.
///
/// # Errors
/// When a route has no descriptor, which a test holds.
pub fn routes() -> anyhow::Result<String> {
    let mut of: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<String>)> = BTreeMap::new();
    for rpc in rpc::all() {
        of.entry(&rpc.process).or_default().0.insert(rpc.names().0);
    }
    for served in served()?.iter().filter(|served| !served.rpc().process.is_empty()) {
        of.entry(&served.rpc().process).or_default().1.insert(pattern(&served.path));
    }
    let open = [OPENAPI, HEALTH].map(|path| format!("^{}$", escaped(path)));
    of.entry(FOR_ALL).or_default().1.extend(open);
    let mut text = "# What each service of a cluster serves: rpcs by their service, paths of the JSON API as regular expressions.\n\
        # Made from proto/ (WARDLINE_WRITE_ROUTES=1 cargo test -p tests --test it chart); a test compares.\n"
        .to_owned();
    for (process, (grpc, json)) in of {
        text += &format!("{process}:\n  grpc:\n");
        grpc.iter().for_each(|name| text += &format!("    - {name}\n"));
        text += "  json:\n";
        json.iter().for_each(|path| text += &format!("    - '{path}'\n"));
    }
    Ok(text)
}

/// A path's regular expression: a variable is all between two slashes, up to its verb.
fn pattern(path: &routes::Path) -> String {
    let shown = path.shown();
    let mut text = String::from("^");
    for part in shown.split('{') {
        match part.split_once('}') {
            None => text += &escaped(part),
            Some((name, after)) => {
                // a colon in a value is written %3A; what reaches to the end of the path may have slashes
                text += if path.is_rest(name) { "[^:]+" } else { "[^/:]+" };
                text += &escaped(after);
            }
        }
    }
    text + "$"
}

fn escaped(text: &str) -> String {
    text.replace('.', "[.]")
}
