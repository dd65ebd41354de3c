//! The JSON API keeps to HTTP: conditional requests, HEAD and OPTIONS, pages of other origins, what is created and where.

use anyhow::Context;
use auth::demo_person;
use model::UserId;
use node::services;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::{
    Bed, Sandbox,
    http::{self, Answer},
};
use uuid::Uuid;

const NURSE: &str = "/v1/roles/nurse";

/// One of the demo's people who asks.
struct Client {
    sandbox: Sandbox,
    token: String,
}

impl Client {
    async fn new(flags: &[&str]) -> anyhow::Result<Self> {
        let sandbox = Sandbox::with(1, flags, &[services::REGISTRY, services::QUERY]).await?;
        let user = demo_person("administrator").context("no such role")?;
        let token = format!("Bearer {}", sandbox.issuer()?.user_token(user)?);
        Ok(Self { sandbox, token })
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<Answer> {
        let own = [("authorization", &*self.token), ("content-type", "application/json")];
        let own = &own[..if body.is_empty() { 1 } else { 2 }];
        http::ask(self.sandbox.api()?, method, path, &[own, headers].concat(), body).await
    }

    /// Creates what has a path of its own, and reads it there, as a user of the registry.
    async fn create_and_read(&self, user: Uuid, path: &str, body: &Value) -> anyhow::Result<()> {
        let token = format!("Bearer {}", self.sandbox.issuer()?.user_token(UserId::new(user))?);
        let headers = [("authorization", &*token), ("content-type", "application/json")];
        let made = http::ask(self.sandbox.api()?, "POST", path, &headers, &body.to_string()).await?;
        let location = made.header("location").with_context(|| made.body.clone())?;
        assert!(made.status == 201 && location.starts_with(&format!("{path}/")), "{} {location}", made.status);
        let read = http::ask(self.sandbox.api()?, "GET", location, &headers[..1], "").await?;
        assert_eq!((read.status, read.json()?, read.header("etag")), (200, made.json()?, made.header("etag")));
        Ok(())
    }

    async fn create(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask("POST", path, &[], &body.to_string()).await
    }
}

fn reason(answer: &Answer) -> anyhow::Result<(u16, Value)> {
    Ok((answer.status, answer.json()?["reason"].clone()))
}

#[tokio::test]
async fn an_update_takes_place_when_one_of_the_listed_versions_is_there() -> anyhow::Result<()> {
    let client = Client::new(&["quotas.writes_a_second=0"]).await?;
    let read = client.ask("GET", NURSE, &[], "").await?;
    let etag = read.header("etag").context("no etag")?.to_owned();
    let change = |condition: String| {
        let client = &client;
        async move { client.ask("PATCH", NURSE, &[("if-match", &condition)], r#"{"category": "carer"}"#).await }
    };
    for listed in [format!("W/{etag}"), "\"999\"".to_owned(), "\"998\", W/\"1\" ,\"999\"".to_owned()] {
        assert_eq!(reason(&change(listed.clone()).await?)?, (412, json!("ETAG_MISMATCH")), "{listed}");
    }
    let listed = change(format!("\"998\", W/{etag}, {etag}")).await?;
    assert_eq!((listed.status, &listed.json()?["category"]), (200, &json!("carer")), "{}", listed.body);
    assert_ne!(listed.header("etag"), Some(&*etag));
    for wrong in ["998", "\"998\" \"999\"", "\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\""] {
        let answer = change(wrong.to_owned()).await?;
        assert_eq!((answer.status, &answer.json()?["violations"][0]["field"]), (400, &json!("If-Match")), "{wrong}");
    }
    // a tag never stands for whatever is there, wherever it is listed
    for (whatever, n) in ["\"\"", "\"*\"", "\"-gzip\"", "\"*-gzip\""].into_iter().zip(1..) {
        for listed in [whatever.to_owned(), format!("\"998\", {whatever}"), format!("{whatever}, \"998\"")] {
            assert_eq!(reason(&change(listed.clone()).await?)?, (412, json!("ETAG_MISMATCH")), "{listed}");
        }
        let etag = client.ask("GET", NURSE, &[], "").await?.header("etag").context("no etag")?.to_owned();
        let body = format!(r#"{{"category": "carer {n}"}}"#);
        let listed = format!(", {whatever}, {etag}");
        assert_eq!(client.ask("PATCH", NURSE, &[("if-match", &listed)], &body).await?.status, 200, "{listed}");
    }
    // whatever is there, when it is there
    assert_eq!(change("*".to_owned()).await?.status, 200);
    let none = client.ask("PATCH", "/v1/roles/none", &[("if-match", "*")], r#"{"category": "x"}"#).await?;
    assert_eq!(reason(&none)?, (404, json!("NOT_FOUND")));
    // nobody learns by it what they may not see
    let stranger = http::ask(client.sandbox.api()?, "PATCH", NURSE, &[("if-match", "W/\"1\"")], "{}").await?;
    assert_eq!(stranger.status, 401);
    Ok(())
}

#[tokio::test]
async fn what_the_caller_has_already_is_not_sent_again() -> anyhow::Result<()> {
    let client = Client::new(&[]).await?;
    let read = client.ask("GET", NURSE, &[], "").await?;
    let etag = read.header("etag").context("no etag")?;
    for held in [etag.to_owned(), format!("\"1x\", W/{etag}"), "*".to_owned()] {
        let answer = client.ask("GET", NURSE, &[("if-none-match", &held)], "").await?;
        assert_eq!((answer.status, &*answer.body, answer.header("etag")), (304, "", Some(etag)), "{held}");
        assert_eq!(answer.header("vary"), read.header("vary"), "as the answer that it stands for");
    }
    // what has no entity tag is there, too
    for (held, status) in [("*", 304), ("\"1x\"", 200)] {
        let list = client.ask("GET", "/v1/roles", &[("if-none-match", held)], "").await?;
        assert_eq!((list.status, list.body.is_empty(), list.header("etag")), (status, status == 304, None), "{held}");
    }
    let none = client.ask("GET", "/v1/roles/none", &[("if-none-match", "*")], "").await?;
    assert_eq!(none.status, 404);
    let other = client.ask("GET", NURSE, &[("if-none-match", "\"1x\"")], "").await?;
    assert_eq!((other.status, other.json()?), (200, read.json()?));
    let wrong = client.ask("GET", NURSE, &[("if-none-match", "7")], "").await?;
    assert_eq!((wrong.status, &wrong.json()?["violations"][0]["field"]), (400, &json!("If-None-Match")));
    // a change cannot go by it, but what is created is new anyway
    let change = client.ask("PATCH", NURSE, &[("if-none-match", "*")], r#"{"category": "x"}"#).await?;
    assert_eq!((change.status, &change.json()?["violations"][0]["field"]), (400, &json!("If-None-Match")));
    let user = json!({"person": {"name": "A"}}).to_string();
    assert_eq!(client.ask("POST", "/v1/users", &[("if-none-match", "*")], &user).await?.status, 201);

    let document = client.ask("GET", "/v1/openapi.json", &[], "").await?;
    let etag = document.header("etag").context("no etag")?;
    let again = client.ask("GET", "/v1/openapi.json", &[("if-none-match", etag)], "").await?;
    assert_eq!((again.status, &*again.body), (304, ""));
    Ok(())
}

#[tokio::test]
async fn what_is_read_is_answered_when_it_is_one_of_the_listed_versions() -> anyhow::Result<()> {
    let client = Client::new(&[]).await?;
    let document = client.ask("GET", "/v1/openapi.json", &[], "").await?;
    for path in [NURSE, "/v1/openapi.json"] {
        let read = client.ask("GET", path, &[], "").await?;
        let etag = read.header("etag").context("no etag")?;
        for listed in [etag.to_owned(), format!("\"1x\", {etag}"), "*".to_owned()] {
            let answer = client.ask("GET", path, &[("if-match", &listed)], "").await?;
            assert_eq!((answer.status, answer.body == read.body), (200, true), "{path} {listed}");
            let head = client.ask("HEAD", path, &[("if-match", &listed)], "").await?;
            assert_eq!((head.status, head.header("etag")), (200, Some(etag)), "{path} {listed}");
        }
        for listed in ["\"1x\"".to_owned(), format!("W/{etag}")] {
            let answer = client.ask("GET", path, &[("if-match", &listed)], "").await?;
            assert_eq!(reason(&answer)?, (412, json!("ETAG_MISMATCH")), "{path} {listed}");
            let head = client.ask("HEAD", path, &[("if-match", &listed)], "").await?;
            assert_eq!((head.status, &*head.body), (412, ""), "{path} {listed}");
        }
        // first whether it is the version that is meant, then whether the caller has it
        let both = client.ask("GET", path, &[("if-match", etag), ("if-none-match", etag)], "").await?;
        assert_eq!((both.status, &*both.body), (304, ""), "{path}");
        let other = client.ask("GET", path, &[("if-match", "\"1x\""), ("if-none-match", etag)], "").await?;
        assert_eq!(other.status, 412, "{path}");
        let wrong = client.ask("GET", path, &[("if-match", "7")], "").await?;
        assert_eq!((wrong.status, &wrong.json()?["violations"][0]["field"]), (400, &json!("If-Match")), "{path}");
    }
    assert!(document.json()?["paths"]["/v1/roles/{role_id}"]["get"]["responses"]["412"].is_object());
    // a list has no entity tag, and what is not there has none either
    for (path, listed, status) in
        [("/v1/roles", "*", 200), ("/v1/roles", "\"1\"", 412), ("/v1/roles/none", "\"1\"", 404)]
    {
        assert_eq!(client.ask("GET", path, &[("if-match", listed)], "").await?.status, status, "{path} {listed}");
    }
    Ok(())
}

#[tokio::test]
async fn each_get_has_its_head_and_each_path_says_what_it_takes() -> anyhow::Result<()> {
    let client = Client::new(&[]).await?;
    let accesses = format!("/v1/patients/{}/accesses", Bed::numbered(0).patient.uuid());
    for path in [NURSE, "/v1/roles", "/v1/openapi.json", "/v1/roles/none", "/v1/nothing", &accesses] {
        let (get, head) = (client.ask("GET", path, &[], "").await?, client.ask("HEAD", path, &[], "").await?);
        assert_eq!((head.status, &*head.body), (get.status, ""), "{path}");
        // each request has an id of its own, also in a problem
        let same = |(name, _): &&(String, String)| name != "x-request-id";
        let sorted = |answer: &Answer| answer.headers.iter().filter(same).cloned().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&head), sorted(&get), "{path}");
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()), "{path}");
    }
    let nobody = http::ask(client.sandbox.api()?, "HEAD", NURSE, &[], "").await?;
    assert_eq!((nobody.status, &*nobody.body), (401, ""));
    let web = ("content-type", "application/grpc-web");
    for (path, allowed) in [
        ("/v1/users/x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/v1/openapi.json", "GET, HEAD, OPTIONS"),
        ("/v1/devices/x:claim", "OPTIONS, POST"),
    ] {
        let answer = http::ask(client.sandbox.api()?, "OPTIONS", path, &[], "").await?;
        assert_eq!((answer.status, answer.header("allow"), &*answer.body), (204, Some(allowed), ""), "{path}");
        // whatever it says of a body that it does not have
        let of_pages = http::ask(client.sandbox.api()?, "OPTIONS", path, &[web], "").await?;
        assert_eq!((of_pages.status, of_pages.header("allow")), (204, Some(allowed)), "{path}");
        assert!(answer.header("access-control-allow-methods").is_none());
    }
    assert_eq!(http::ask(client.sandbox.api()?, "OPTIONS", "/v1/nothing", &[], "").await?.status, 404);
    assert_eq!(client.ask("GET", NURSE, &[web], "").await?.status, 200);
    let put = client.ask("PUT", NURSE, &[web], "").await?;
    assert_eq!((put.status, put.header("allow")), (405, Some("DELETE, GET, HEAD, OPTIONS, PATCH")));
    Ok(())
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_named_may_call_and_no_other() -> anyhow::Result<()> {
    let client =
        Client::new(&["server.api_origins=[\"https://console.example.org\", \"http://localhost:3000\"]"]).await?;
    let wants = [("access-control-request-method", "PATCH"), ("access-control-request-headers", "authorization")];
    for (origin, is_named) in [("http://localhost:3000", true), ("https://example.org", false), ("null", false)] {
        let asking = [[("origin", origin)].as_slice(), &wants].concat();
        let preflight = http::ask(client.sandbox.api()?, "OPTIONS", NURSE, &asking, "").await?;
        let named = is_named.then_some(origin);
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, named));
        let methods = preflight.header("access-control-allow-methods");
        assert_eq!(methods, is_named.then_some("DELETE, GET, HEAD, OPTIONS, PATCH"));
        let headers = preflight.header("access-control-allow-headers").unwrap_or_default();
        assert_eq!(headers.contains("authorization") && headers.contains("if-match"), is_named);
        // the answer, and what is wrong with it, can be read by the page
        for (path, status) in [(NURSE, 200), ("/v1/roles/none", 404)] {
            let answer = client.ask("GET", path, &[("origin", origin)], "").await?;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, named));
            let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
            let names = ["etag", "retry-after", "content-disposition"];
            assert_eq!(names.map(|name| exposed.contains(name)), [is_named; 3]);
            assert!(answer.headers.iter().any(|(name, value)| name == "vary" && value == "origin"));
        }
    }
    let off = Client::new(&[]).await?;
    let answer = off.ask("GET", NURSE, &[("origin", "http://localhost:3000")], "").await?;
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{:?}", answer.headers);
    assert!(Sandbox::with(0, &["server.api_origins=[\"*\"]"], &[services::QUERY]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn what_is_created_has_a_place_and_what_stands_against_it_is_a_conflict() -> anyhow::Result<()> {
    let client = Client::new(&["quotas.writes_a_second=0"]).await?;
    let id = Uuid::new_v4().to_string();
    let user = json!({"user_id": id, "person": {"name": "A"}});
    let created = client.create("/v1/users", &user).await?;
    let location = created.header("location").context("no location")?;
    assert_eq!((created.status, location), (201, &*format!("/v1/users/{id}")));
    assert_eq!(client.ask("GET", location, &[], "").await?.json()?["user_id"], json!(id));
    assert_eq!(reason(&client.create("/v1/users", &user).await?)?, (409, json!("EXISTS")));

    let device = client.create("/v1/devices", &json!({"name": "d", "mac": "00:00:5e:00:53:01"})).await?;
    let location = device.header("location").context("no location")?;
    assert_eq!(device.status, 201, "{}", device.body);
    assert_eq!(client.ask("GET", location, &[], "").await?.json()?["device_id"], device.json()?["device"]["device_id"]);
    let taken = client.create("/v1/devices", &json!({"name": "e", "mac": "00:00:5e:00:53:01"})).await?;
    assert_eq!(reason(&taken)?, (409, json!("MAC_TAKEN")));

    let grant = client.create("/v1/grants", &json!({"user_id": id, "role_id": "nurse"})).await?;
    let location = grant.header("location").context("no location")?;
    assert_eq!(
        (grant.status, location),
        (201, &*format!("/v1/grants/{}", grant.json()?["grant_id"].as_str().unwrap_or("none")))
    );
    let read = client.ask("GET", location, &[], "").await?;
    assert_eq!((read.status, read.json()?), (200, grant.json()?));
    let etag = grant.header("etag").context("no etag")?;
    for other in ["\"0\"", "\"0\", \"\"", "\"\", \"0\"", "\"0\", \"*\"", "\"*-gzip\", \"0\"", "\"0\", \"-gzip\""] {
        let refused = client.ask("DELETE", location, &[("if-match", other)], "").await?;
        assert_eq!(reason(&refused)?, (412, json!("ETAG_MISMATCH")), "{other}");
    }
    let listed = format!("\"\", {etag}");
    assert_eq!(client.ask("DELETE", location, &[("if-match", &listed)], "").await?.status, 200);
    assert_eq!(client.ask("DELETE", location, &[("if-match", "*")], "").await?.status, 404);
    // what cannot be done as things are, and could be done otherwise
    let role = client
        .create("/v1/roles", &json!({"role_id": "aide", "category": "x", "permissions": ["readings.read"]}))
        .await?;
    let etag = role.header("etag").with_context(|| role.body.clone())?;
    let held = client.create("/v1/grants", &json!({"user_id": id, "role_id": "aide"})).await?;
    assert_eq!((role.status, held.status), (201, 201), "{} {}", role.body, held.body);
    let refused = client.ask("DELETE", "/v1/roles/aide", &[("if-match", etag)], "").await?;
    assert_eq!(reason(&refused)?, (409, json!("ROLE_IN_USE")));
    assert_eq!(refused.header("retry-after"), None, "the same request will not do");
    Ok(())
}

#[tokio::test]
async fn what_ties_people_and_devices_to_a_patient_is_read_where_its_location_says() -> anyhow::Result<()> {
    let client = Client::new(&["quotas.writes_a_second=0"]).await?;
    let admin = demo_person("administrator").context("no such role")?.uuid();
    let [nurse, person, patient] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (carer, cared) = (json!({"name": "N"}), json!({"name": "P"}));
    client.create_and_read(admin, "/v1/users", &json!({"user_id": nurse, "person": carer})).await?;
    client.create("/v1/users", &json!({"user_id": person, "patient_id": patient, "person": cared})).await?;
    for (user, role) in [(nurse, "nurse"), (person, "patient")] {
        client.create_and_read(admin, "/v1/grants", &json!({"user_id": user, "role_id": role})).await?;
    }
    let relation = json!({"user_id": nurse, "kind": "care-team", "patient_id": patient});
    client.create_and_read(admin, "/v1/relations", &relation).await?;
    let other =
        client.create("/v1/relations", &json!({"user_id": person, "kind": "care-team", "patient_id": patient})).await?;
    let end = format!("{}:end", other.header("location").with_context(|| other.body.clone())?);
    for wrong in ["\"0\", \"\"", "\"\", \"0\"", "\"0\", \"*\"", "\"-gzip\", \"0\""] {
        let refused = client.ask("POST", &end, &[("if-match", wrong)], "{}").await?;
        assert_eq!(reason(&refused)?, (412, json!("ETAG_MISMATCH")), "{wrong}");
    }
    assert_eq!(client.ask("POST", &end, &[("if-match", "*")], "{}").await?.status, 200);
    let consents = format!("/v1/patients/{patient}/consents");
    client.create_and_read(person, &consents, &json!({"bars": "anyone", "purpose": "HRESCH"})).await?;
    let device = client.create("/v1/devices", &json!({"name": "d"})).await?.json()?["device"]["device_id"].clone();
    let assignment = json!({"device_id": device, "patient_id": patient});
    client.create_and_read(nurse, "/v1/assignments", &assignment).await
}
