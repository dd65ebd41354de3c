//! What the options of fields say, and so the OpenAPI document, is what the handlers take.

use super::*;
use crate::{check, profiles};
use model::access::Purpose;
use proto::resource::{self, Limits};

const TEXT: &str = "no pulse, alone on the ward";

fn limits(message: &str, field: &str) -> Limits {
    let message = proto::pool().unwrap().get_message_by_name(&format!("wardline.registry.v1.{message}")).unwrap();
    resource::limits(&message.get_field_by_name(field).unwrap())
}

fn id() -> String {
    Uuid::from_u128(9).to_string()
}

fn emergency(reason: &str, text: &str, minutes: i32) -> OpenBreakGlassRequest {
    OpenBreakGlassRequest { patient_id: id(), reason: reason.to_owned(), text: text.to_owned(), minutes }
}

#[tokio::test]
async fn the_words_of_a_field_are_those_that_its_refusal_names() {
    let registry = running(&Arc::new(Memory::default()));
    let other = || "another".to_owned();
    let outcome = ReviewBreakGlassRequest { break_glass_id: id(), outcome: other(), text: String::new() };
    let kind = Some(Relation { user_id: id(), kind: other(), ..Relation::default() });
    let action =
        ExplainAccessRequest { user_id: id(), patient_id: id(), action: other(), ..ExplainAccessRequest::default() };
    let purpose = ExplainAccessRequest { action: "timeline.read".into(), purpose: other(), ..action.clone() };
    let role = || Role { role_id: "helper".into(), ..Role::default() };
    let permissions = Some(Role { permissions: vec![other()], ..role() });
    let may_grant = Some(Role { may_grant: vec![other()], ..role() });
    for (message, field, refused) in [
        (
            "OpenBreakGlassRequest",
            "reason",
            registry.open_break_glass(&caller(), emergency("another", TEXT, 1)).await.err(),
        ),
        ("ReviewBreakGlassRequest", "outcome", registry.review_break_glass(&caller(), outcome).await.err()),
        ("Relation", "kind", registry.create_relation(&caller(), CreateRelationRequest { relation: kind }).await.err()),
        ("ExplainAccessRequest", "action", registry.explain_access(&caller(), action).await.err()),
        ("ExplainAccessRequest", "purpose", registry.explain_access(&caller(), purpose).await.err()),
        ("Role", "permissions", registry.create_role(&caller(), CreateRoleRequest { role: permissions }).await.err()),
        ("Role", "may_grant", registry.create_role(&caller(), CreateRoleRequest { role: may_grant }).await.err()),
    ] {
        let (refused, words) = (refused.unwrap(), limits(message, field).one_of.join(", "));
        assert_eq!(refused.code(), Code::InvalidArgument, "{message}.{field}");
        let text = refused.message();
        assert!(text.contains(field) && text.ends_with(&format!("one of {words}")), "{message}.{field}: {text}");
    }
    assert_eq!(limits("Consent", "purpose").one_of, Purpose::ALL.map(Purpose::code));
}

#[tokio::test]
async fn an_emergency_has_its_ends_where_the_options_have_them() {
    let registry = running(&Arc::new(Memory::default()));
    let (text, minutes) = (limits("OpenBreakGlassRequest", "text"), limits("OpenBreakGlassRequest", "minutes"));
    let (least, most) = (text.min_chars as usize, text.max_chars as usize);
    let longest = minutes.most.unwrap() as i32;
    for (n_chars, minutes, is_taken) in [
        (least, 0, true),
        (least - 1, 0, false),
        (most, longest, true),
        (most + 1, longest, false),
        (most, longest + 1, false),
        (most, -1, false),
    ] {
        let opened = registry.open_break_glass(&caller(), emergency("other", &"a".repeat(n_chars), minutes)).await;
        assert_eq!(opened.is_ok(), is_taken, "{n_chars} characters, {minutes} minutes");
    }
    let most = limits("ReviewBreakGlassRequest", "text").max_chars as usize;
    for (n_chars, code) in [(most, Code::NotFound), (most + 1, Code::InvalidArgument)] {
        let (outcome, text) = ("justified".to_owned(), "a".repeat(n_chars));
        let review = ReviewBreakGlassRequest { break_glass_id: id(), outcome, text };
        let refused = registry.review_break_glass(&caller(), review).await.err().unwrap();
        assert_eq!(refused.code(), code, "{n_chars} characters");
    }
}

#[test]
fn medical_history_has_its_words_and_ranges_where_the_options_have_them() {
    let taken = |medical: Medical| profiles::check(&User { medical: Some(medical), ..User::default() }, NOW()).is_ok();
    let gender = |word: &str| taken(Medical { gender: Some(word.to_owned()), ..Medical::default() });
    let words = limits("Medical", "gender").one_of;
    assert_eq!(words, ["male", "female", "other", "unknown"]);
    assert!(words.iter().all(|word| gender(word)) && gender("") && !gender("another"));
    let height = |height_cm| taken(Medical { height_cm: Some(height_cm), ..Medical::default() });
    let weight = |weight_kg| taken(Medical { weight_kg: Some(weight_kg), ..Medical::default() });
    for (field, is_taken) in
        [("height_cm", &height as &dyn Fn(f64) -> bool), ("weight_kg", &weight as &dyn Fn(f64) -> bool)]
    {
        let Limits { least: Some(least), most: Some(most), or_zero: true, .. } = limits("Medical", field) else {
            panic!("{field} has no range");
        };
        assert!(is_taken(0.0) && is_taken(least) && is_taken(most), "{field}");
        assert!(!is_taken(least - 0.1) && !is_taken(most + 0.1), "{field}");
    }
}

#[test]
fn a_field_of_a_word_takes_what_a_word_is_and_no_more() {
    for (message, field) in [
        ("User", "ward"),
        ("Role", "role_id"),
        ("Grant", "role_id"),
        ("Grant", "ward"),
        ("Grant", "study"),
        ("Relation", "ward"),
        ("Relation", "study"),
        ("GetRoleRequest", "role_id"),
        ("DeleteRoleRequest", "role_id"),
    ] {
        assert!(limits(message, field).word, "{message}.{field}");
    }
    assert!(check::word("ward", &"a-9".repeat(21)).is_ok() && check::word("ward", &"a".repeat(65)).is_err());
    assert!(!limits("Contact", "county").pattern.is_empty(), "which `check::county` takes");
}
