//! Files of the web.

use super::{
    impatient, pace,
    server::{Server, Step, cut, head, header, whole},
};
use crate::{
    hexadecimal::hexadecimal,
    jobs::{kinds::Failure, work::Work},
    sources::{
        Fetched, Origin,
        http::Pace,
        trouble::Trouble,
        web::{Web, fetch},
    },
};
use sha2::{Digest, Sha256};
use std::{fs, time::Duration};
use tempfile::TempDir;

const ROWS: &[u8] = b"state,year\nTX,2020\nCA,2021\n";

fn web(url: String) -> Web {
    let allowed_hosts = vec!["127.0.0.1".to_owned()];
    Web { url, allowed_hosts, max_bytes: 1 << 20, max_time: Duration::from_secs(20), ..Web::default() }
}

/// The file's name, bytes and origin; or why there is none.
async fn bring(web: &Web, last: Option<&Origin>) -> Result<Option<(String, Vec<u8>, Origin)>, Trouble> {
    bring_at(&pace(), web, last).await
}

async fn bring_at(pace: &Pace, web: &Web, last: Option<&Origin>) -> Result<Option<(String, Vec<u8>, Origin)>, Trouble> {
    let dir = TempDir::new().unwrap();
    let fetched = fetch(web, ("s", last), dir.path(), pace, &Work::alone(true)).await?;
    let Fetched::Files(files, origin) = fetched else { return Ok(None) };
    assert_eq!((files.len(), fs::read_dir(dir.path()).unwrap().count()), (1, 1), "nothing else is left");
    let name = files[0].file_name().unwrap().to_str().unwrap().to_owned();
    Ok(Some((name, fs::read(&files[0]).unwrap(), origin)))
}

async fn bytes(web: &Web) -> Vec<u8> {
    bring(web, None).await.unwrap().unwrap().1
}

/// What it says, and whether it may go better next time.
async fn refusal(web: &Web) -> (String, bool) {
    refusal_at(&pace(), web).await
}

async fn refusal_at(pace: &Pace, web: &Web) -> (String, bool) {
    match bring_at(pace, web, None).await {
        Ok(_) => panic!("it was taken"),
        Err(Trouble::Again { text, .. }) => (text, true),
        Err(Trouble::Final(text)) => (text, false),
    }
}

