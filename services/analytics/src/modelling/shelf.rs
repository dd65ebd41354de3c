//! Trained models: their versions, which one is in use, and the artefacts that are asked.
//!
//! A version is an artefact and a card, put by the attempt that trained it, and what was decided about it. Which one is in use is a
//! step in the model's history. What is asked is the artefact of that version, loaded once and kept for the next caller.

use crate::{
    models::{self, Artefact, Decision, Input, Measured, ModelCard, Pipeline, Prediction, SameRows, Training, promote},
    objects::{self, Objects},
    versions::{self, History, Versioned, Versions},
};
use model::Clock;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use store::{Histories, ThingKind};
use tokio::{sync::Mutex, task::spawn_blocking};
use uuid::Uuid;

/// Names the ids of models.
const MODELS: Uuid = Uuid::from_u128(0x51c7_0d7e_2f0b_4f6a_9b1d_7a3e_c0a8_4d22);
/// The names of a version's objects.
pub(super) const ARTEFACT: &str = "model.bin";
pub(super) const CARD: &str = "card.json";
/// Versions of a model that are kept by themselves: of more, the oldest that is not in use goes when one is added.
pub const KEPT: usize = 50;
/// Artefacts that are held in memory: one of each model, and some that were in use until just now. Also their bytes, packed.
const LOADED: usize = 8;
const LOADED_BYTES: u64 = 64 << 20;

/// What one training made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Ascending with the time of the training.
    pub id: Uuid,
    /// When it was made, in nanoseconds since 1970.
    pub at: i64,
    /// Who submitted the training, as in a job's submission.
    pub by: String,
    /// The job that made it.
    pub job: Uuid,
    /// Where its artefact and its card are.
    pub prefix: String,
    /// Bytes of its artefact.
    pub bytes: u64,
    /// SHA-256 of what it takes and gives, in hexadecimal digits.
    pub schema_hash: String,
    /// Everything random followed from it.
    pub seed: u64,
    /// Rows of the frame.
    pub rows_in: u64,
    /// Rows that it learnt from.
    pub rows_used: u64,
    /// What it was made of.
    pub made_of: models::Versions,
    /// How good it is on rows that were held out.
    pub metrics: Vec<Measured>,
    /// What was decided about it when it was made.
    pub decision: Decision,
}

impl Versioned for Version {
    fn id(&self) -> Uuid {
        self.id
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// When a newly trained model is in use from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// When it is surely better than the one in use, or, as the first one, than one that knows nothing.
    Better,
    /// Never: somebody looks at it first.
    Never,
    /// Whatever it is like.
    Always,
}

impl Rule {
    /// Its words, as a job takes them.
    pub const WORDS: [&str; 3] = ["better", "never", "always"];

    /// The rule of a word.
    pub fn named(word: &str) -> Option<Self> {
        let rules = [Self::Better, Self::Never, Self::Always];
        Self::WORDS.iter().zip(rules).find_map(|(known, rule)| (*known == word).then_some(rule))
    }

