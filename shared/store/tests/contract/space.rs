//! The embedded store on a full disk, and its files' modes.

use crate::{
    audit,
    fixture::{all, patient, row, stored},
};
use disk::{Room, Space};
use model::{Nanos, WriterId, audit::Chain};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use store::{Append, Error, Registry, embedded::Store};

#[tokio::test]
async fn a_full_disk_refuses_rows_with_the_reason_and_is_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let asked = free.clone();
    let measure = move |_: &Path| Ok(Room { free_bytes: asked.load(Ordering::SeqCst), total_bytes: 1 << 40 });
    let folder = dir.path().join("store");
    let store = Store::open_within(&folder, Space::measured(&folder, 1 << 20, Arc::new(measure))).unwrap();
    let patient = patient();
    store.append(&[row(patient, 7, 1)]).await.unwrap();

    free.store((1 << 20) - 1, Ordering::SeqCst);
    let refused = store.append(&[row(patient, 7, 2)]).await;
    assert!(matches!(&refused, Err(Error::NoSpace(why)) if why.contains("store")), "{refused:?}");
    assert!(matches!(store.put_change(1, b"x").await, Err(Error::NoSpace(_))));
    assert_eq!(store.failed(), None, "the engine never knew");
    assert_eq!(all(&store, patient).await, [stored(&row(patient, 7, 1))]);
    // without it nothing could be read
    let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
    store::Audit::append(&store, &audit::entries(&mut chain, patient, Nanos(0), 1)).await.unwrap();

    free.store(1 << 20, Ordering::SeqCst);
    store.append(&[row(patient, 7, 2)]).await.unwrap();
    assert_eq!(all(&store, patient).await.len(), 2);
}

#[tokio::test]
async fn what_was_open_to_others_is_the_owners_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    drop(Store::open(&folder).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let journal = folder.join("0.jnl");
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    drop(Store::open(&folder).unwrap());
    assert_eq!((mode(&folder), mode(&journal)), (0o700, 0o600));
    assert_eq!((mode(&dir.path().join("store.mark")), mode(&dir.path().join("store.manifest"))), (0o600, 0o600));
}
