//! Tokens of a real identity provider: Keycloak with the realm of `deploy/engines/keycloak/ward-realm.json`, started by the
//! engines' script and ended with the test. The node is in this process, on embedded engines.

use crate::ALONE;
use anyhow::Context;
use proto::telemetry::v1::ReadTimelineRequest;
use serde_json::{Value, json};
use std::path::PathBuf;
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse},
    http,
    line::Problem,
    torture::binary,
    wait::until,
    with_token,
};
use tokio::process::Command;
use tonic::Code;

/// Where the script puts it, above the CQL server's port: without TLS, for the tests, and with it, as issuers must be asked.
const PORTS_ABOVE_CQL: [u16; 2] = [20, 21];
/// In the realm: a person, and a program's account.
const ADA: &str = "0191c3c8-7a00-4000-8000-00000000d0c1";
const INTEGRATION: &str = "0191c3c8-7a00-4000-8000-00000000d0c2";

/// Keycloak, ended with the test.
struct Keycloak {
    address: String,
    issuer: String,
}

async fn engines(command: &str) -> anyhow::Result<()> {
    let done = Command::new(script()).args([command, "keycloak"]).output().await?;
    anyhow::ensure!(done.status.success(), "engines {command} keycloak: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn script() -> PathBuf {
    binary::workspace().join("deploy/engines/engines")
}

impl Keycloak {
    async fn start() -> anyhow::Result<Self> {
        engines("start").await?;
        let cql = std::env::var("WARDLINE_CQL").unwrap_or_else(|_| "127.0.0.1:19042".to_owned());
        let port: u16 = cql.rsplit_once(':').context("WARDLINE_CQL")?.1.parse()?;
        let [address, secure] = PORTS_ABOVE_CQL.map(|above| format!("127.0.0.1:{}", port + above));
        Ok(Self { address, issuer: format!("https://{secure}/realms/ward") })
    }

    /// A node that believes it, when it trusts the authority of its certificate.
    async fn node(&self, trust: bool) -> anyhow::Result<Sandbox> {
        let data = std::env::var("WARDLINE_ENGINES_DATA").map(PathBuf::from);
        let data = data.unwrap_or_else(|_| binary::workspace().join("deploy/engines/target/data"));
        let ca_file = if trust { format!(", ca_file = \"{}/tls/ca.pem\"", data.display()) } else { String::new() };
        let issuer = format!(
            "auth.issuers=[{{name = \"{}\", audience = \"wardline\", algorithm = \"RS256\", discovery = true, nbf = \"optional\"{ca_file}}}]",
            self.issuer
        );
        Sandbox::with(1, &["auth.demo=on", &issuer], &node::services::ALL).await
    }

    /// An access token of a realm.
    async fn token(&self, realm: &str, form: &str) -> anyhow::Result<String> {
        let path = format!("/realms/{realm}/protocol/openid-connect/token");
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let (status, answer) = http::post(&self.address, &path, &kind, form).await?;
        anyhow::ensure!(status == 200, "{path}: {status}");
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["access_token"].as_str().context("an access token")?.to_owned())
    }

    async fn ada(&self, client: &str) -> anyhow::Result<String> {
        let form = format!("grant_type=password&client_id={client}&username=ada&password=ada-password");
        self.token("ward", &form).await
    }

    async fn integration(&self) -> anyhow::Result<String> {
        let form = "grant_type=client_credentials&client_id=integration&client_secret=integration-secret";
        self.token("ward", form).await
    }

    /// From now on a new key signs the realm's tokens.
    async fn rotate(&self) -> anyhow::Result<()> {
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin-password";
        let admin = format!("Bearer {}", self.token("master", form).await?);
        // later than any before: the highest number signs
        let priority = (guard::clock::now().0 / model::Nanos::SECOND).to_string();
        let key = json!({
            "name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": [priority], "algorithm": ["RS256"], "keySize": ["2048"]},
        });
        let headers = [("content-type", "application/json"), ("authorization", admin.as_str())];
        let (status, _) =
            http::post(&self.address, "/admin/realms/ward/components", &headers, &key.to_string()).await?;
        anyhow::ensure!(status == 201, "the key was not taken: {status}");
        Ok(())
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        // it may have been ended already
        let _ = std::process::Command::new(script()).args(["kill", "keycloak"]).output();
    }
}

async fn read(sandbox: &Sandbox, token: &str) -> anyhow::Result<Result<usize, (Code, String)>> {
    let request: ReadTimelineRequest = everything(&Bed::numbered(0));
    let answer = sandbox.timeline().await?.read_timeline(with_token(request, token)?).await;
    Ok(answer.map(|page| page.into_inner().readings.len()).map_err(|status| {
        let problem = Problem::of(&status);
        (problem.code, problem.reason)
    }))
}

#[tokio::test]
#[ignore = "needs Keycloak"]
async fn keycloaks_tokens_are_believed_through_a_change_of_keys_and_its_end() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let keycloak = Keycloak::start().await?;
    let sandbox = keycloak.node(true).await?;
    let patient = Bed::numbered(0).patient.uuid();
    let person = |id: &str| {
        format!(
            "[[user]]\nid = \"{id}\"\nname = \"x\"\nroles = [\"doctor\"]\n\
             [[care_team]]\nuser = \"{id}\"\npatient = \"{patient}\"\n"
        )
    };
    sandbox.write_directory("keycloak", &format!("{}{}", person(ADA), person(INTEGRATION)))?;
    sandbox.write(&Bed::numbered(0), 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&Bed::numbered(0), 1).await?;

    let old = keycloak.ada("console").await?;
    let known = until("the directory", async || read(&sandbox, &old).await, |answer| *answer == Ok(1)).await?;
    assert_eq!(known, Ok(1));
    assert_eq!(read(&sandbox, &keycloak.integration().await?).await?, Ok(1), "a program's account");
    let invalid = Err((Code::Unauthenticated, "INVALID_TOKEN".to_owned()));
    assert_eq!(read(&sandbox, &keycloak.ada("elsewhere").await?).await?, invalid, "for another audience");
    assert_eq!(read(&sandbox, &keycloak.ada("plain").await?).await?, invalid, "typ JWT");

    let unavailable = Err((Code::Unavailable, "ISSUER_UNAVAILABLE".to_owned()));
    assert_eq!(
        read(&keycloak.node(false).await?, &old).await?,
        unavailable,
        "its certificate is nobody's that is known"
    );

    keycloak.rotate().await?;
    let head = |token: &String| token.split('.').next().map(str::to_owned);
    let new = until("another key signs", async || keycloak.ada("console").await, |new| head(new) != head(&old)).await?;
    assert_eq!(read(&sandbox, &new).await?, Ok(1), "at its first use");
    assert_eq!(read(&sandbox, &old).await?, Ok(1), "signed before the change");

    engines("kill").await?;
    for token in [&old, &new] {
        assert_eq!(read(&sandbox, token).await?, Ok(1), "a known key needs nobody");
    }
    Ok(())
}
