//! A PostgreSQL server in a folder that is thrown away, on a Unix socket and on loopback with TLS.

use crate::postgres::{Gone, Postgres};
use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Longer than a server takes to start.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "hunter2 and more";
/// Whom root lets run it: PostgreSQL refuses root.
const NOBODY: u32 = 65_534;

/// A server; it ends with this.
pub(super) struct Cluster {
    dir: TempDir,
    child: Child,
    port: u16,
}

impl Cluster {
    /// Makes a server and starts it; waits until it answers.
    pub(super) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (data, password) = (dir.path().join("data"), dir.path().join("password"));
        fs::write(&password, PASSWORD).unwrap();
        certificate(dir.path());
        fs::create_dir(&data).unwrap();
        give_away(dir.path());
        let mut init = program("initdb", dir.path());
        init.args(["--username=ward", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = init.arg("--pwfile").arg(&password).arg("-D").arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = program("postgres", dir.path());
        server.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-p", &port.to_string(), "-c", "fsync=off"]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"]);
        for (setting, name) in [("ssl_cert_file", "cert.pem"), ("ssl_key_file", "key.pem")] {
            server.args(["-c", &format!("{setting}={}", dir.path().join(name).display())]);
        }
        let child = server.spawn().unwrap();
        let cluster = Self { dir, child, port };
        let began = Instant::now();
        while let Err(error) = cluster.settings().connect().await {
            assert!(began.elapsed() < PATIENCE, "{error}: {}", cluster.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster
    }

    /// How it is reached over its socket.
    pub(super) fn settings(&self) -> Postgres {
        Postgres {
            host: self.dir.path().display().to_string(),
            port: self.port,
            database: "postgres".to_owned(),
            user: "ward".to_owned(),
            password: PASSWORD.to_owned(),
            password_file: None,
            tls: false,
            ca_file: None,
            schema: "public".to_owned(),
            gone: Gone::Keep,
            tables: vec!["quality".to_owned(), "premium_trends".to_owned()],
        }
    }

    /// How it is reached with TLS, its password in a file.
    pub(super) fn settings_with_tls(&self) -> Postgres {
        Postgres {
            host: "127.0.0.1".to_owned(),
            password: String::new(),
            password_file: Some(self.dir.path().join("password")),
            tls: true,
            ca_file: Some(self.dir.path().join("cert.pem")),
            ..self.settings()
        }
    }

    /// The rows of a query, columns with bars between.
    pub(super) async fn ask(&self, sql: &str) -> Vec<String> {
        let connected = self.settings().connect().await.unwrap();
        let client: &Client = &connected.client;
        let messages = client.simple_query(sql).await.unwrap();
        let shown = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).unwrap_or("null")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        };
        messages.into_iter().filter_map(shown).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // a fast shutdown, so that none of its processes is left
        let told = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        if !told.is_ok_and(|told| told.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A certificate for the server's address, and its key.
fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    let key = dir.join("key.pem");
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

fn is_root(dir: &Path) -> bool {
    fs::metadata(dir).unwrap().uid() == 0 || Path::new("/proc/self").metadata().unwrap().uid() == 0
}

fn give_away(dir: &Path) {
    if is_root(dir) {
        for entry in fs::read_dir(dir).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A program of PostgreSQL, of the newest version here, run by nobody in particular.
fn program(name: &str, dir: &Path) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin").join(name)).collect();
    versions.retain(|path| path.exists());
    versions.sort_by_key(|path| path.iter().nth(4).and_then(|v| v.to_str()?.parse::<u32>().ok()));
    let program = versions.pop().unwrap_or_else(|| name.into());
    let mut command = Command::new(program);
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    command.current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log);
    if is_root(dir) || fs::metadata(dir).unwrap().uid() == NOBODY {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
