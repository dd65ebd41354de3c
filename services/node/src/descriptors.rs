//! File descriptors of this process: as many as the system gives, so many of them for connections, the rest for the engines.
//!
//! What it promises: connections cannot take what log, store and audit log open their files with. Settings for which there are
//! not enough descriptors are refused at the start.

use crate::{
    config::{Config, LogKind, StoreKind},
    http,
};
use anyhow::{Context, ensure};

/// Standard streams, listeners, the runtime's own, and files that are read now and then: settings, certificates, keys.
const OWN: u64 = 96;
/// An embedded engine keeps up to 900 files of tables open, and its journals.
const EMBEDDED: u64 = 1_024;
/// A connection for each core or broker, a few times.
const REMOTE: u64 = 256;
/// Fewer connections than this are no default.
const MIN_CONNECTIONS: u64 = 64;

/// Raises this process's limit as far as it may be raised, and returns how many connections there may be at once.
///
/// That is `server.max_connections`. Where the setting is the default and more than there are descriptors for, it is lowered,
/// and a warning says so; one that was chosen is refused.
pub(crate) fn connections(config: &Config) -> anyhow::Result<usize> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files (RLIMIT_NOFILE)")?;
    let wanted = config.server.max_connections as u64;
    let is_chosen = !config.is_default("server", "max_connections");
    let fitting = fit(limit, reserve(config), wanted, is_chosen)?;
    if fitting < wanted {
        tracing::warn!(
            limit,
            max_connections = fitting,
            "server.max_connections is lowered to what the limit of open files allows; raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
    Ok(usize::try_from(fitting)?)
}

/// Descriptors that connections cannot have.
fn reserve(config: &Config) -> u64 {
    let log = if config.log.kind == LogKind::Embedded { EMBEDDED } else { REMOTE };
    let store = if config.store.kind == StoreKind::Embedded { EMBEDDED } else { REMOTE };
    OWN + log + store + listen::FAREWELLS_AT_ONCE as u64 + http::MAX_CONNECTIONS as u64
}

fn fit(limit: u64, reserve: u64, wanted: u64, is_chosen: bool) -> anyhow::Result<u64> {
    let room = limit.saturating_sub(reserve);
    let least = if is_chosen { wanted } else { wanted.min(MIN_CONNECTIONS) };
    ensure!(
        room >= least,
        "server.max_connections: {wanted} connections and {reserve} files of the node itself need {} descriptors, and the \
         limit of open files is {limit}; raise it (ulimit -Hn, LimitNOFILE=, --ulimit nofile=), or set server.max_connections \
         to at most {room}",
        wanted + reserve,
    );
    Ok(wanted.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_kept_or_refused_with_what_to_do() {
        assert_eq!(fit(20_000, 2_000, 10_000, true).unwrap(), 10_000);
        let text = fit(4_096, 2_000, 10_000, true).unwrap_err().to_string();
        for part in ["server.max_connections: 10000", "2000", "12000", "4096", "at most 2096", "ulimit"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        rlimit::setrlimit(rlimit::Resource::NOFILE, soft.min(1_024), hard).unwrap();
        let config = Config::load(&crate::config::Sources {
            flags: vec!["server.max_connections=100".to_owned()],
            ..Default::default()
        });
        assert_eq!(connections(&config.unwrap()).unwrap(), 100);
        assert_eq!(rlimit::Resource::NOFILE.get().unwrap(), (hard, hard));
        // what the engines need is nobody's connection: embedded ones, and their journals
        let hard = hard.min(8_192);
        rlimit::setrlimit(rlimit::Resource::NOFILE, hard, hard).unwrap();
        let with = |max_connections: u64| {
            let flags = vec![format!("server.max_connections={max_connections}")];
            connections(&Config::load(&crate::config::Sources { flags, ..Default::default() }).unwrap())
        };
        assert!(with(hard - 2_048).unwrap_err().to_string().contains("server.max_connections"));
        assert_eq!(with(hard - 2_400).unwrap() as u64, hard - 2_400);
    }

    #[test]
    fn a_default_is_lowered_but_not_to_nothing() {
        assert_eq!(fit(4_096, 2_000, 10_000, false).unwrap(), 2_096);
        assert!(fit(1_024, 2_000, 10_000, false).is_err());
        assert!(fit(2_063, 2_000, 10_000, false).is_err());
        assert_eq!(fit(2_064, 2_000, 10_000, false).unwrap(), 64);
        assert_eq!(fit(u64::MAX, 2_000, 10_000, false).unwrap(), 10_000);
    }
}