#[tokio::test]
async fn a_file_comes_once_and_then_only_if_it_has_changed() {
    let server = Server::start(|_, asked| match header(asked, "if-none-match") {
        Some("\"v1\"") => vec![head("304 Not Modified", &[])],
        _ => whole("200 OK", &["ETag: \"v1\"", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"], ROWS),
    })
    .await;
    let web = web(server.url("/files/a.csv"));
    let (name, bytes, origin) = bring(&web, None).await.unwrap().unwrap();
    assert_eq!((name.as_str(), bytes.as_slice(), origin.etag.as_deref()), ("a.csv", ROWS, Some("\"v1\"")));
    assert_eq!(bring(&web, Some(&origin)).await.unwrap(), None);
    let asked = server.asked();
    assert_eq!(header(&asked[1], "if-modified-since"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert!(asked.iter().all(|asked| header(asked, "accept-encoding") == Some("identity")));
    assert!(header(&asked[0], "if-none-match").is_none());
    // what another address had says nothing of this one
    let moved = Web { url: server.url("/other/a.csv"), ..web };
    assert!(bring(&moved, Some(&origin)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_said() {
    for (status, text) in
        [("404 Not Found", "set its new address"), ("403 Forbidden", "403"), ("400 Bad Request", "400")]
    {
        let server = Server::start(move |_, _| whole(status, &[], b"no")).await;
        let (said, again) = refusal(&web(server.url("/a.csv"))).await;
        assert!(said.contains(text) && !again && server.asked().len() == 1, "{status}: {said}");
    }
    let server = Server::start(|n, _| match n {
        0 => whole("500 Internal Server Error", &[], b""),
        1 => whole("429 Too Many Requests", &["Retry-After: 0"], b""),
        _ => whole("200 OK", &[], ROWS),
    });
    assert_eq!(bytes(&web(server.await.url("/a.csv"))).await, ROWS);
    let server = Server::start(|_, _| whole("503 Service Unavailable", &[], b"")).await;
    let (said, again) = refusal(&web(server.url("/a.csv"))).await;
    assert!(said.contains("503") && again && server.asked().len() == 4, "{said}");
}

#[tokio::test]
async fn who_asks_for_a_long_pause_is_asked_again_by_the_jobs_next_attempt() {
    let server = Server::start(|_, _| whole("429 Too Many Requests", &["Retry-After: 3600"], b"")).await;
    let trouble = bring(&web(server.url("/a.csv")), None).await.unwrap_err();
    assert_eq!(server.asked().len(), 1, "not sooner, within this attempt");
    let later = |trouble: Trouble| match trouble.of("s") {
        Failure::Later { text, after } => (text, after.as_secs()),
        other => panic!("{other:?}"),
    };
    let text = "the source s: it answers 429 Too Many Requests, and asks for a pause of 3600 s";
    assert_eq!(later(trouble), (text.to_owned(), 3_600));
    let for_ever = Trouble::Again { text: "no".to_owned(), after: Some(Duration::MAX) };
    assert_eq!(later(for_ever).1, 86_400, "a day at most");
}

#[tokio::test]
async fn a_file_that_broke_off_goes_on_where_it_ended() {
    let server = Server::start(|n, asked| match (n, header(asked, "range")) {
        (0, None) => cut("200 OK", &["ETag: \"v1\""], ROWS, 10),
        (1, Some("bytes=10-")) => {
            cut("206 Partial Content", &["ETag: \"v1\"", "Content-Range: bytes 10-26/27"], &ROWS[10..], 7)
        }
        (2, Some("bytes=17-")) => whole("206 Partial Content", &["Content-Range: bytes 17-26/*"], &ROWS[17..]),
        other => panic!("{other:?}"),
    })
    .await;
    let sha256 = Sha256::digest(ROWS).iter().map(|byte| format!("{byte:02X}")).collect();
    let web = Web { sha256: Some(sha256), ..web(server.url("/a.csv")) };
    assert_eq!(bytes(&web).await, ROWS);
    assert_eq!(header(&server.asked()[1], "if-range"), Some("\"v1\""));
}

#[tokio::test]
async fn two_files_are_never_glued_together() {
    let other = b"state,year\nTX,1999\nCA,1998\n".as_slice();
    // it has changed: If-Range gives the whole
    let server = Server::start(move |n, _| match n {
        0 => cut("200 OK", &["ETag: \"v1\""], ROWS, 15),
        _ => whole("200 OK", &["ETag: \"v2\""], other),
    });
    assert_eq!(bytes(&web(server.await.url("/a.csv"))).await, other);
    // servers that give a part whatever it is of
    for part in [
        &["ETag: \"v2\"", "Content-Range: bytes 15-26/27"][..],
        &["ETag: \"v1\"", "Content-Range: bytes 14-26/27"],
        &["ETag: \"v1\"", "Content-Range: bytes 15-26/30"],
        &["ETag: \"v1\""],
        &["ETag: \"v1\"", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Range: bytes 15-26/27"],
    ] {
        let server = Server::start(move |n, asked| match (n, header(asked, "range")) {
            (0, None) => cut("200 OK", &["ETag: \"v1\""], ROWS, 15),
            (1, Some(_)) => whole("206 Partial Content", part, &other[15..]),
            (_, None) => whole("200 OK", &["ETag: \"v2\""], other),
            other => panic!("{other:?}"),
        });
        assert_eq!(bytes(&web(server.await.url("/a.csv"))).await, other, "{part:?}");
    }
    // nothing says that it is the same, or the server does not go on: from the beginning
    for etag in [&["ETag: W/\"v1\""][..], &["ETag: \"v1\""], &[]] {
        let server = Server::start(move |n, asked| {
            assert_eq!(header(asked, "range").is_some(), n == 1 && etag == ["ETag: \"v1\""]);
            if n == 0 { cut("200 OK", etag, other, 15) } else { whole("200 OK", etag, ROWS) }
        });
        assert_eq!(bytes(&web(server.await.url("/a.csv"))).await, ROWS, "{etag:?}");
    }
    let server = Server::start(|_, _| cut("200 OK", &["ETag: \"v1\""], ROWS, 5)).await;
    let (said, again) = refusal(&web(server.url("/a.csv"))).await;
    assert!(said.contains("broke off") && again && server.asked().len() == 4, "{said}");
}

#[tokio::test]
async fn redirects_are_followed_to_allowed_hosts_alone() {
    let server = Server::start(|_, asked| match asked.split(' ').nth(1).unwrap() {
        "/start.csv" => vec![head("302 Found", &["Location: /next"])],
        "/next" => vec![head("307 Temporary Redirect", &["Location: real/b.csv"])],
        "/real/b.csv" => whole("200 OK", &[], ROWS),
        "/loop" => vec![head("301 Moved Permanently", &["Location: /loop"])],
        "/evil" => vec![head("302 Found", &["Location: http://169.254.169.254/latest/meta-data"])],
        "/other" => vec![head("302 Found", &["Location: https://evil.example/a.csv"])],
        "/file" => vec![head("302 Found", &["Location: file:///etc/passwd"])],
        "/user" => vec![head("302 Found", &["Location: http://u:p@127.0.0.1/a.csv"])],
        _ => vec![head("302 Found", &[])],
    })
    .await;
    let (name, bytes, _) = bring(&web(server.url("/start.csv")), None).await.unwrap().unwrap();
    assert_eq!((name.as_str(), bytes.as_slice()), ("start.csv", ROWS));
    let n = server.asked().len();
    for (path, text) in [
        ("/loop", "more than 5 times"),
        ("/evil", "169.254.169.254 is an address of an inner network"),
        ("/other", "evil.example is not among its allowed_hosts"),
        ("/file", "no address of http"),
        ("/user", "no address of http"),
        ("/nowhere", "does not say where"),
    ] {
        let (said, again) = refusal(&web(server.url(path))).await;
        assert!(said.contains(text) && !again, "{path}: {said}");
    }
    assert_eq!(server.asked().len(), n + 6 + 5, "none is asked again");
}

#[tokio::test]
async fn a_name_that_leads_into_the_inner_network_is_refused_unless_that_is_meant() {
    let server = Server::start(|_, _| whole("200 OK", &[], ROWS)).await;
    let url = format!("http://localhost:{}/a.csv?token=hunter2", server.address.port());
    let named = Web { allowed_hosts: vec!["LOCALHOST".to_owned()], ..web(url) };
    let (said, again) = refusal(&named).await;
    assert!(said.contains("localhost leads to an address of an inner network") && !again, "{said}");
    assert!(server.asked().is_empty());
    assert_eq!(bytes(&Web { allow_private: true, ..named.clone() }).await, ROWS);
    drop(server);
    let (said, again) = refusal(&Web { allow_private: true, ..named }).await;
    assert!(said.contains("cannot be reached") && again && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn no_more_is_taken_than_may_be() {
    let few = |url| Web { max_bytes: 1_000, ..web(url) };
    let server = Server::start(|_, _| vec![head("200 OK", &["Content-Length: 1001"])]).await;
    let (said, again) = refusal(&few(server.url("/a.csv"))).await;
    assert!(said.contains("set max_mib") && !again && server.asked().len() == 1, "{said}");
    // one that never ends, and says nothing of its length
    let chunk = || Step::Send([b"64\r\n".as_slice(), &[b'x'; 100], b"\r\n"].concat());
    let server = Server::start(move |_, _| {
        std::iter::once(head("200 OK", &["Transfer-Encoding: chunked"])).chain((0..100_000).map(|_| chunk())).collect()
    });
    let (said, again) = refusal(&few(server.await.url("/a.csv"))).await;
    assert!(said.contains("set max_mib") && !again, "{said}");
    let server = Server::start(move |_, _| {
        vec![head("200 OK", &["Transfer-Encoding: chunked"]), chunk(), Step::Send(b"0\r\n\r\n".to_vec())]
    });
    assert_eq!(bytes(&few(server.await.url("/a.csv"))).await, [b'x'; 100]);
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_refused() {
    let server = Server::start(|_, _| whole("200 OK", &[], ROWS)).await;
    let summed = Web { sha256: Some("0".repeat(64)), ..web(server.url("/a.csv")) };
    let (said, again) = refusal(&summed).await;
    assert!(said.contains("the file has the SHA-256") && !again, "{said}");
    // compressed on the way: how large it becomes is not known
    let server = Server::start(|_, _| whole("200 OK", &["Content-Encoding: gzip"], ROWS)).await;
    let (said, again) = refusal(&web(server.url("/a.csv"))).await;
    assert!(said.contains("compressed") && !again, "{said}");
    assert_eq!(bytes(&web(server.url("/a.csv.gz"))).await, ROWS, "the file itself is packed");
    // nothing says whether that was the end
    let server = Server::start(|_, _| vec![head("200 OK", &[]), Step::Send(ROWS.to_vec())]).await;
    let (said, again) = refusal(&web(server.url("/a.csv"))).await;
    assert!(said.contains("how long") && !again, "{said}");
    assert_eq!(bytes(&web(server.url("/a.csv.zst"))).await, ROWS);
    let sum = hexadecimal(Sha256::digest(ROWS));
    assert_eq!(bytes(&Web { sha256: Some(sum), ..web(server.url("/a.csv")) }).await, ROWS);
}

#[tokio::test]
async fn nobody_is_waited_for_for_ever() {
    let silent = Server::start(|_, _| vec![Step::Wait(Duration::from_secs(60))]).await;
    let (said, again) = refusal_at(&impatient(), &web(silent.url("/a.csv"))).await;
    assert!(said.contains("does not answer") && again, "{said}");
    let stuck =
        Server::start(|_, _| vec![head("200 OK", &["Content-Length: 9"]), Step::Wait(Duration::from_secs(60))]).await;
    let (said, again) = refusal_at(&impatient(), &web(stuck.url("/a.csv"))).await;
    assert!(said.contains("broke off after 0 bytes (it takes too long)") && again, "{said}");
    // a byte now and then: never idle, and never done
    let drip = |_: usize, _: &str| {
        let bytes = (0..1_000).flat_map(|_| [Step::Send(b"x".to_vec()), Step::Wait(Duration::from_millis(50))]);
        std::iter::once(head("200 OK", &["Content-Length: 1000"])).chain(bytes).collect()
    };
    let server = Server::start(drip).await;
    let slow = Web { max_time: Duration::from_millis(600), ..web(server.url("/a.csv")) };
    let (said, again) = refusal(&slow).await;
    assert!(said.contains("takes longer than") && again, "{said}");
    let drip_head = |_: usize, _: &str| {
        let lines = (0..1_000)
            .flat_map(|n| [Step::Send(format!("X-{n}: y\r\n").into_bytes()), Step::Wait(Duration::from_millis(50))]);
        std::iter::once(Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec())).chain(lines).collect()
    };
    let (said, again) = refusal_at(&impatient(), &web(Server::start(drip_head).await.url("/a.csv"))).await;
    assert!(said.contains("does not answer") && again, "{said}");
}

#[tokio::test]
async fn the_publisher_names_the_file_but_not_its_folder() {
    let disposition = |name: &'static str| {
        move |_: usize, _: &str| whole("200 OK", &[&format!("Content-Disposition: attachment; filename={name}")], ROWS)
    };
    for (given, expected) in [("sites.2020.csv", "sites.2020.csv"), ("\"../../x.csv\"", "a.csv"), (".x.csv", "a.csv")] {
        let server = Server::start(disposition(given)).await;
        assert_eq!(bring(&web(server.url("/a.csv?x=1")), None).await.unwrap().unwrap().0, expected, "{given}");
    }
    let server = Server::start(|_, _| whole("200 OK", &[], ROWS)).await;
    let (said, again) = refusal(&web(server.url("/"))).await;
    assert!(said.contains("set file_name") && !again, "{said}");
    let named = Web { file_name: Some("a.csv".to_owned()), ..web(server.url("/")) };
    assert_eq!(bring(&named, None).await.unwrap().unwrap().0, "a.csv");
}
