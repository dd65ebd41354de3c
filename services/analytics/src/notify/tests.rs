//! What tells, against a receiver and a mail server of the tests' own.

mod servers;

use super::{Channels, Encryption, Mail, MailSettings, Message, NAME, Notifier, Watcher, Webhook};
use crate::{
    hexadecimal::hexadecimal,
    jobs::{
        board::Board,
        job::{Job, State},
        kinds::Kinds,
        orders::Orders,
        step::{Notify, RunOf, Step, Submission},
        task::Task,
        worker::{Settings, Worker},
    },
    pipelines::run_id,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use servers::{Received, mail_server, receiver};
use std::{sync::Arc, time::Duration};
use store::Histories;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &[u8] = b"0123456789abcdef";

struct Bench {
    _dir: TempDir,
    store: Arc<store::embedded::Store>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path()).unwrap());
        Self { _dir: dir, store }
    }

    fn orders(&self, channels: &Channels) -> Orders {
        let board = Board::new(Arc::clone(&self.store) as Arc<dyn Histories>, guard::clock::now);
        let notifier = Notifier { board: board.clone(), channels: channels.clone() };
        Orders { kinds: Kinds::new([Arc::new(Task) as _, Arc::new(notifier) as _]), board, pause_seconds: 0 }
    }

    /// A process that watches, and one that does what is submitted.
    fn start(&self, channels: &Channels) -> (Orders, CancellationToken) {
        let (orders, stop) = (self.orders(channels), CancellationToken::new());
        let settings = Settings { at_once: 2, lease: Duration::from_secs(5), follow_every: Duration::from_millis(20) };
        tokio::spawn(Worker::new(orders.board.clone(), orders.kinds.clone(), settings).run(stop.clone()));
        tokio::spawn(Watcher::new(orders.clone(), channels.names()).run(stop.clone()));
        (orders, stop)
    }
}

fn webhook(url: &str) -> Channels {
    let webhook = Webhook::new(url, Some(SECRET), guard::clock::now).unwrap();
    Channels { webhook: Some(Arc::new(webhook)), mail: None }
}

/// A job that has ended so, and was to be told of.
async fn ended(orders: &Orders, notify: Notify, error: Option<&str>) -> Job {
    let given = [("n".to_owned(), "424242".to_owned())].into();
    // an hour from now: no worker begins it before this does
    let at = guard::clock::now().0 + 3_600_000_000_000;
    let submission = Submission { notify, at, ..orders.of("task", &given, "user:a").unwrap() };
    let job = orders.board.submit(submission, None).await.unwrap();
    let started = Step::Started { at: 1_000_000_000, worker: Uuid::new_v4() };
    let job = orders.board.put(&job, started).await.unwrap().unwrap();
    let (at, log) = (2_000_000_000, vec![]);
    let last = match error {
        Some(error) => Step::Failed { at, error: error.to_owned(), run: None, log, again_at: None },
        None => Step::Succeeded { at, result: json!(424_243), run: Default::default(), log },
    };
    orders.board.put(&job, last).await.unwrap().unwrap()
}

