//! Signed by the right key, and one claim is wrong.

use super::{
    Case,
    rig::{AUDIENCE, ID, ISSUER, Rig, changed, claims, now, without},
};
use crate::token::Rejected;
use serde_json::{Value, json};

pub fn cases(rig: &Rig) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["iss", "aud", "sub", "exp", "nbf"] {
        cases.push(Case::invalid(format!("no {name}"), rig.with_claims(&without(claims(), name))));
        for odd in [Value::Null, json!({}), json!(true), json!(""), json!([])] {
            cases.push(Case::invalid(format!("{name} {odd}"), rig.with_claims(&changed(name, odd))));
        }
    }
    for (name, value) in who().into_iter().chain(times()).chain(subjects()).chain(others()) {
        cases.push(Case::invalid(format!("{name} {value}"), rig.with_claims(&changed(name, value))));
    }
    for (what, exp) in [("a minute ago", now() - 60), ("beyond the leeway", now() - 32), ("in 1970", 0)] {
        cases.push(Case::expired(format!("exp {what}"), rig.with_claims(&changed("exp", json!(exp)))));
        let a_little_more = changed("exp", json!(exp as f64 + 0.25));
        cases.push(Case::expired(format!("exp {what} and a quarter"), rig.with_claims(&a_little_more)));
    }
    for (name, value) in restrictions() {
        let token = rig.with_claims(&changed(name, value.clone()));
        cases.push(Case { what: format!("{name} {value}"), token, expected: Rejected::UnknownRestriction });
    }
    cases.extend(texts().into_iter().map(|(what, text)| Case::invalid(what, rig.signed(rig.head().to_string(), text))));
    cases
}

fn who() -> Vec<(&'static str, Value)> {
    vec![
        ("iss", json!("https://other.test")),
        ("iss", json!([ISSUER])),
        ("iss", json!(["https://other.test", ISSUER])),
        ("iss", json!(123)),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", json!(format!(" {ISSUER}"))),
        ("iss", json!(format!("{ISSUER}\0"))),
        ("iss", json!("HTTPS://ISSUER.TEST")),
        ("iss", json!({"name": ISSUER})),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", json!(["other", "more"])),
        ("aud", json!("WARDLINE")),
        ("aud", json!("wardline ")),
        ("aud", json!("wardline other")),
        ("aud", json!("ward")),
        ("aud", json!(7)),
        ("aud", json!([AUDIENCE, 7])),
        ("aud", json!([AUDIENCE, null])),
        ("aud", json!([[AUDIENCE]])),
        ("aud", json!({AUDIENCE: true})),
    ]
}

