//! `wardline certificate`: what the demo's authority issues, as files to start a server or a client with; and requests.

use crate::cli::Certificate;
use anyhow::{Context, bail};
use auth::{DemoCa, DeviceCa, Issued, Requested};
use model::DeviceId;
use node::config::Config;
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Does what the command line says; what was done goes to `out`.
pub(crate) fn run(what: &Certificate, config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    if let Certificate::Request { out: dir } = what {
        return request(dir, out);
    }
    if !config.demo() {
        bail!("the demo's authority is off (auth.demo); certificates come from your own");
    }
    let ca = DemoCa::open(&config.demo_ca_dir()).context("the demo's authority")?;
    match what {
        // has been answered
        Certificate::Request { .. } => Ok(()),
        Certificate::Device { device, out: dir } => issued(&ca, &ca.device(DeviceId::new(*device))?, dir, out),
        Certificate::Server { out: dir } => issued(&ca, &ca.server()?, dir, out),
        Certificate::Client { out: dir } => issued(&ca, &ca.client()?, dir, out),
        Certificate::Revoke { serial } => {
            ca.revoke(serial)?;
            Ok(writeln!(out, "revoked, in {}", ca.crl_file().display())?)
        }
    }
}

/// Needs no authority: whoever has one signs it.
fn request(dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let Requested { request, key } = DeviceCa::request()?;
    fs::create_dir_all(dir).with_context(|| format!("--out {}", dir.display()))?;
    put(&dir.join("csr.pem"), &request, 0o644)?;
    put(&dir.join("key.pem"), &key, 0o600)?;
    Ok(writeln!(out, "csr.pem and key.pem in {}", dir.display())?)
}

fn issued(ca: &DemoCa, issued: &Issued, dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("--out {}", dir.display()))?;
    for (name, text, mode) in [
        ("ca.pem", ca.certificate(), 0o644),
        ("cert.pem", issued.certificate.as_str(), 0o644),
        ("key.pem", issued.key.as_str(), 0o600),
    ] {
        put(&dir.join(name), text, mode)?;
    }
    Ok(writeln!(out, "ca.pem, cert.pem and key.pem in {}; serial {}", dir.display(), issued.serial)?)
}

/// Replaces a file as a whole: a node may be reading it.
fn put(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let unfinished = path.with_extension("tmp");
    let written = || {
        // one that was left behind may be readable by everybody
        if unfinished.exists() {
            fs::remove_file(&unfinished)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&unfinished, path)
    };
    written().with_context(|| path.display().to_string())
}
