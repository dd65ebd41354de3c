//! Artefacts: the same after a round, and refused when they are not what was written or not what is asked for.

use super::super::{Artefact, Error, FORMAT, MAX_ARTEFACT_BYTES, Pipeline};
use super::made::{prescribers, quick, states, trained};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

fn written() -> &'static (Pipeline, Vec<u8>) {
    static WRITTEN: OnceLock<(Pipeline, Vec<u8>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let pipeline = quick("high_volume_prescriber");
        let bytes = trained(&pipeline, &prescribers(300)).artefact.to_bytes().expect("bytes");
        (pipeline, bytes)
    })
}

/// With the checksum that belongs to changed bytes.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let checksum: [u8; 32] = Sha256::digest(&bytes[..end]).into();
    bytes[end..].copy_from_slice(&checksum);
    bytes
}

#[test]
fn every_kind_of_model_is_the_same_after_a_round() {
    for name in ["life_expectancy", "state_segments", "high_volume_prescriber"] {
        let pipeline = quick(name);
        let frame = if name == "high_volume_prescriber" { prescribers(300) } else { states() };
        let artefact = trained(&pipeline, &frame).artefact;
        let bytes = artefact.to_bytes().expect("bytes");
        assert!(bytes.len() < 200_000, "{name}: {} bytes", bytes.len());
        assert_eq!(Artefact::load(&bytes, &pipeline).expect("an artefact"), artefact);
    }
}

#[test]
fn another_schema_is_refused_and_the_difference_named() {
    let (pipeline, bytes) = written();
    let mut changed = pipeline.clone();
    changed.features[1].unit = "mo".to_owned();
    let refused = Artefact::load(bytes, &changed).expect_err("another unit").to_string();
    assert!(refused.contains("years_of_exp in a then, mo now"), "{refused}");
    let mut changed = pipeline.clone();
    changed.features.swap(1, 2);
    let refused = Artefact::load(bytes, &changed).expect_err("another order").to_string();
    assert!(refused.contains("feature 2 is years_of_exp then, population now"), "{refused}");
    let other = quick("life_expectancy");
    assert!(matches!(Artefact::load(bytes, &other), Err(Error::Schema { .. })));
    let mut trees = pipeline.clone();
    trees.seed += 1;
    assert!(Artefact::load(bytes, &trees).is_ok(), "a seed is no part of the schema");
}

#[test]
fn other_formats_sizes_and_heads_are_refused() {
    let (pipeline, bytes) = written();
    let mut other = bytes.clone();
    other[8] = FORMAT as u8 + 1;
    assert!(matches!(Artefact::load(&other, pipeline), Err(Error::Format { found, .. }) if found == FORMAT + 1));
    let mut other = bytes.clone();
    other[20] ^= 1;
    assert!(matches!(Artefact::load(&sealed(other), pipeline), Err(Error::Damaged(_))), "another hash in the head");
    let mut other = bytes.clone();
    other.extend_from_slice(&[0; 4]);
    assert!(matches!(Artefact::load(&other, pipeline), Err(Error::Damaged(_))));
    let mut other = bytes.clone();
    other.extend_from_slice(&[0; 32 + 4]);
    assert!(matches!(Artefact::load(&sealed(other), pipeline), Err(Error::Damaged(_))), "rows in another order");
    assert!(matches!(Artefact::load(&[], pipeline), Err(Error::Damaged(_))));
    let large = vec![0; MAX_ARTEFACT_BYTES + 1];
    assert!(matches!(Artefact::load(&large, pipeline), Err(Error::ArtefactSize { .. })));
}

#[test]
fn an_artefact_of_the_format_before_is_read_and_knows_no_rows() {
    let (pipeline, bytes) = written();
    let artefact = Artefact::load(bytes, pipeline).expect("as it was written");
    assert!(artefact.learnt_from.is_some());
    let before = Artefact { learnt_from: None, ..artefact };
    let bytes = before.to_bytes().expect("bytes");
    assert_eq!((bytes[8], Artefact::load(&bytes, pipeline).expect("the format before")), (1, before));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_byte_and_any_early_end_is_refused(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (pipeline, bytes) = written();
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= flip;
        prop_assert!(Artefact::load(&changed, pipeline).is_err());
        prop_assert!(Artefact::load(&bytes[..at.index(bytes.len())], pipeline).is_err());
    }

    /// Who can write the checksum can write anything; it must be refused or be a model that answers.
    #[test]
    fn a_payload_made_by_somebody_else_does_no_harm(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (pipeline, bytes) = written();
        let mut changed = bytes.clone();
        changed[50 + at.index(bytes.len() - 82)] ^= flip;
        if let Ok(artefact) = Artefact::load(&sealed(changed), pipeline) {
            let inputs = super::asking::prescriber();
            prop_assert!(super::super::predict(&artefact, &inputs).is_ok());
        }
    }
}
