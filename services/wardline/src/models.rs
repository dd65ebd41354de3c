//! `wardline models`: which models there are, how good they are, and what they say.

use crate::{
    jobs::{JobsClient, named},
    operator::{self, Token, ask, change, shown},
};
use anyhow::{Context, bail};
use clap::Subcommand;
use client::{Connection, Remote};
use proto::{
    analytics::v1::{
        DeleteModelVersionRequest, GetModelRequest, GetModelResponse, ListModelsRequest, ModelRangeKind, ModelVersion,
        PredictRequest, PredictResponse, SetCurrentModelVersionRequest, model_service_client::ModelServiceClient,
        predict_response::Answer,
    },
    prost_types::{Struct, Value, value::Kind},
};
use std::io::Write;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum Models {
    /// Every model, and the version in use.
    List,
    /// One model: what it takes, how good it is, and its versions.
    Show {
        /// Name of the model, as `models list` prints it.
        model: String,
        /// The version whose card is shown [default: the one in use].
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
        /// The whole model card, as JSON.
        #[arg(long)]
        card: bool,
    },
    /// Ask the version in use about one row.
    Predict {
        /// Name of the model.
        model: String,
        /// The features: NAME=VALUE each (NAME='"3"' for a text that looks like a number); `show` says what the model takes.
        features: Vec<String>,
    },
    /// Put a version into use, also an older one.
    Use {
        /// Name of the model.
        model: String,
        /// UUID of the version, as `models show` prints it.
        version: String,
    },
    /// Delete a version that is not in use.
    Delete {
        /// Name of the model.
        model: String,
        /// UUID of the version, as `models show` prints it.
        version: String,
    },
    /// Train a new version; prints the job's id.
    Train {
        /// Name of the model.
        model: String,
        /// When it is in use from then on.
        #[arg(long, default_value = "better", value_parser = ["better", "never", "always"])]
        promote: String,
        /// Wait for its end; exit 1 when it fails.
        #[arg(long)]
        watch: bool,
    },
}

/// Speaks to a node with one token.
pub struct ModelClient {
    client: ModelServiceClient<Connection>,
    jobs: JobsClient,
}

impl ModelClient {
    /// A client of the first node of `remote` that answers; each call carries the token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        let connection = operator::connect(remote, token).await?;
        let jobs = JobsClient::on(connection.clone());
        let client = ModelServiceClient::new(connection).max_decoding_message_size(operator::MESSAGE_BYTES_MAX);
        Ok(Self { client, jobs })
    }

    /// Does what the command line says; what it finds goes to `out`.
    pub async fn act(&mut self, what: Models, out: &mut impl Write) -> anyhow::Result<()> {
        match what {
            Models::List => {
                for model in ask!(self.list_models(ListModelsRequest {})).models {
                    let current = model.current.as_ref().map_or("no version in use".to_owned(), line);
                    writeln!(out, "{:<24} {current}  {}", model.name, model.title)?;
                }
                Ok(())
            }
            Models::Show { model, version, card } => {
                let request = GetModelRequest { name: model, version_id: version.unwrap_or_default() };
                let found = ask!(self.get_model(request));
                if card { whole(&found, out) } else { described(&found, out) }
            }
            Models::Predict { model, features } => {
                let features = Some(given(&features)?);
                told(&ask!(self.predict(PredictRequest { name: model, features })), out)
            }
            Models::Use { model, version } => {
                let request = SetCurrentModelVersionRequest { name: model, version_id: version };
                let current = change!(self.set_current_model_version(request)).model.and_then(|model| model.current);
                Ok(writeln!(out, "{}", line(&current.context("the answer holds no version")?))?)
            }
            Models::Delete { model, version } => {
                change!(self.delete_model_version(DeleteModelVersionRequest { name: model, version_id: version }));
                Ok(())
            }
            Models::Train { model, promote, watch } => {
                let parameters = [("model", model.replace('-', "_")), ("promote", promote)];
                let job = self.jobs.submit("train", parameters).await?;
                self.jobs.tell(job, watch, out).await
            }
        }
    }
}

/// A version in a line.
fn line(version: &ModelVersion) -> String {
    let at = shown(version.create_time).unwrap_or_default();
    let metric = version.metrics.iter().find(|metric| metric.decides);
    let metric = metric.map(|metric| format!("  {} {:.4}", metric.name, metric.value)).unwrap_or_default();
    format!("{}  {at}  {} rows{metric}", version.version_id, version.rows_used)
}

