//! Imports that the store does not take to the end, and what an import leaves in the audit log.

use super::{relations::somebody, *};
use directory::registry::{self as kept, Change};

/// Rows of an import that are put at once.
const PART: usize = kept::CHANGES_MAX / 2;

/// How a store fails.
#[derive(Debug, Clone, Copy)]
enum Fails {
    /// Others are faster all the time.
    Busy,
    Full,
    /// What it was asked is done, and the answer is lost.
    Silent,
}

/// A store that takes some changes, and then fails.
struct Failing {
    memory: Arc<Memory>,
    n_taken: Mutex<usize>,
    how: Fails,
}

impl Failing {
    /// Whether there is a change left that it takes.
    fn takes(&self) -> bool {
        let mut n_taken = self.n_taken.lock().unwrap();
        let takes = *n_taken > 0;
        *n_taken = n_taken.saturating_sub(1);
        takes
    }
}

#[async_trait]
impl store::Profiles for Failing {
    async fn profile(&self, user: UserId, revision: Revision) -> Result<Option<Bytes>, Error> {
        self.memory.profile(user, revision).await
    }
}

#[async_trait]
impl store::Registry for Failing {
    async fn put_change(&self, sequence: u64, change: &[u8]) -> Result<bool, Error> {
        if self.takes() {
            return self.memory.put_change(sequence, change).await;
        }
        match self.how {
            Fails::Busy => Ok(false),
            Fails::Full => Err(Error::NoSpace("the test says so".into())),
            Fails::Silent => {
                self.memory.put_change(sequence, change).await?;
                Err(Error::Unavailable("the test says so".into()))
            }
        }
    }

    async fn changes(&self, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        self.memory.changes(from, limit).await
    }

    async fn put_profile(&self, user: UserId, revision: Revision, profile: &[u8]) -> Result<(), Error> {
        self.memory.put_profile(user, revision, profile).await
    }
}

impl Written {
    /// Action and detail of what was allowed.
    fn allowed(&self) -> Vec<(String, String)> {
        let events = self.0.lock().unwrap();
        let allowed = events.iter().filter(|event| event.outcome == Outcome::Allowed);
        allowed.map(|event| (event.action.to_string(), event.detail.to_string())).collect()
    }

    /// How many details of what was allowed begin so.
    fn count(&self, begin: &str) -> usize {
        self.allowed().iter().filter(|(_, detail)| detail.starts_with(begin)).count()
    }
}

/// Imports devices into a store that takes so many changes: the answer, the log, and how many devices there are then.
async fn import(
    n_taken: usize,
    how: Fails,
    csv: String,
) -> (Result<ImportDevicesResponse, tonic::Status>, Arc<Written>, usize) {
    let (memory, log) = (Arc::new(Memory::default()), Arc::<Written>::default());
    let (mut registry, work) = node_with(&memory, Path::new("none"), log.clone());
    tokio::spawn(work.run(CancellationToken::new()));
    registry.store = Arc::new(Failing { memory, n_taken: Mutex::new(n_taken), how });
    let answer = registry.import_devices(&caller(), ImportDevicesRequest { csv }).await;
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let n_devices = registry.decisions.directory().registry().devices(None).count();
    (answer, log, n_devices)
}

fn rows(n: usize) -> String {
    (0..n).map(|row| format!("Monitor {row},\n")).collect()
}

#[tokio::test]
async fn what_was_put_before_the_store_failed_is_answered_and_the_rest_is_refused() {
    let csv = format!("name,mac\n{}", rows(2 * PART + 100));
    for (how, n_devices, said, why) in [
        (Fails::Busy, PART, "not in force: this row and the next 349; send these rows again", "others changed"),
        (Fails::Full, PART, "not in force: this row and the next 349; send these rows again", "the disk is full"),
        (Fails::Silent, 2 * PART, "perhaps in force: this row and the next 249; look for these rows", "did not answer"),
    ] {
        let (answer, log, n_found) = import(1, how, csv.clone()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.imported as usize, answer.claim_codes.len(), n_found), (PART, PART, n_devices), "{how:?}");
        assert_eq!((answer.refused.len(), answer.refused_more), (20, 330), "{how:?}");
        let first = &answer.refused[0];
        assert_eq!((first.row, first.line, first.field.as_str()), (251, 252, ""), "{how:?}");
        assert!(first.reason.starts_with(said) && first.reason.contains(why), "{}", first.reason);
        let tells_of_later = first.reason.contains("not in force: the 100 after these");
        assert_eq!(tells_of_later, matches!(how, Fails::Silent), "{}", first.reason);
        // of the third part, which nobody tried to put, there is nothing
        assert_eq!(log.count("import "), 1 + 2 * PART, "{how:?}");

        let (answer, log, _) = import(0, how, csv.clone()).await;
        assert_eq!(answer.err().map(|status| status.code()), Some(Code::Unavailable), "{how:?}");
        assert_eq!(log.count("import "), 1 + PART, "{how:?}");
    }
}

#[tokio::test]
async fn where_an_import_ended_is_named_also_behind_many_refused_rows() {
    let bad = "Monitor,nonsense\n".repeat(30);
    let (answer, ..) = import(1, Fails::Busy, format!("name,mac\n{bad}{}", rows(PART + 1))).await;
    let answer = answer.unwrap();
    let named: Vec<_> = answer.refused.iter().map(|row| row.row).collect();
    assert_eq!(named, (1..20).chain([30 + 250 + 1]).collect::<Vec<_>>());
    assert_eq!((answer.imported, answer.refused_more), (250, 11));
    assert!(answer.refused[19].reason.starts_with("not in force: this row; send"), "{}", answer.refused[19].reason);
}

#[tokio::test]
async fn a_row_that_grants_a_role_is_written_down_as_a_grant_too() {
    let (store, log) = (Arc::new(Memory::default()), Arc::<Written>::default());
    let me = Uuid::from_u128(1);
    let held = kept::Grant { id: me, user: me, role: "administrator".into(), ward: None, study: None };
    let entry = kept::Entry::new(NOW(), None, vec![somebody(me, None), Change::Grant(held)]).encode();
    store.changes.lock().unwrap().push(entry.into());
    let (registry, work) = node_with(&store, Path::new("none"), log.clone());
    tokio::spawn(work.run(CancellationToken::new()));
    directory::follow(registry.decisions.live(), store.as_ref()).await.unwrap();
    let csv = "name,role\nA,nurse\nB,\nC,pilot\n".to_owned();
    let answer = registry.import_users(&caller(), ImportUsersRequest { csv }).await.unwrap();
    assert_eq!((answer.imported, answer.refused.len()), (2, 1));
    let nurse = &answer.user_ids[0];
    let directory = registry.decisions.directory();
    let grant = directory.registry().grants(None).map(|(_, kept)| &kept.value).find(|grant| grant.id != me).unwrap();
    assert_eq!(&grant.user.to_string(), nurse);
    let said = log.allowed();
    let grants: Vec<_> = said.iter().filter(|(action, _)| action == "roles.manage").map(|(_, detail)| detail).collect();
    assert_eq!(grants, [&format!("grant {} of nurse to {nurse}", grant.id)]);
    assert!(said.contains(&("users.manage".to_owned(), format!("import {nurse}"))));
}
