//! The commands of analytics: data sets, reports, models, and the jobs behind them.

use crate::{
    dashboard::{CorrelationsArgs, DashboardClient, InsightsArgs},
    datasets::{DataClient, DataSets, ImportArgs},
    jobs::{Jobs, JobsClient},
    models::{ModelClient, Models},
    operator::{Token, TokenArgs},
    pipeline::{PipelineClient, Pipelines},
    reports::{ReportArgs, ReportClient},
};
use clap::Subcommand;
use client::Remote;
use std::io::Write;

/// What a person may ask analytics for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import a file or a folder as a new version of a data set.
    Import {
        /// What is imported, and whether its end is waited for.
        #[command(flatten)]
        import: ImportArgs,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Data sets: their versions, and which one counts.
    #[command(name = "datasets")]
    DataSets {
        /// What to do with data sets.
        #[command(subcommand)]
        what: DataSets,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Run a report over the current versions of data sets.
    Report {
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
        /// Which report is run, and how its rows are printed.
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Say in plain sentences what stands out in the data.
    Insights {
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
        /// How the sentences are printed.
        #[command(flatten)]
        how: InsightsArgs,
    },
    /// How closely numbers of the states' profiles go together.
    Correlations {
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
        /// Of which, and how.
        #[command(flatten)]
        asked: CorrelationsArgs,
    },
    /// Models: train, look at, ask, choose which version is in use.
    Models {
        /// What to do with models.
        #[command(subcommand)]
        what: Models,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Long work: imports, reports, models.
    Jobs {
        /// What to do with jobs.
        #[command(subcommand)]
        what: Jobs,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Jobs that belong together, once for each date.
    Pipeline {
        /// What to do with pipelines.
        #[command(subcommand)]
        what: Pipelines,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Schedules of the settings: when each fired last, and when it fires next.
    Schedules {
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
}

impl Command {
    /// Whose token is used.
    pub fn access(&self) -> &TokenArgs {
        match self {
            Self::Import { access, .. }
            | Self::DataSets { access, .. }
            | Self::Report { access, .. }
            | Self::Insights { access, .. }
            | Self::Correlations { access, .. }
            | Self::Models { access, .. }
            | Self::Jobs { access, .. }
            | Self::Pipeline { access, .. }
            | Self::Schedules { access } => access,
        }
    }

    /// Does it at a node; what it finds goes to `out`.
    pub async fn act(self, remote: Remote, token: impl Into<Token>, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::Import { import, .. } => DataClient::connect(remote, token).await?.import(&import, out).await,
            Self::DataSets { what, .. } => DataClient::connect(remote, token).await?.act(what, out).await,
            Self::Report { report, .. } => ReportClient::connect(remote, token).await?.run(&report, out).await,
            Self::Insights { how, .. } => DashboardClient::connect(remote, token).await?.insights(&how, out).await,
            Self::Correlations { asked, .. } => {
                DashboardClient::connect(remote, token).await?.correlations(&asked, out).await
            }
            Self::Models { what, .. } => ModelClient::connect(remote, token).await?.act(what, out).await,
            Self::Jobs { what, .. } => JobsClient::connect(remote, token).await?.act(what, out).await,
            Self::Pipeline { what, .. } => PipelineClient::connect(remote, token).await?.act(what, out).await,
            Self::Schedules { .. } => PipelineClient::connect(remote, token).await?.schedules(out).await,
        }
    }
}
