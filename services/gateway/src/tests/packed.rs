//! Answers compressed, within the same bounds.

use super::*;
use axum::http::Response;
use proto::registry::v1::CreateUserResponse;

/// A gateway over an rpc that answers with a person of so many bytes, or with a list of such a person.
fn answering(message: Vec<u8>, bounds: &Bounds) -> Gateway {
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let answer = move || {
        let frame = frame.clone();
        async move { ([("content-type", "application/grpc"), ("grpc-status", "0")], frame) }
    };
    Gateway::new(Routes::from(Router::new().fallback(answer)), bounds.clone(), Told::default()).unwrap()
}

fn user(n_bytes: usize) -> User {
    let person = Person { name: Some("n".repeat(n_bytes)), birth_date: None };
    User { person: Some(person), etag: "7".into(), ..User::default() }
}

fn list(n_bytes: usize) -> Vec<u8> {
    ListUsersResponse { users: vec![user(n_bytes)], ..Default::default() }.encode_to_vec()
}

async fn get(gateway: &Gateway, path: &str) -> Response<Body> {
    let request = Request::get(path).header("accept-encoding", "br, gzip").body(Body::empty()).unwrap();
    gateway.answer(request).await
}

async fn bytes(answer: Response<Body>) -> Bytes {
    axum::body::to_bytes(answer.into_body(), 64 << 20).await.unwrap()
}

fn unpacked(bytes: &[u8]) -> Json {
    serde_json::from_reader(flate2::read::GzDecoder::new(bytes)).unwrap()
}

#[tokio::test]
async fn a_list_is_compressed_and_counts_as_what_is_sent() {
    for n_bytes in [10 << 10, 3 << 20] {
        let bounds = Bounds::new(&LIMITS);
        let answer = get(&answering(list(n_bytes), &bounds), "/v1/users").await;
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert_eq!(answer.headers()["vary"], "accept-encoding");
        let held = bounds.answers.out();
        assert!(held < n_bytes / 10, "{held} of {n_bytes}");
        let packed = bytes(answer).await;
        assert_eq!(packed.len(), held);
        assert_eq!(unpacked(&packed)["users"][0]["person"]["name"].as_str().unwrap().len(), n_bytes);
        drop(packed);
        assert_eq!(bounds.answers.out(), 0);
    }
}

#[tokio::test]
async fn what_is_small_is_sent_as_it_is_and_what_has_an_entity_tag_under_one_of_the_same_version() {
    let bounds = Bounds::new(&LIMITS);
    let small = get(&answering(list(10), &bounds), "/v1/users").await;
    assert!(!small.headers().contains_key("content-encoding"));
    let one = GetUserResponse { user: Some(user(10 << 10)) }.encode_to_vec();
    let gateway = answering(one, &bounds);
    let one = get(&gateway, "/v1/users/u").await;
    assert_eq!([&one.headers()["content-encoding"], &one.headers()["etag"]], ["gzip", "\"7-gzip\""]);
    assert_eq!(unpacked(&bytes(one).await)["etag"], "7");
    // who has one of the two forms is told that it is the newest, and which headers decide
    for held in ["\"7-gzip\"", "W/\"7-gzip\"", "\"7\""] {
        for name in ["if-none-match", "if-match"] {
            let request = Request::get("/v1/users/u").header("accept-encoding", "gzip").header(name, held);
            let answer = gateway.answer(request.body(Body::empty()).unwrap()).await;
            let status = match (name, held.starts_with('W')) {
                ("if-none-match", _) => 304,
                (_, true) => 412,
                (_, false) => 200,
            };
            assert_eq!((answer.status().as_u16(), answer.headers()["vary"] == "accept-encoding"), (status, true));
            let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
            assert!(status != 304 || tag.as_deref() == Some(held.trim_start_matches("W/")), "{held}: {tag:?}");
        }
    }
}

#[tokio::test]
async fn what_is_made_is_compressed_unless_it_is_a_secret_and_so_is_a_problem() {
    let bounds = Bounds::new(&LIMITS);
    let post = async |path: &str, message: Vec<u8>| {
        let request = Request::post(path).header("accept-encoding", "gzip").body(Body::empty()).unwrap();
        let answer = answering(message, &bounds).answer(request).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("content-encoding"), header("vary"))
    };
    let made = CreateUserResponse { user: Some(user(10 << 10)) }.encode_to_vec();
    let both = (Some("gzip".to_owned()), Some("accept-encoding".to_owned()));
    assert_eq!(post("/v1/users", made).await, both);
    let device = Device { name: Some("n".repeat(10 << 10)), ..Device::default() };
    let made = CreateDeviceResponse { device: Some(device), claim_code: "c".into() }.encode_to_vec();
    assert_eq!(post("/v1/devices", made).await, (None, None), "its length tells nothing of the code");

    let reading = async |body: Body| {
        let read = axum::body::to_bytes(body, 1 << 20).await.is_ok();
        ([("content-type", "application/grpc"), ("grpc-status", if read { "5" } else { "13" })], "")
    };
    let gateway = over(Routes::from(Router::new().fallback(reading)));
    let wrong: String = (0..20).map(|n| format!("unknown_{n}=1&")).collect();
    let problem = get(&gateway, &format!("/v1/users?{wrong}")).await;
    assert_eq!([&problem.headers()["content-encoding"], &problem.headers()["vary"]], ["gzip", "accept-encoding"]);
    assert_eq!(unpacked(&bytes(problem).await)["reason"], "INVALID_REQUEST");
    let small = get(&gateway, "/v1/none").await;
    assert!(!small.headers().contains_key("content-encoding") && small.headers()["vary"] == "accept-encoding");
}

#[tokio::test]
async fn the_document_is_compressed_once() {
    let gateway = over(Routes::default());
    let answer = get(&gateway, "/v1/openapi.json").await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let etag = answer.headers()["etag"].clone();
    assert_eq!(unpacked(&bytes(answer).await)["openapi"], "3.1.0");
    let plain = gateway.answer(Request::get("/v1/openapi.json").body(Body::empty()).unwrap()).await;
    assert_ne!(plain.headers()["etag"], etag, "each form has its own");
}

#[tokio::test]
async fn an_answer_is_counted_until_it_is_taken() {
    let person = Person { name: Some("n".repeat(100 << 10)), birth_date: None };
    let message = GetUserResponse { user: Some(User { person: Some(person), ..User::default() }) }.encode_to_vec();
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let answering = move || {
        let frame = frame.clone();
        async move { ([("content-type", "application/grpc"), ("grpc-status", "0")], frame) }
    };
    let bounds = Bounds::new(&LIMITS);
    let gateway =
        Gateway::new(Routes::from(Router::new().fallback(answering)), bounds.clone(), Told::default()).unwrap();
    let answer = gateway.answer(Request::get("/v1/users/u").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert!(bounds.answers.out() > 100 << 10, "{}", bounds.answers.out());
    assert!(axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().len() > 100 << 10);
    assert_eq!(bounds.answers.out(), 0);
}