    fn decide(self, new: &ModelCard, in_use: Option<&InUse>) -> Decision {
        let told = |promoted, reason: &str| Decision { promoted, reason: reason.to_owned() };
        match self {
            Self::Never => told(false, "the training was told to promote nothing"),
            Self::Always => told(true, "the training was told to promote it, whatever it is like"),
            Self::Better => match in_use.and_then(|in_use| in_use.unasked(new)) {
                None => promote(new, in_use.map(|it| &it.card), in_use.and_then(|it| it.same_rows.as_ref())),
                // it answers nothing any more: whatever is better than knowing nothing is better than it
                Some(why) => {
                    let Decision { promoted, reason } = promote(new, None, None);
                    Decision { promoted, reason: format!("{reason} (the one in use {why})") }
                }
            },
        }
    }
}

/// The version in use, as a new model is compared with it.
struct InUse {
    card: ModelCard,
    /// What it comes to on the new one's rows, where it was made of other data and can be compared.
    same_rows: Option<SameRows>,
    /// What is wrong with its artefact.
    damage: Option<models::Error>,
}

impl InUse {
    /// Why it answers nothing any more; `None`: it does.
    fn unasked(&self, new: &ModelCard) -> Option<String> {
        if self.card.schema_hash != new.schema_hash {
            return Some("takes other features".to_owned());
        }
        self.damage.as_ref().map(|damage| format!("cannot be asked: {damage}"))
    }
}

/// Why a model gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its versions cannot be read.
    #[error(transparent)]
    Versions(#[from] versions::Error),
    /// None of its versions is in use.
    #[error("no version of the model {model} is in use: {}", mended(.model, .newest))]
    NoneInUse {
        /// Name of the model.
        model: String,
        /// What was decided about its newest version, if there is one.
        newest: Option<Decision>,
    },
    /// The version in use was trained for something else than what this program asks.
    #[error("version {version} of the model {model} cannot be used: {source}; submit the job train with model={model}")]
    Outdated {
        /// Name of the model.
        model: String,
        /// Id of the version that cannot be asked.
        version: Uuid,
        /// What differs: its schema, or the format of its artefact.
        source: models::Error,
    },
    /// The artefact, or what is asked.
    #[error(transparent)]
    Model(#[from] models::Error),
}

/// What to do about a model of which nothing is in use.
fn mended(model: &str, newest: &Option<Decision>) -> String {
    match newest {
        None => format!("submit the job train with model={model}"),
        Some(Decision { reason, .. }) => {
            format!(
                "set one with SetCurrentModelVersion, or submit the job train with model={model}; of the newest: {reason}"
            )
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Versions(error.into())
    }
}

impl From<objects::Error> for Error {
    fn from(error: objects::Error) -> Self {
        Self::Versions(error.into())
    }
}

/// All trained models. Clones are the same.
#[derive(Clone)]
pub struct Shelf {
    versions: Versions<Version>,
    /// The one that was asked last stands last.
    loaded: Arc<Mutex<Vec<Loaded>>>,
}

struct Loaded {
    version: Uuid,
    bytes: u64,
    artefact: Arc<Artefact>,
}

impl Shelf {
    /// Of what is in a store, with artefacts and cards in `objects`.
    pub fn new(store: Arc<dyn Histories>, objects: Objects, clock: Clock) -> Self {
        Self { versions: Versions::new(ThingKind::Model, MODELS, store, objects, clock), loaded: Arc::default() }
    }

    /// Where artefacts and cards are.
    pub fn objects(&self) -> &Objects {
        self.versions.objects()
    }

    /// The versions of a model; one that was never trained has none.
    pub async fn get(&self, model: &str) -> Result<History<Version>, store::Error> {
        self.versions.get(model).await
    }

    /// Adds a version, whose objects are durable already; the rule decides whether it is in use from now on. What is decided is
    /// decided about the version that is in use at that moment; `training` answers where that was made of other data.
    pub async fn add(
        &self,
        version: Version,
        card: &ModelCard,
        rule: Rule,
        training: Option<&Arc<Training>>,
    ) -> Result<History<Version>, Error> {
        loop {
            let history = self.get(&card.name).await?;
            let in_use = match history.current() {
                Some(current) if rule == Rule::Better => Some(self.in_use(current, card, training).await?),
                _ => None,
            };
            let decision = rule.decide(card, in_use.as_ref());
            let compared = history.current().map(|current| current.id);
            let made = self.versions.add(&card.name, version.id, |history| {
                if history.current().map(|current| current.id) != compared {
                    return Err(versions::Error::Changed);
                }
                Ok(Some((Version { decision: decision.clone(), ..version.clone() }, decision.promoted)))
            });
            match made.await {
                Err(versions::Error::Changed) => {}
                made => return Ok(made?),
            }
        }
    }

    /// What a new model is compared with.
    async fn in_use(
        &self,
        current: &Version,
        new: &ModelCard,
        training: Option<&Arc<Training>>,
    ) -> Result<InUse, Error> {
        let card = self.card(current).await?;
        let card: ModelCard = serde_json::from_str(&card).map_err(|error| unreadable(current, error))?;
        let is_of_other_data = card.versions.data != new.versions.data && card.schema_hash == new.schema_hash;
        let mut in_use = InUse { card, same_rows: None, damage: None };
        let Some(training) = training.filter(|_| is_of_other_data) else { return Ok(in_use) };
        match self.artefact(&training.pipeline, current).await {
            Ok(artefact) => {
                let training = Arc::clone(training);
                // a large frame takes a while
                let asking = spawn_blocking(move || training.against(&artefact)).await;
                in_use.same_rows = asking.unwrap_or_else(|panic| Err(models::Error::Fit(panic.to_string())))?;
            }
            Err(Error::Outdated { source, .. } | Error::Model(source)) => in_use.damage = Some(source),
            Err(error) => return Err(error),
        }
        Ok(in_use)
    }

    /// Puts a version that is kept into use.
    ///
    /// # Errors
    /// There is none of this id, or it could not be asked: it was trained for another schema.
    pub async fn set_current(&self, pipeline: &Pipeline, version: Uuid, by: &str) -> Result<History<Version>, Error> {
        let history = self.get(&pipeline.name).await?;
        self.artefact(pipeline, history.version(version).ok_or(versions::Error::NoVersion)?).await?;
        Ok(self.versions.set_current(&pipeline.name, version, by).await?)
    }

    /// Deletes a version that is not in use.
    pub async fn delete(&self, model: &str, version: Uuid, by: &str) -> Result<History<Version>, versions::Error> {
        self.versions.delete(model, version, by, false).await
    }

    /// What is known of a version, as JSON.
    pub async fn card(&self, version: &Version) -> Result<String, Error> {
        let bytes = self.versions.object(version, CARD).await?;
        Ok(String::from_utf8(bytes.into()).map_err(|error| unreadable(version, error))?)
    }

    /// Asks the version of a pipeline's model that is in use; also which one it is.
    ///
    /// # Errors
    /// None is in use, it was trained for another schema, or inputs are wrong ([`models::Error::Inputs`]).
    pub async fn predict(
        &self,
        pipeline: &Pipeline,
        inputs: &BTreeMap<String, Input>,
    ) -> Result<(Prediction, Version), Error> {
        let history = self.get(&pipeline.name).await?;
        let none = || Error::NoneInUse {
            model: pipeline.name.clone(),
            newest: history.versions.last().map(|version| version.decision.clone()),
        };
        let version = history.current().ok_or_else(none)?;
        let artefact = self.artefact(pipeline, version).await?;
        Ok((models::predict(&artefact, inputs)?, version.clone()))
    }

    /// The artefact of a version. One is loaded at a time, so that callers who come at once load it once.
    async fn artefact(&self, pipeline: &Pipeline, version: &Version) -> Result<Arc<Artefact>, Error> {
        let mut loaded = self.loaded.lock().await;
        let one = match loaded.iter().position(|one| one.version == version.id) {
            Some(place) => loaded.remove(place),
            None => {
                let artefact = Arc::new(self.load(pipeline.clone(), version).await?);
                Loaded { version: version.id, bytes: version.bytes, artefact }
            }
        };
        let artefact = Arc::clone(&one.artefact);
        loaded.push(one);
        while loaded.len() > 1
            && (loaded.len() > LOADED || loaded.iter().map(|one| one.bytes).sum::<u64>() > LOADED_BYTES)
        {
            loaded.remove(0);
        }
        Ok(artefact)
    }

    /// How many artefacts are in memory.
    #[cfg(test)]
    pub(super) async fn n_loaded(&self) -> usize {
        self.loaded.lock().await.len()
    }

    async fn load(&self, pipeline: Pipeline, version: &Version) -> Result<Artefact, Error> {
        let (bytes, model) = (self.versions.object(version, ARTEFACT).await?, pipeline.name.clone());
        // a large forest takes a while
        let loading = spawn_blocking(move || Artefact::load(&bytes, &pipeline)).await;
        let loaded = loading.unwrap_or_else(|panic| Err(models::Error::Fit(panic.to_string())));
        loaded.map_err(|error| match error {
            source @ (models::Error::Schema { .. } | models::Error::Format { .. }) => {
                Error::Outdated { model, version: version.id, source }
            }
            error => error.into(),
        })
    }
}

fn unreadable(version: &Version, error: impl std::fmt::Display) -> store::Error {
    store::Error::Corrupt(format!("the card of version {}: {error}", version.id))
}