async fn told(board: &Board, n: usize) -> Vec<Job> {
    let waiting = async {
        loop {
            board.follow().await.unwrap();
            let is_told =
                |job: &Job| (job.submission.kind == NAME && job.state == State::Succeeded).then(|| job.clone());
            let told = board.select(is_told);
            if told.len() >= n {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match timeout(PATIENCE, waiting).await {
        Ok(told) => told,
        Err(_) => panic!("there are {:?}", board.select(|job| Some(job.clone()))),
    }
}

async fn next(received: &mut Received) -> (Vec<(String, String)>, String) {
    timeout(PATIENCE, received.recv()).await.unwrap().unwrap()
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_signed_until_it_takes_it_and_of_no_parameters() {
    let bench = Bench::new();
    let (url, mut received) = receiver(vec![503, 302, 200]).await;
    let (orders, stop) = bench.start(&webhook(&url));
    let job = ended(&orders, Notify::Failure, Some("the file\nis damaged")).await;
    let told = told(&orders.board, 1).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let (headers, body) = next(&mut received).await;
        let at = header(&headers, "wardline-timestamp");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
        let tag = aws_lc_rs::hmac::sign(&key, format!("{at}.{body}").as_bytes());
        assert_eq!(header(&headers, "wardline-signature"), format!("sha256={}", hexadecimal(tag)));
        assert_eq!(header(&headers, "wardline-event"), format!("{}/{}", job.id, job.number));
        assert_eq!(header(&headers, "content-type"), "application/json");
        bodies.push(body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0] && !body.contains("424242")), "{bodies:?}");
    let body: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(
        (&body["kind"], &body["state"], &body["error"]),
        (&json!("task"), &json!("failed"), &json!("the file is damaged"))
    );
    assert_eq!(
        (&body["start_time"], &body["end_time"]),
        (&json!("1970-01-01T00:00:01Z"), &json!("1970-01-01T00:00:02Z"))
    );
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((told.attempt, told.submission.notify, told.submission.max_attempts), (3, Notify::Never, 10));
    assert!(told.submission.pause_doubles && told.submission.submitter == "system:notify");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_is_told_once_by_whoever_watches_and_only_to_those_who_want_it() {
    let bench = Bench::new();
    let (url, mut received) = receiver(vec![]).await;
    let channels = webhook(&url);
    // nobody watches yet: the process that did was killed
    let orders = bench.orders(&channels);
    ended(&orders, Notify::Never, Some("x")).await;
    ended(&orders, Notify::Failure, None).await;
    let failed = ended(&orders, Notify::Failure, Some("x")).await;
    let done = ended(&orders, Notify::Always, None).await;
    let stops: Vec<_> = (0..3).map(|_| bench.start(&channels).1).collect();
    told(&orders.board, 2).await;
    // again where it failed, and failed again
    let step = Step::Retried { at: 3, by: "user:a".to_owned() };
    let queued = loop {
        let job = orders.board.get(failed.id).await.unwrap().unwrap();
        if let Some(job) = orders.board.put(&job, step.clone()).await.unwrap() {
            break job;
        }
    };
    let step = Step::Cancelled { at: 4, by: "user:a".to_owned() };
    let mut job = queued;
    let cancelled = loop {
        // a worker may have begun it
        match orders.board.put(&job, step.clone()).await.unwrap() {
            Some(job) => break job,
            None => job = orders.board.get(job.id).await.unwrap().unwrap(),
        }
    };
    told(&orders.board, 3).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(header(&next(&mut received).await.0, "wardline-event").to_owned());
    }
    ids.sort();
    let mut expected = [&failed, &done, &cancelled].map(|job| format!("{}/{}", job.id, job.number));
    expected.sort();
    assert_eq!(ids, expected);
    // one that starts later tells nothing again
    let (orders, stop) = bench.start(&channels);
    orders.board.follow().await.unwrap();
    let mut watcher = Watcher::new(orders.clone(), channels.names());
    watcher.tell().await.unwrap();
    let all = orders.board.select(|job| (job.submission.kind == NAME).then_some(()));
    assert_eq!(all.len(), 3);
    stops.iter().chain([&stop]).for_each(CancellationToken::cancel);
}

#[tokio::test]
async fn mail_goes_to_all_with_its_login_and_what_a_server_refuses_is_said() {
    let (port, mut received) = mail_server().await;
    let settings = |to: &[&str], password: &str| MailSettings {
        host: "127.0.0.1".to_owned(),
        port,
        encryption: Encryption::None,
        from: "Wardline <wardline@example.org>".to_owned(),
        to: to.iter().map(|&text| text.to_owned()).collect(),
        login: Some(("teller".to_owned(), password.to_owned())),
    };
    let bench = Bench::new();
    let orders = bench.orders(&Channels::default());
    let message = Message::of_job(&ended(&orders, Notify::Always, Some("it is damaged")).await);
    let mail = Mail::new(settings(&["a@example.org", "b@example.org"], "s3cret")).unwrap();
    mail.send(&message).await.unwrap();
    let (said, text) = next(&mut received).await;
    let login = BASE64_STANDARD.encode("\0teller\0s3cret");
    let words: Vec<_> = said.iter().map(|(_, line)| line.as_str()).collect();
    assert!(words.contains(&format!("AUTH PLAIN {login}").as_str()), "{words:?}");
    for recipient in ["RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>"] {
        assert!(words.contains(&recipient), "{words:?}");
    }
    assert!(text.contains("Subject: Wardline: job task") && text.contains("state: failed"), "{text}");
    assert!(text.contains("error: it is damaged") && !text.contains("424242"), "{text}");
    assert!(text.contains(&format!("Message-ID: <{}@example.org>", message.id.replace('/', "."))), "{text}");
    let refused = Mail::new(settings(&["a@example.org"], "wrong")).unwrap().send(&message).await.unwrap_err();
    assert!(refused.contains("535") && !refused.contains("wrong"), "{refused}");
}

/// A server that offers no encryption gets neither mail nor a password where it is asked for.
#[tokio::test]
async fn nothing_is_said_in_the_clear_where_encryption_is_asked_for() {
    let (port, mut received) = mail_server().await;
    let settings = MailSettings {
        host: "127.0.0.1".to_owned(),
        port,
        encryption: Encryption::StartTls,
        from: "wardline@example.org".to_owned(),
        to: vec!["a@example.org".to_owned()],
        login: Some(("teller".to_owned(), "s3cret".to_owned())),
    };
    let message = Message::read(json!({ "type": "job", "id": "x/1", "kind": "task", "state": "failed" }));
    Mail::new(settings).unwrap().send(&message).await.unwrap_err();
    let (said, text) = next(&mut received).await;
    assert!(said.iter().all(|(_, line)| !line.starts_with("AUTH") && !line.starts_with("MAIL")), "{said:?}");
    assert_eq!(text, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_told_of_as_a_whole_when_all_of_it_has_ended() {
    let bench = Bench::new();
    let (url, mut received) = receiver(vec![]).await;
    let (orders, stop) = bench.start(&webhook(&url));
    let run = |step: &str| {
        let (pipeline, date) = ("daily".to_owned(), "2027-03-14".to_owned());
        Some(RunOf { run_id: run_id(&pipeline, &date), pipeline, step: step.to_owned(), date })
    };
    let plain =
        |step: &str| Submission { run: run(step), ..orders.of("task", &Default::default(), "pipeline:daily").unwrap() };
    let collect = orders.board.submit(plain("collect"), None).await.unwrap();
    let check = orders.board.submit(Submission { depends_on: vec![collect.id], ..plain("check") }, None).await.unwrap();
    let tells = |when: &str| {
        let run_id = run_id("daily", "2027-03-14").to_string();
        let given = [("by", "webhook"), ("run", &run_id), ("when", when)];
        let given = given.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let notify = orders.of(NAME, &given, "pipeline:daily").unwrap();
        Submission { run: run("notify"), after: vec![collect.id, check.id], ..notify }
    };
    let always = orders.board.submit(tells("always"), None).await.unwrap();
    orders.board.submit(tells("failure"), None).await.unwrap();
    // it ends before it is begun, or while it runs
    let mut job = collect.clone();
    loop {
        let step = Step::Cancelled { at: orders.board.now(), by: "user:a".to_owned() };
        match orders.board.put(&job, step).await.unwrap() {
            Some(_) => break,
            None => job = orders.board.get(job.id).await.unwrap().unwrap(),
        }
    }
    told(&orders.board, 2).await;
    for _ in 0..2 {
        let body: Value = serde_json::from_str(&next(&mut received).await.1).unwrap();
        assert_eq!(
            (&body["type"], &body["state"], &body["date"]),
            (&json!("pipeline_run"), &json!("failed"), &json!("2027-03-14"))
        );
        let steps: Vec<_> =
            body["steps"].as_array().unwrap().iter().map(|step| (&step["step"], &step["state"])).collect();
        assert_eq!(steps, [(&json!("collect"), &json!("cancelled")), (&json!("check"), &json!("failed"))]);
    }
    let always = orders.board.get(always.id).await.unwrap().unwrap();
    let check = orders.board.get(check.id).await.unwrap().unwrap();
    assert!(always.started_at >= check.ended_at && check.ended_at.is_some());
    stop.cancel();
}
