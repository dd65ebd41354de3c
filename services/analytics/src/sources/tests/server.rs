//! A server that answers each request as a test says, byte for byte, and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

/// What is sent, one after the other; then the connection ends.
pub(super) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
}

pub(super) type Script = dyn Fn(usize, &str) -> Vec<Step> + Send + Sync;

/// A server on loopback.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Answers the request of each number, from 0, by its head.
    pub(super) async fn start(script: impl Fn(usize, &str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (script, remembered): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&script), Arc::clone(&remembered)));
            }
        });
        Self { address, asked, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of the requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads one request's head, and does what the script says.
pub(super) async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let n = {
        let mut asked = asked.lock().unwrap();
        asked.push(head.clone());
        asked.len() - 1
    };
    for step in script(n, &head) {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
            }
            Step::Wait(time) => tokio::time::sleep(time).await,
        }
    }
    let _ = stream.shutdown().await;
}

/// Status, headers and body, with its length.
pub(super) fn whole(status: &str, headers: &[&str], body: &[u8]) -> Vec<Step> {
    cut(status, headers, body, body.len())
}

/// The same, but the connection ends after so many bytes of the body.
pub(super) fn cut(status: &str, headers: &[&str], body: &[u8], after: usize) -> Vec<Step> {
    let length = format!("Content-Length: {}", body.len());
    let mut headers = headers.to_vec();
    headers.push(&length);
    vec![head(status, &headers), Step::Send(body[..after].to_vec())]
}

/// Status and headers.
pub(super) fn head(status: &str, headers: &[&str]) -> Step {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    Step::Send(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").into_bytes())
}

/// The value of a header of a request.
pub(super) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