/// A model for people.
fn described(found: &GetModelResponse, out: &mut impl Write) -> anyhow::Result<()> {
    let model = found.model.as_ref().context("the answer holds no model")?;
    writeln!(out, "{}: {}", model.name, model.title)?;
    let target =
        if model.target.is_empty() { "segments".to_owned() } else { format!("{} in {}", model.target, model.unit) };
    writeln!(out, "learns {target} by {} from {}", model.algorithm, model.data_sets.join(", "))?;
    writeln!(out, "for: {}\nlimits: {}", model.intended_use, model.limits.trim_end())?;
    writeln!(out, "\n{:<28} {:<10} {:<9} value", "feature", "unit", "")?;
    for feature in &found.features {
        let value = if feature.levels.is_empty() { "number".to_owned() } else { feature.levels.join(" | ") };
        let needed = if feature.required { "required" } else { "" };
        writeln!(out, "{:<28} {:<10} {needed:<9} {value}", feature.name, feature.unit)?;
    }
    if let Some(version) = found.versions.iter().find(|version| version.version_id == found.card_version_id) {
        writeln!(
            out,
            "\nheld-out rows, version {}\n{:<18} {:>12} {:>12} {:>12} {:>12}",
            version.version_id, "metric", "value", "low", "high", "trivial"
        )?;
        for metric in &version.metrics {
            let decides = if metric.decides { "  decides" } else { "" };
            let (value, low, high, trivial) = (metric.value, metric.low, metric.high, metric.trivial);
            writeln!(out, "{:<18} {value:>12.4} {low:>12.4} {high:>12.4} {trivial:>12.4}{decides}", metric.name)?;
        }
    }
    writeln!(out, "\n{} versions", found.versions.len())?;
    for version in &found.versions {
        let mark = if model.current.as_ref() == Some(version) { "*" } else { " " };
        writeln!(out, "{mark} {}  {}", line(version), version.reason)?;
    }
    Ok(())
}

/// A model card.
fn whole(found: &GetModelResponse, out: &mut impl Write) -> anyhow::Result<()> {
    if found.card.is_empty() {
        bail!("the model was never trained: wardline models train");
    }
    let card: serde_json::Value = serde_json::from_str(&found.card)?;
    Ok(writeln!(out, "{card:#}")?)
}

/// An answer for people.
fn told(answer: &PredictResponse, out: &mut impl Write) -> anyhow::Result<()> {
    match answer.answer.as_ref().context("the answer is empty")? {
        Answer::Value(value) => writeln!(out, "value        {value:.4} {}", answer.unit)?,
        Answer::Probability(probability) => writeln!(out, "probability  {probability:.4}")?,
        Answer::Segment(segment) => writeln!(out, "segment      {segment}")?,
    }
    if let Some(range) = &answer.range {
        let kind = match range.kind() {
            ModelRangeKind::Prediction95 => "95 % of further observations",
            ModelRangeKind::SpreadOfTrees => "95 % of the trees",
            ModelRangeKind::Unspecified => "",
        };
        writeln!(out, "range        {:.4} to {:.4}  {kind}", range.low, range.high)?;
    }
    for (segment, distance) in answer.distances.iter().enumerate() {
        writeln!(out, "distance     {distance:.4} to segment {segment}")?;
    }
    if let Some(base) = answer.base {
        writeln!(out, "base         {base:.4}")?;
    }
    for contribution in &answer.contributions {
        writeln!(out, "  {:<28} {:+.4}", contribution.feature, contribution.moves_by)?;
    }
    for warning in &answer.warnings {
        writeln!(out, "warning      {}: {}", warning.feature, warning.text)?;
    }
    let at = shown(answer.trained_at).unwrap_or_default();
    Ok(writeln!(out, "version      {}  {at}", answer.version_id)?)
}

/// NAME=VALUE each, a number where it is one, and a text where it is in double quotes (`code="3"`).
fn given(pairs: &[String]) -> anyhow::Result<Struct> {
    let read = |(name, value): (String, String)| {
        let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let kind = match (quoted, value.parse::<f64>()) {
            (Some(text), _) => Kind::StringValue(text.to_owned()),
            (None, Ok(number)) if number.is_finite() => Kind::NumberValue(number),
            (None, _) => Kind::StringValue(value),
        };
        (name, Value { kind: Some(kind) })
    };
    Ok(Struct { fields: named(pairs)?.into_iter().map(read).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_number_is_sent_as_one() {
        let words = ["beds=120", "share=-0.5", "ownership=Government - Local", "code=inf", "none=", "rucc=\"3\""]
            .map(str::to_owned);
        let fields = given(&words).unwrap().fields;
        let kind = |name: &str| fields[name].kind.clone().unwrap();
        assert!(kind("beds") == Kind::NumberValue(120.0) && kind("share") == Kind::NumberValue(-0.5));
        assert_eq!(kind("ownership"), Kind::StringValue("Government - Local".to_owned()));
        assert_eq!(kind("code"), Kind::StringValue("inf".to_owned()));
        assert_eq!(kind("none"), Kind::StringValue(String::new()));
        assert_eq!(kind("rucc"), Kind::StringValue("3".to_owned()));
        assert!(given(&["beds".to_owned()]).is_err());
    }
}
