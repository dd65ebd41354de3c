//! A file of a publisher, by its address: asked whether it has changed, resumed where it broke off, checked, and bounded in bytes,
//! time, redirects and tries.

use super::{
    address::{self, Refused},
    held::{Held, text},
    http::{self, Pace},
    name,
    origin::{Fetched, Origin},
    trouble::{Trouble, within},
};
use crate::{datasets::Input, hexadecimal::hexadecimal, jobs::work::Work};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{
        ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
    },
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{fs, time};

/// Most redirects that are followed.
const REDIRECTS: usize = 5;

/// A file of the web.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Web {
    /// Its address: http or https.
    pub url: String,
    /// Hosts that may be asked, that of the address and those to which it leads.
    pub allowed_hosts: Vec<String>,
    /// Whether names may lead to addresses of an inner network.
    pub allow_private: bool,
    /// What the file is called; `None`: as the publisher or the address says.
    pub file_name: Option<String>,
    /// Its SHA-256, in hexadecimal digits, if it must be that.
    pub sha256: Option<String>,
    /// PEM file of authorities that are believed beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Most bytes of the file: a larger one is refused.
    pub max_bytes: u64,
    /// How long an attempt may take.
    pub max_time: Duration,
}

struct Download<'a> {
    web: &'a Web,
    url: Url,
    /// What it was last time.
    last: Option<&'a Origin>,
    pace: &'a Pace,
    client: Client,
    work: &'a Work,
}

/// Brings the file to a folder.
pub(super) async fn fetch(
    web: &Web,
    (source, last): (&str, Option<&Origin>),
    to: &Path,
    pace: &Pace,
    work: &Work,
) -> Result<Fetched, Trouble> {
    let url: Url = web.url.parse().map_err(|_| Trouble::Final(Refused::Address.to_string()))?;
    let client = http::client(web.ca_file.as_deref(), web.allow_private, pace).map_err(Trouble::Final)?;
    let mut origin = Origin::new(source, &web.url);
    let last = last.filter(|last| last.is_of(&origin));
    let download = Download { web, url, last, pace, client, work };
    let part = to.join(".part");
    let bringing = async {
        let mut held = Held::new(&part).await.map_err(Trouble::unwritten)?;
        let name = download.whole(&mut held).await?;
        (origin.etag, origin.last_modified) = (held.etag.clone(), held.last_modified.clone());
        let Some(name) = name else { return Ok(Fetched::Unchanged) };
        let sha256 = hexadecimal(held.finish().await.map_err(Trouble::unwritten)?);
        if web.sha256.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&sha256)) {
            let text = format!("the file has the SHA-256 {sha256}: find out why, then set it as sha256 or take it out");
            return Err(Trouble::Final(text));
        }
        let path = to.join(name);
        fs::rename(&part, &path).await.map_err(Trouble::unwritten)?;
        Ok(Fetched::Files(vec![path], origin))
    };
    within(web.max_time, bringing).await
}

