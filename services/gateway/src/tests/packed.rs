//! Answers compressed, within the same bounds.

use super::*;
use axum::http::Response;

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
async fn what_is_small_or_has_an_entity_tag_is_sent_as_it_is() {
    let bounds = Bounds::new(&LIMITS);
    let small = get(&answering(list(10), &bounds), "/v1/users").await;
    assert!(!small.headers().contains_key("content-encoding"));
    let one = GetUserResponse { user: Some(user(10 << 10)) }.encode_to_vec();
    let one = get(&answering(one, &bounds), "/v1/users/u").await;
    // the tag is that of the JSON: an update names it
    assert_eq!((one.headers().get("content-encoding"), &one.headers()["etag"]), (None, &"\"7\"".parse().unwrap()));
    assert!(bytes(one).await.len() > 10 << 10);
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
