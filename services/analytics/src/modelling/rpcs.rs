//! `ModelService`: which models there are, how good they are, and what they say.

use super::{
    shelf::{Error, Shelf, Version},
    wire,
};
use crate::{
    callers::{done_to, permit},
    models::{self, Pipeline, names},
    versions::{self, History, no_version},
};
use async_trait::async_trait;
use guard::{decisions::Decisions, errors, ids};
use model::access::Action;
use proto::{
    analytics::v1::{
        DeleteModelVersionRequest, DeleteModelVersionResponse, GetModelRequest, GetModelResponse, ListModelsRequest,
        ListModelsResponse, PredictRequest, PredictResponse, SetCurrentModelVersionRequest,
        SetCurrentModelVersionResponse,
        model_service_server::{ModelService, ModelServiceServer},
    },
    problem,
};
use tonic::{Code, Extensions, Request, Response, Status};

/// Largest request that is decoded, in bytes.
const REQUEST_BYTES: usize = 16 << 10;
/// Most features of a question.
const FEATURES_MAX: usize = 64;

/// Answers `ModelService` from the models of a shelf, for whom `decisions` permit it.
pub struct ModelRpcs {
    shelf: Shelf,
    decisions: Decisions,
}

impl ModelRpcs {
    /// Over the models of a shelf, for whom `decisions` permit it.
    pub fn new(shelf: Shelf, decisions: Decisions) -> Self {
        Self { shelf, decisions }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> ModelServiceServer<Self> {
        ModelServiceServer::new(self).max_decoding_message_size(REQUEST_BYTES)
    }

    /// Permission for an action, written down when this returns; the caller's name.
    async fn permit(&self, extensions: &Extensions, action: Action, detail: &str) -> Result<String, Status> {
        permit(&self.decisions, extensions, action, detail).await
    }

    async fn history(&self, pipeline: &Pipeline) -> Result<History<Version>, Status> {
        self.shelf.get(&pipeline.name).await.map_err(errors::store)
    }
}

#[async_trait]
impl ModelService for ModelRpcs {
    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        self.permit(request.extensions(), Action::ReadAnalytics, "models").await?;
        let mut models = Vec::new();
        for name in names() {
            let pipeline = known(name)?;
            models.push(wire::model(&pipeline, &self.history(&pipeline).await?));
        }
        Ok(Response::new(ListModelsResponse { models }))
    }

    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        self.permit(request.extensions(), Action::ReadAnalytics, "model").await?;
        let GetModelRequest { name, version_id } = request.into_inner();
        let pipeline = known(&name)?;
        let history = self.history(&pipeline).await?;
        let shown = match version_id.as_str() {
            "" => history.current().or(history.versions.last()),
            id => Some(history.version(ids::uuid("version_id", id)?).ok_or_else(|| no_version("version_id"))?),
        };
        let card = match shown {
            Some(version) => self.shelf.card(version).await.map_err(failed)?,
            None => String::new(),
        };
        Ok(Response::new(GetModelResponse {
            model: Some(wire::model(&pipeline, &history)),
            features: pipeline.features.iter().map(wire::feature).collect(),
            versions: history.versions.iter().rev().map(|version| wire::version(version, pipeline.decides)).collect(),
            card_version_id: shown.map(|version| version.id.to_string()).unwrap_or_default(),
            card,
        }))
    }

    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictResponse>, Status> {
        self.permit(request.extensions(), Action::ReadAnalytics, "predict").await?;
        let PredictRequest { name, features } = request.into_inner();
        let pipeline = known(&name)?;
        let features = features.unwrap_or_default();
        if features.fields.len() > FEATURES_MAX {
            return Err(problem::invalid("TOO_MANY", "features", format!("at most {FEATURES_MAX}")));
        }
        let (inputs, wrong) = wire::inputs(features);
        let (prediction, version) = match self.shelf.predict(&pipeline, &inputs).await {
            Ok(answer) if wrong.is_empty() => answer,
            Ok(_) => return Err(problem::invalid_fields("INVALID_FEATURES", &wrong)),
            Err(Error::Model(models::Error::Inputs(inputs))) => {
                let wrong = wire::refused(&pipeline, &inputs, wrong);
                return Err(problem::invalid_fields("INVALID_FEATURES", &wrong));
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Response::new(wire::answer(&pipeline.name, &version, prediction)))
    }

    async fn set_current_model_version(
        &self,
        request: Request<SetCurrentModelVersionRequest>,
    ) -> Result<Response<SetCurrentModelVersionResponse>, Status> {
        let done = done_to("set current model version", &request.get_ref().version_id);
        let by = self.permit(request.extensions(), Action::ManageData, &done).await?;
        let SetCurrentModelVersionRequest { name, version_id } = request.into_inner();
        let (pipeline, id) = (known(&name)?, ids::uuid("version_id", &version_id)?);
        let history = self.shelf.set_current(&pipeline, id, &by).await.map_err(failed)?;
        Ok(Response::new(SetCurrentModelVersionResponse { model: Some(wire::model(&pipeline, &history)) }))
    }

    async fn delete_model_version(
        &self,
        request: Request<DeleteModelVersionRequest>,
    ) -> Result<Response<DeleteModelVersionResponse>, Status> {
        let done = done_to("delete model version", &request.get_ref().version_id);
        let by = self.permit(request.extensions(), Action::ManageData, &done).await?;
        let DeleteModelVersionRequest { name, version_id } = request.into_inner();
        let (pipeline, id) = (known(&name)?, ids::uuid("version_id", &version_id)?);
        self.shelf.delete(&pipeline.name, id, &by).await.map_err(versions::Error::status)?;
        Ok(Response::new(DeleteModelVersionResponse {}))
    }
}

/// The pipeline of a name, in which hyphens may stand for underscores as they do in paths.
fn known(name: &str) -> Result<Pipeline, Status> {
    Pipeline::named(&name.replace('-', "_")).map_err(|error| match error {
        models::Error::NoPipeline(_) => {
            let text = format!("must be one of {}", names().collect::<Vec<_>>().join(", "));
            problem::field(Code::NotFound, "NO_SUCH_MODEL", "name", &text)
        }
        error => broken(&error),
    })
}

/// What a model's failure is to a caller.
fn failed(error: Error) -> Status {
    match error {
        Error::Versions(error) => error.status(),
        Error::NoneInUse { .. } => problem::status(Code::FailedPrecondition, "NO_VERSION_IN_USE", error.to_string()),
        Error::Outdated { .. } => problem::status(Code::FailedPrecondition, "MODEL_OUTDATED", error.to_string()),
        Error::Model(error) => broken(&error),
    }
}

fn broken(error: &models::Error) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "a model cannot be used");
    problem::status(Code::Internal, "MODEL_FAILED", "the model cannot be used; tell the operators")
}
