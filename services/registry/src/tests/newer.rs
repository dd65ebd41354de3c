//! What a newer version keeps of a person survives an update by this one.

use super::*;
use prost::Message;

/// A field of a later version: number 99, a string.
const LATER: &[u8] = &[0x9a, 0x06, 0x03, b'n', b'e', b'w'];

#[tokio::test]
async fn fields_of_a_newer_version_stay() {
    let store = Arc::new(Memory::default());
    let registry = running(&store);
    let (id, contact) = (Uuid::from_u128(7).to_string(), Contact { email: Some("a@b".into()), ..Contact::default() });
    let user = User { user_id: id.clone(), contact: Some(contact.clone()), ..User::default() };
    registry.create_user(&caller(), CreateUserRequest { user: Some(user) }).await.unwrap();
    // as a newer version would have kept it: one field more of the person, and one more of the contact
    let mut inner = contact.encode_to_vec();
    inner.extend(LATER);
    let mut newer = vec![0x32, u8::try_from(inner.len()).unwrap()];
    newer.extend(inner);
    newer.extend(LATER);
    store.kept.lock().unwrap().values_mut().for_each(|kept| *kept = newer.clone().into());

    let contact = Some(Contact { phone: Some("1".into()), ..Contact::default() });
    let user = Some(User { user_id: id, contact, ward: None, ..User::default() });
    registry.update_user(&caller(), UpdateUserRequest { user, update_mask: None }).await.unwrap();
    let kept = store.kept.lock().unwrap().values().find(|kept| **kept != newer).cloned().unwrap();
    let n_later = kept.windows(LATER.len()).filter(|bytes| *bytes == LATER).count();
    let contact = User::decode(kept).unwrap().contact.unwrap();
    assert_eq!((n_later, contact.email(), contact.phone()), (2, "a@b", "1"));
}
