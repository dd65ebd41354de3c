//! Where patients live, as a table of reports: those whose profile names a county.

use crate::reports::TableFiles;
use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use directory::LiveDirectory;
use futures::{StreamExt, TryStreamExt, stream};
use model::UserId;
use prost::Message;
use proto::registry::v1::User;
use std::sync::{Arc, LazyLock};
use store::Registry;
use uuid::Uuid;

/// The name of the table.
pub const TABLE: &str = "residences";
/// Profiles that are read at once.
const AT_ONCE: usize = 32;

/// The columns of the table: the patient, as the archive's readings name them, and the county's FIPS code.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let column = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![column("patient_id"), column("county")]))
});

/// Reads it. Clones are the same.
#[derive(Clone)]
pub struct Residences {
    directory: LiveDirectory,
    profiles: Arc<dyn Registry>,
}

impl Residences {
    /// Of the people in a directory, whose profiles are in `profiles`.
    pub fn new(directory: LiveDirectory, profiles: Arc<dyn Registry>) -> Self {
        Self { directory, profiles }
    }

    /// The table as it is now, and what names that: the registry's last change.
    ///
    /// # Errors
    /// A profile cannot be read.
    pub async fn table(&self) -> Result<(TableFiles, String), store::Error> {
        let directory = self.directory.get();
        let people = directory.registry().users(None);
        let patients: Vec<_> =
            people.filter_map(|(id, kept)| Some((*id, kept.value.patient?, kept.value.revision))).collect();
        let counties = stream::iter(patients).map(|one| county(Arc::clone(&self.profiles), one));
        let mut found: Vec<_> = counties.buffered(AT_ONCE).try_collect().await?;
        found.retain(|(_, county)| !county.is_empty());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(found.iter().map(|(patient, _)| patient.to_string()))),
            Arc::new(StringArray::from_iter_values(found.iter().map(|(_, county)| county))),
        ];
        let rows = RecordBatch::try_new(Arc::clone(&SCHEMA), columns);
        let rows = rows.map_err(|error| store::Error::Corrupt(error.to_string()))?;
        Ok((TableFiles::held(rows), format!("registry:{}", directory.registry().sequence())))
    }
}

/// A patient and their county; an empty one where it is not known.
async fn county(
    profiles: Arc<dyn Registry>,
    (user, patient, revision): (Uuid, Uuid, Uuid),
) -> Result<(Uuid, String), store::Error> {
    // who was deleted meanwhile has no profile
    let Some(profile) = profiles.profile(UserId::new(user), revision.into_bytes()).await? else {
        return Ok((patient, String::new()));
    };
    let user = User::decode(profile).map_err(|error| store::Error::Corrupt(format!("a profile: {error}")))?;
    Ok((patient, user.contact.map_or_else(String::new, |contact| contact.county().to_owned())))
}