impl Download<'_> {
    /// Asks until the file is here; returns its name, or nothing if it has not changed.
    async fn whole(&self, held: &mut Held) -> Result<Option<String>, Trouble> {
        let mut n_tries = 0;
        loop {
            match self.once(held).await {
                Err(Trouble::Again { text, after }) if n_tries < self.pace.tries && self.pace.waits_for(after) => {
                    let wait = self.pace.wait(n_tries, after);
                    self.work.say(format!("{text}; again after {:.0} s", wait.as_secs_f64().ceil()));
                    n_tries += 1;
                    time::sleep(wait).await;
                }
                ended => return ended,
            }
        }
    }

    async fn once(&self, held: &mut Held) -> Result<Option<String>, Trouble> {
        let answer = self.ask(held).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED if held.bytes == 0 && self.last.is_some() => return Ok(None),
            StatusCode::OK => {
                if held.bytes > 0 {
                    self.work.say("it cannot go on, or it has changed: from the beginning");
                }
                held.begin(&answer).await.map_err(Trouble::unwritten)?;
            }
            StatusCode::PARTIAL_CONTENT if held.bytes > 0 && held.goes_on(&answer) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if held.bytes > 0 => {
                held.forget().await.map_err(Trouble::unwritten)?;
                return Err(Trouble::changed());
            }
            other => return Err(unfit(other, answer.headers())),
        }
        let name = self.name(&answer)?;
        self.fits(held, &answer, &name)?;
        self.take(held, answer).await?;
        Ok(Some(name))
    }

    /// Follows redirects to where the file is, each checked.
    async fn ask(&self, held: &Held) -> Result<Response, Trouble> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS {
            let refused = |refused: Refused| Trouble::Final(refused.to_string());
            address::check(&url, &self.web.allowed_hosts, self.web.allow_private).map_err(refused)?;
            let asking = self.client.get(url.clone()).headers(self.headers(held)).send();
            let answer =
                time::timeout(self.pace.idle, asking).await.map_err(|_| Trouble::again("it does not answer"))?;
            let answer = answer.map_err(|error| self.unreached(&error))?;
            if ![301, 302, 303, 307, 308].contains(&answer.status().as_u16()) {
                return Ok(answer);
            }
            let next = text(answer.headers(), LOCATION).and_then(|to| url.join(&to).ok());
            let next = next.ok_or_else(|| Trouble::Final("it leads on, and does not say where".to_owned()))?;
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(refused(Refused::Downgrade));
            }
            self.work.say(format!("it leads on to {}", address::shown(&next)));
            url = next;
        }
        Err(Trouble::Final(format!("it leads on more than {REDIRECTS} times: set its address as it is now")))
    }

    /// What is asked for: the rest, or the file if it has changed, or the file; never compressed on the way.
    fn headers(&self, held: &Held) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            // what it was told cannot be sent back: it is asked for the file as it is
            let _ = HeaderValue::from_str(value).map(|value| headers.insert(name, value));
        };
        set(ACCEPT_ENCODING, "identity");
        match (&held.validator, self.last) {
            (Some(validator), _) if held.bytes > 0 => {
                set(RANGE, &format!("bytes={}-", held.bytes));
                set(IF_RANGE, validator);
            }
            (_, Some(last)) if held.bytes == 0 => {
                last.etag.iter().for_each(|etag| set(IF_NONE_MATCH, etag));
                last.last_modified.iter().for_each(|time| set(IF_MODIFIED_SINCE, time));
            }
            _ => {}
        }
        headers
    }

    fn name(&self, answer: &Response) -> Result<String, Trouble> {
        let disposition = text(answer.headers(), CONTENT_DISPOSITION);
        let name = name::of(self.web.file_name.as_deref(), disposition.as_deref(), &self.url, answer.url());
        name.ok_or_else(|| Trouble::Final("nobody says what the file is called: set file_name".to_owned()))
    }

    /// Checks what is said of the file before it comes.
    fn fits(&self, held: &Held, answer: &Response, name: &str) -> Result<(), Trouble> {
        let encoding = text(answer.headers(), CONTENT_ENCODING).unwrap_or_default().to_ascii_lowercase();
        // a packed file, of which some servers say so in this way
        let is_packed = name.to_ascii_lowercase().ends_with(".gz") && ["gzip", "x-gzip"].contains(&encoding.as_str());
        if !(["", "identity"].contains(&encoding.as_str()) || is_packed) {
            let text = "it is sent compressed although that was not asked for: set the address of a packed file";
            return Err(Trouble::Final(text.to_owned()));
        }
        if held.total.is_some_and(|total| total > self.web.max_bytes) {
            return Err(self.too_large());
        }
        if !held.has_end && self.web.sha256.is_none() && !Input::has_end(name) {
            let text = "it does not say how long the file is: set sha256, or the address of a packed file";
            return Err(Trouble::Final(text.to_owned()));
        }
        Ok(())
    }

    async fn take(&self, held: &mut Held, mut answer: Response) -> Result<(), Trouble> {
        loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    let (cause, bytes) = (http::cause(&error), held.bytes);
                    return Err(Trouble::again(format!("it broke off after {bytes} bytes ({cause})")));
                }
            };
            if held.bytes + chunk.len() as u64 > self.web.max_bytes {
                return Err(self.too_large());
            }
            held.add(&chunk).await.map_err(Trouble::unwritten)?;
            self.work.progress("downloading", held.bytes, held.total.unwrap_or_default(), "bytes");
        }
        match held.total {
            Some(total) if total != held.bytes => {
                Err(Trouble::again(format!("it ended after {} of {total} bytes", held.bytes)))
            }
            _ => Ok(()),
        }
    }

    fn too_large(&self) -> Trouble {
        Trouble::Final(format!("the file is larger than {} MiB: set max_mib", self.web.max_bytes >> 20))
    }

    fn unreached(&self, error: &reqwest::Error) -> Trouble {
        match http::refused(error) {
            Some(refused) => Trouble::Final(refused.to_string()),
            None if error.is_timeout() && !error.is_connect() => Trouble::again("it does not answer"),
            None => Trouble::again(format!("it cannot be reached ({})", http::cause(error))),
        }
    }
}

/// An answer that is no file.
fn unfit(status: StatusCode, headers: &HeaderMap) -> Trouble {
    let may_pass = status.is_server_error() || [408, 425, 429].contains(&status.as_u16());
    if may_pass && status != StatusCode::NOT_IMPLEMENTED {
        let after = text(headers, RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        return Trouble::Again { text: format!("it answers {status}"), after };
    }
    let what = match status.as_u16() {
        401 | 403 => "it does not give the file to everybody",
        404 | 410 => "there is no such file: set its new address",
        _ => "that is no file",
    };
    Trouble::Final(format!("it answers {status}: {what}"))
}
