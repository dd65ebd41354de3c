//! Files: answered as they are, with their media type, their name and an entity tag of their own.

use super::*;
use axum::http::Response;
use proto::google::api::HttpBody;
use std::io::Read;

const EXPORT: &str = "/v1/hospitals:export?format=csv";

/// A gateway over an rpc that answers with a file.
fn answering(content_type: &str, data: &[u8], bounds: &Bounds) -> Gateway {
    let body = HttpBody { content_type: content_type.to_owned(), data: data.to_vec().into(), extensions: vec![] };
    let message = body.encode_to_vec();
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let answer = move || {
        let frame = frame.clone();
        let headers = [
            ("content-type", "application/grpc"),
            ("grpc-status", "0"),
            ("content-disposition", "attachment; filename=\"hospitals.csv\""),
        ];
        async move { (headers, frame) }
    };
    Gateway::new(Routes::from(Router::new().fallback(answer)), bounds.clone(), Told::default()).unwrap()
}

async fn ask(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gateway.answer(request.body(Body::empty()).unwrap()).await
}

async fn bytes(answer: Response<Body>) -> Bytes {
    axum::body::to_bytes(answer.into_body(), 64 << 20).await.unwrap()
}

#[tokio::test]
async fn a_file_is_its_bytes_with_type_name_and_tag() {
    let bounds = Bounds::new(&LIMITS);
    let data = b"ccn,name\r\n010001,\xff\x00A\r\n";
    let gateway = answering("text/csv; charset=utf-8", data, &bounds);
    for path in [EXPORT, "/api/v1/export/hospitals?format=csv"] {
        let answer = ask(&gateway, "GET", path, &[]).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((answer.status().as_u16(), &*header("content-type")), (200, "text/csv; charset=utf-8"));
        assert_eq!(answer.headers().get_all("content-type").iter().count(), 1);
        assert_eq!(header("content-disposition"), "attachment; filename=\"hospitals.csv\"");
        assert_eq!((&*header("vary"), &*header("x-content-type-options")), ("accept-encoding", "nosniff"));
        let tag = header("etag");
        assert_eq!(bounds.answers.out(), data.len());
        assert_eq!(&bytes(answer).await[..], data);

        let head = ask(&gateway, "HEAD", path, &[]).await;
        assert_eq!(head.headers()["etag"], tag);
        assert_eq!(head.headers()["content-length"], data.len().to_string());
        assert!(bytes(head).await.is_empty());
        let same = ask(&gateway, "GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!(same.status().as_u16(), 304);
        assert_eq!(same.headers()["etag"], tag);
        let other = ask(&gateway, "GET", path, &[("if-match", "\"0\"")]).await;
        assert_eq!(other.status().as_u16(), 412);
    }
    let tag = |gateway: Gateway| async move { ask(&gateway, "GET", EXPORT, &[]).await.headers()["etag"].clone() };
    let other = answering("text/csv; charset=utf-8", b"ccn,name\r\n", &bounds);
    assert_ne!(tag(gateway).await, tag(other).await);
}

#[tokio::test]
async fn text_is_compressed_under_a_tag_of_its_own_and_what_is_packed_is_not() {
    let (bounds, text) = (Bounds::new(&LIMITS), "010001,SOUTHEAST HEALTH\r\n".repeat(10_000));
    let gateway = answering("text/csv; charset=utf-8", text.as_bytes(), &bounds);
    let packed = ask(&gateway, "GET", EXPORT, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let tag = packed.headers()["etag"].clone();
    let plain = ask(&gateway, "GET", EXPORT, &[]).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    assert_ne!(plain.headers()["etag"], tag, "each form has its own");
    let again =
        ask(&gateway, "GET", EXPORT, &[("accept-encoding", "gzip"), ("if-none-match", tag.to_str().unwrap())]).await;
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag));
    let (mut back, packed) = (String::new(), bytes(packed).await);
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut back).unwrap();
    assert!(back == text && packed.len() * 10 < text.len(), "{}", packed.len());

    let gateway = answering("application/vnd.apache.parquet", text.as_bytes(), &bounds);
    let parquet = ask(&gateway, "GET", EXPORT, &[("accept-encoding", "gzip")]).await;
    assert!(!parquet.headers().contains_key("content-encoding"));
    assert_eq!(bytes(parquet).await, text.as_bytes());
}

#[test]
fn the_document_says_of_which_types_a_file_is() {
    let document: Json = serde_json::from_str(&openapi::document().unwrap()).unwrap();
    for path in ["/v1/hospitals:export", "/api/v1/export/hospitals"] {
        let answer = &document["paths"][path]["get"]["responses"]["200"];
        let mut kinds: Vec<_> = answer["content"].as_object().unwrap().keys().map(String::as_str).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["application/json", "application/vnd.apache.parquet", "text/csv"]);
        assert!(answer["headers"]["Content-Disposition"].is_object() && answer["headers"]["ETag"].is_object());
    }
    assert!(document["components"]["schemas"].get("HttpBody").is_none(), "its fields are nobody's over HTTP");
}
