//! Whether the tables that are in use have the keys that a data set refers to: as they are now, not as they were at its import.

use crate::{
    catalogue::{Catalogue, Version},
    datasets::{
        self, Kind,
        quality::{Check, Checks, References},
    },
    jobs::kinds::Failure,
    tables,
};
use std::collections::BTreeSet;

/// Keys of the tables that a kind refers to, of their current versions.
///
/// # Errors
/// The store, or a file that cannot be read.
pub(crate) async fn references(catalogue: &Catalogue, kind: &Kind) -> Result<References, Failure> {
    let mut references = References::default();
    for reference in &kind.references {
        let data_set = catalogue.get(&reference.kind).await.map_err(Failure::again)?;
        let Some(version) = data_set.current() else { continue };
        let (files, name) = (catalogue.files(version), reference.kind.clone());
        let columns = reference.to.clone();
        let adding = move || {
            tables::each_batch(&files, &columns, |batch| references.add(&name, batch))?;
            Ok::<_, datasets::Error>(references)
        };
        references = tokio::task::spawn_blocking(adding).await.map_err(Failure::again)?.map_err(Failure::again)?;
    }
    Ok(references)
}

/// The checks of a version's cross-references, over its own files.
///
/// # Errors
/// The store, or a file that cannot be read.
pub(crate) async fn checks(
    catalogue: &Catalogue,
    kind: &'static Kind,
    version: &Version,
) -> Result<Vec<Check>, Failure> {
    if kind.references.is_empty() {
        return Ok(Vec::new());
    }
    let (references, files) = (references(catalogue, kind).await?, catalogue.files(version));
    let names = kind.references.iter().flat_map(|reference| reference.columns.iter().chain(&reference.weight));
    let columns: Vec<String> = names.cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let checking = move || {
        let mut checks = Checks::of_references(kind, &references);
        tables::each_batch(&files, &columns, |batch| checks.see(batch))?;
        Ok::<_, datasets::Error>(checks.cross_references().0)
    };
    tokio::task::spawn_blocking(checking).await.map_err(Failure::again)?.map_err(Failure::again)
}
