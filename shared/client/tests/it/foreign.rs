//! What answers does not speak gRPC: another port of a node, a page, a proxy that stands before nodes.

use crate::fake::serve;
use proto::telemetry::v1::ClockQuality;
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};
use uuid::Uuid;
use wardline_client::{
    Error, Queue, QueuedSender, Remote, Sender, Stream, Writer,
    queue::{MAX_BYTES_LEAST, Options, WhenFull},
    token,
};

/// Answers every call of a device with this: status, content type and body.
#[derive(Clone)]
struct Page {
    answer: (u16, &'static str, &'static str),
    n_calls: Arc<AtomicU64>,
}

impl Page {
    fn new(answer: (u16, &'static str, &'static str)) -> Self {
        Self { answer, n_calls: Arc::default() }
    }
}

impl NamedService for Page {
    const NAME: &'static str = "wardline.telemetry.v1.IngestService";
}

impl Service<http::Request<Body>> for Page {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        let (status, kind, body) = self.answer;
        let mut response = http::Response::builder().status(status);
        if !kind.is_empty() {
            response = response.header("content-type", kind);
        }
        ready(Ok(response.body(Body::new(body.to_owned())).unwrap()))
    }
}

fn stream() -> Stream {
    Stream { device: Uuid::nil(), stream: Uuid::nil(), resume_after: 0, clock: ClockQuality::Synchronized }
}

#[tokio::test]
async fn what_does_not_speak_grpc_is_said_at_once_and_what_passes_is_tried_again() {
    let (json, html) = ("application/problem+json", "text/html");
    // how often it is asked: once, once more with a new token, or as long as there is patience
    for (answer, n_calls) in [
        ((415, json, "{\"status\": 415}"), Some(1)),
        ((404, json, "{\"status\": 404}"), Some(1)),
        ((404, "", ""), Some(1)),
        ((200, html, "<html>welcome</html>"), Some(1)),
        ((401, html, "<html>who are you?</html>"), Some(2)),
        ((429, html, "<html>too many</html>"), None),
        ((502, html, "<html>bad gateway</html>"), None),
        ((503, "", ""), None),
        ((504, html, "<html>too late</html>"), None),
    ] {
        let page = Page::new(answer);
        let uri = format!("http://{}", serve(page.clone()).await);
        let writer = Writer::new(Remote::from(&uri).connection().unwrap(), token("t"), stream());
        let error = writer.last_stream(Duration::from_millis(300)).await.err().unwrap();
        let n = page.n_calls.load(Ordering::Relaxed);
        match n_calls {
            Some(n_calls) => {
                assert!(
                    matches!(error, Error::NotGrpc { status, .. } if status == Some(answer.0)),
                    "{answer:?}: {error}"
                );
                let text = error.to_string();
                assert!(text.contains(&uri) && text.contains("server.grpc_listen"), "{text}");
                assert_eq!(n, n_calls, "{answer:?}");
            }
            None => assert!(n > 1 && matches!(error, Error::Unreachable { .. }), "{answer:?}: {n} {error}"),
        }
    }
}

#[tokio::test]
async fn what_does_not_speak_http2_is_said_after_a_few_attempts() {
    for words in
        ["HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n", "SSH-2.0-OpenSSH_9.9\r\n", "220 mail ESMTP\r\n"]
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let n_connected = Arc::new(AtomicU64::new(0));
        let counted = n_connected.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let _ = stream.write_all(words.as_bytes()).await;
                    // as long as the other side is there
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
            }
        });
        let writer = Writer::new(Remote::from(&uri).connection().unwrap(), token("t"), stream());
        let error = writer.last_stream(Duration::from_secs(600)).await.err().unwrap();
        assert!(matches!(error, Error::NotGrpc { status: None, .. }), "{words:?}: {error}");
        assert!(error.to_string().contains(&uri), "{error}");
        // a connection that was damaged is not given up at once
        assert_eq!(n_connected.load(Ordering::Relaxed), 3, "{words:?}");
    }
}

#[tokio::test]
async fn a_sender_is_told_so_and_a_queue_waits_for_a_node() {
    let uri = format!("http://{}", serve(Page::new((415, "application/problem+json", "{}"))).await);
    let connection = Remote::from(&uri).connection().unwrap();
    let error = Sender::open(connection.clone(), token("t"), stream()).await.err().unwrap();
    assert!(matches!(error, Error::NotGrpc { .. }), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: MAX_BYTES_LEAST, when_full: WhenFull::Refuse };
    let queue = Queue::open(dir.path(), Uuid::from_bytes([7; 16]), options).unwrap();
    let session = QueuedSender::open(connection, token("t"), queue, ClockQuality::Synchronized);
    let told = async {
        loop {
            match session.status().trouble {
                Some(trouble) => return trouble,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let trouble = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    assert!(matches!(trouble, Error::NotGrpc { .. }), "{trouble}");
    let ended = tokio::time::timeout(Duration::from_millis(200), session.ended()).await;
    assert!(ended.is_err(), "it goes on: {ended:?}");
}
