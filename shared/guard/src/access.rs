//! `wardline access`: the policy as people read it, and which rpc and route follows which rule.

use crate::methods::{FOREIGN, Foreign};
use model::access::{Action, table};
use proto::rpc::{self, Rpc};
use std::{collections::HashMap, fmt::Write, sync::LazyLock};

/// Where the OpenAPI document of the JSON API is, open to all.
pub const OPENAPI: &str = "/v1/openapi.json";

/// Where the JSON API tells whether a service is there, and whenever that changes, open to all.
pub const HEALTH: &str = "/v1/health:watch";

/// The routes of the internal port, where there is no patient data.
const ROUTES: [&str; 3] = ["/live", "/metrics", "/ready"];

/// All of it, as `wardline access matrix` prints it.
pub fn matrix() -> String {
    let mut text = table();
    text += "\nEach rpc, and the action for which its caller needs permission; of several one is enough\n";
    let foreign = FOREIGN.iter().map(|foreign| (foreign.path, String::new()));
    let ours = rpc::all().iter().map(|rpc| (rpc.path.as_str(), rpc.actions.join(", ")));
    for (path, actions) in foreign.chain(ours) {
        let actions = if actions.is_empty() { "open to all" } else { &actions };
        // writing to a string cannot fail
        let _ = writeln!(text, "  {:<66} {actions}", &path[1..]);
    }
    text += "\nRoutes of the JSON API, and the rpc that each calls: the same rule\n";
    for (http, rpc) in rpc::all().iter().flat_map(|rpc| rpc.http.iter().map(move |http| (http, rpc))) {
        let _ = writeln!(text, "  {:<6} {:<59} {}", http.method, http.path, &rpc.path[1..]);
    }
    for open in [HEALTH, OPENAPI] {
        let _ = writeln!(text, "  {:<6} {open:<59} open to all", "GET");
    }
    text += "\nRoutes of the internal port, open to all who reach it: no patient data\n";
    for route in ROUTES {
        let _ = writeln!(text, "  {route}");
    }
    text
}

/// Whether the rpc at a path (`/package.Service/Rpc`) is a stream. Every other call is bounded as a whole.
pub fn is_stream(path: &str) -> bool {
    match rpc::find(path) {
        Some(rpc) => rpc.streams != (false, false),
        None => Foreign::find(path).is_some_and(Foreign::is_stream),
    }
}

/// The actions of the rpc at a path (`/package.Service/Rpc`); none for one that is open or unknown.
pub fn actions(path: &str) -> &'static [Action] {
    static BY_RPC: LazyLock<HashMap<&str, Vec<Action>>> = LazyLock::new(|| {
        let named = |rpc: &'static Rpc| rpc.actions.iter().filter_map(|name| Action::from_name(name)).collect();
        rpc::all().iter().map(|rpc| (rpc.path.as_str(), named(rpc))).collect()
    });
    BY_RPC.get(path).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_that_is_checked_in_is_the_policy() {
        assert!(
            matrix() == include_str!("../access-matrix.txt"),
            "wardline access matrix > shared/guard/access-matrix.txt, and have the change reviewed"
        );
    }

    #[test]
    fn every_rpc_names_actions_that_there_are_and_every_action_has_an_rpc() {
        let mut used = BTreeSet::<Action>::new();
        for rpc in rpc::all() {
            assert_eq!(
                actions(&rpc.path).len(),
                rpc.actions.len(),
                "{}: {:?} are not all actions",
                rpc.path,
                rpc.actions
            );
            used.extend(actions(&rpc.path));
        }
        let unused: Vec<_> = Action::ALL.iter().filter(|action| !used.contains(action)).collect();
        assert!(unused.is_empty(), "no rpc is for {unused:?}");
    }
}