fn times() -> Vec<(&'static str, Value)> {
    vec![
        ("exp", json!("never")),
        ("exp", json!((now() + 300).to_string())),
        ("exp", json!(1e300)),
        ("exp", json!(-1)),
        ("exp", json!(-1.5)),
        ("exp", json!(i64::MIN)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        // after the last nanosecond that is counted, in 2262
        ("exp", json!(9_300_000_000_u64)),
        ("exp", json!([now() + 300])),
        ("exp", json!({"at": now() + 300})),
        ("nbf", json!(now() + 120)),
        ("nbf", json!("soon")),
        ("nbf", json!((now() - 1).to_string())),
        ("nbf", json!(now() as f64 + 120.5)),
        ("nbf", json!(-0.5)),
        ("nbf", json!(-1)),
        ("nbf", json!(1e300)),
        ("nbf", json!(i64::MAX)),
        ("nbf", json!(u64::MAX)),
        ("nbf", json!([now() - 1])),
        ("iat", json!(now() + 120)),
        ("iat", json!(i64::MAX)),
        ("iat", json!(u64::MAX)),
        ("iat", json!((now() - 1).to_string())),
        ("iat", json!(now() as f64 + 120.5)),
        ("iat", json!(-1)),
        ("iat", json!(-1.5)),
        ("iat", json!(1e300)),
        ("iat", Value::Null),
        ("iat", json!({})),
    ]
}

fn subjects() -> Vec<(&'static str, Value)> {
    let digits = ID.replace('-', "");
    let texts = [
        ID.to_owned(),
        format!("admin:{ID}"),
        format!("patient:{ID}"),
        format!("USER:{ID}"),
        format!("User:{ID}"),
        format!("DEVICE:{ID}"),
        format!("users:{ID}"),
        format!(":{ID}"),
        format!("{ID}:device"),
        format!("user:device:{ID}"),
        format!("device:{ID}:x"),
        format!("device:{ID},user:{ID}"),
        format!("device: {ID}"),
        format!(" device:{ID}"),
        format!("device:{ID} "),
        format!("device:{ID}\n"),
        format!("device:{ID}\0"),
        format!("device\0:{ID}"),
        format!("device:{{{ID}}}"),
        format!("device:urn:uuid:{ID}"),
        format!("device:{digits}"),
        format!("device:{digits}0000"),
        format!("device:{}", &ID[1..]),
        format!("device:{}", ID.replace('-', "_")),
        format!("device:{}", ID.replace('0', "０")),
        format!("device:{}", "g".repeat(36)),
        // its second letter is Cyrillic
        format!("d\u{0435}vice:{ID}"),
        "device".to_owned(),
        "device:".to_owned(),
        "device:bed 7".to_owned(),
        "user:".to_owned(),
        ":".to_owned(),
        "user:' OR '1'='1".to_owned(),
    ];
    let odd = [json!(["device", ID]), json!([format!("device:{ID}")]), json!({"device": ID}), json!(7)];
    texts.into_iter().map(Value::from).chain(odd).map(|value| ("sub", value)).collect()
}

fn others() -> Vec<(&'static str, Value)> {
    let types = [json!("ID"), json!("Refresh"), json!("Logout"), json!("bearer"), json!(7), Value::Null];
    types.map(|value| ("typ", value)).to_vec()
}

/// What restricts in a way that is not understood. Each of them would leave everything if it were passed over.
fn restrictions() -> Vec<(&'static str, Value)> {
    let read = "wardline/readings.read";
    let texts = [
        "Wardline/readings.read",
        "WARDLINE/READINGS.READ",
        "openid Wardline/readings.read",
        "wardline:readings.read",
        "wardline.readings.read",
        "Readings.Read",
        "openid\twardline/readings.read",
        "openid\nwardline/readings.read",
        "openid\u{a0}wardline/readings.read",
        "\"wardline/readings.read\"",
        "openid\\wardline/readings.read",
        "wardline／readings.read",
    ];
    // and no space between them, in quotes, as a pattern, with other signs, of an address, or nothing that is there
    let unlike = [
        "readings.read,audit.read",
        "openid,users.manage",
        "users.manage;",
        "'users.manage'",
        "users.manage+readings.write",
        "users.*",
        "'users.*'",
        "readings.*",
        "users.foo",
        "readings.foo",
        "Users.Foo",
        "users:manage",
        "users_manage",
        "users-manage",
        "users/manage",
        "users/*",
        "profile:foo",
        "urn:example:users:manage",
        "wardline",
        "Wardline",
        "wardline-api",
        "wardline-api/users.manage",
        "api://wardline/users.manage",
        "api://wardline/.default",
        "https://wardline.example.org/users.manage",
        "https://clinic.example.org/users.manage",
    ];
    let mut cases = vec![
        ("scope", json!([read])),
        ("scp", json!([format!("openid {read}")])),
        ("scp", json!([read, 7])),
        ("scp", json!([read, ""])),
        ("scp", json!([[read]])),
        ("scp", json!([null])),
        ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        ("cnf", Value::Null),
        ("authorization_details", json!([{"type": "wardline", "actions": ["read"]}])),
    ];
    for name in ["scope", "scp"] {
        cases.extend([json!(7), Value::Null, json!({read: true}), json!(true)].map(|value| (name, value)));
        cases.extend(texts.map(|text| (name, json!(text))));
    }
    cases.extend(texts.map(|text| ("scp", json!(["openid", text]))));
    for text in unlike.into_iter().chain(TWISTED).chain(OF_ACTIONS) {
        cases.extend([("scope", json!(text)), ("scp", json!([text]))]);
    }
    cases
}

/// Permissions the other way round, with no sign between their parts, and escaped as in an address.
const TWISTED: [&str; 16] = [
    "read:readings",
    "read_readings",
    "manage:users",
    "openid,manage:users",
    "usersManage",
    "UsersManage",
    "usersmanage",
    "USERSMANAGE",
    "manageUsers",
    "ManageUsers",
    "api://clinic/ManageUsers",
    "users%2Emanage",
    "users%2emanage",
    "%75sers.manage",
    "users%252Emanage",
    "%77ardline",
];

/// Names of actions, as the program prints and calls them, and of one where ours is of many.
const OF_ACTIONS: [&str; 28] = [
    "latest.read",
    "timeline.read",
    "trend.read",
    "readings.send",
    "quarantine.list",
    "device.assign",
    "notices.read",
    "jobs.submit",
    "Latest.Read",
    "read:latest",
    "latest_read",
    "latestRead",
    "latest.*",
    "device:foo",
    "https://clinic.example.org/trend.read",
    "openid,trend.read",
    "ReadLatest",
    "open_break_glass",
    "break-glass.open",
    "getQuarantined",
    "user.manage",
    "manage-user",
    "https://clinic.example.org/user.manage",
    "reading.read",
    "reading.*",
    "user:read",
    "openid,user:read",
    "role/read",
];

/// Claims that are no JSON object, or can be read in two ways.
fn texts() -> Vec<(String, Vec<u8>)> {
    let good = claims().to_string();
    let mut texts = Vec::new();
    for name in ["iss", "aud", "sub", "exp", "nbf", "iat"] {
        let again = format!("{{\"{name}\":{},{}", claims()[name], &good[1..]);
        texts.push((format!("{name} twice"), again.into_bytes()));
    }
    let other = |name: &str, value: &str| format!("{},\"{name}\":{value}}}", &good[..good.len() - 1]);
    let number = |text: &str| good.replace(&format!("\"exp\":{}", claims()["exp"]), &format!("\"exp\":{text}"));
    for (what, text) in [
        ("another sub behind", other("sub", "\"user:0191c3c8-7a00-7000-8000-00000000ffff\"")),
        ("another exp behind", other("exp", "9999999999")),
        ("any name twice", other("x", "1,\"x\":1")),
        ("a name twice, once escaped", other("\\u0073ub", "\"user:0191c3c8-7a00-7000-8000-00000000ffff\"")),
        ("trailing data", format!("{good}x")),
        ("two objects", format!("{good}{good}")),
        ("a list of it", format!("[{good}]")),
        ("its text", json!(good).to_string()),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("a comment", format!("{good}//")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("NUL behind", format!("{good}\0")),
        ("single quotes", good.replace('"', "'")),
        ("exp 1e999", number("1e999")),
        ("exp NaN", number("NaN")),
        ("exp in hexadecimal", number("0xffffffffff")),
        ("exp with plus", number("+9999999999")),
        ("exp with a leading zero", number("09999999999")),
        ("exp of forty digits", number(&"9".repeat(40))),
        ("nothing", String::new()),
        ("an empty object", "{}".to_owned()),
        ("null", "null".to_owned()),
    ] {
        texts.push((format!("claims: {what}"), text.into_bytes()));
    }
    let mut no_text = good.clone().into_bytes();
    no_text[10] = 0xff;
    texts.push(("claims: no UTF-8".to_owned(), no_text));
    texts.push(("claims: UTF-16".to_owned(), good.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    texts
}
