//! The commands of analytics: data sets, reports, and the jobs behind them.

use crate::{
    datasets::{DataClient, DataSets, ImportArgs},
    jobs::{Jobs, JobsClient},
    operator::{Token, TokenArgs},
    reports::{ReportArgs, ReportClient},
};
use clap::Subcommand;
use client::Remote;
use std::io::Write;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import a file or a folder as a new version of a data set.
    Import {
        /// What.
        #[command(flatten)]
        import: ImportArgs,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Data sets: their versions, and which one counts.
    #[command(name = "datasets")]
    DataSets {
        /// What to do.
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
        /// Which, and how.
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Long work: imports, reports, models.
    Jobs {
        /// What to do.
        #[command(subcommand)]
        what: Jobs,
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
            | Self::Jobs { access, .. } => access,
        }
    }

    /// Does it at a node; what it finds goes to `out`.
    pub async fn act(self, remote: Remote, token: impl Into<Token>, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::Import { import, .. } => DataClient::connect(remote, token).await?.import(&import, out).await,
            Self::DataSets { what, .. } => DataClient::connect(remote, token).await?.act(what, out).await,
            Self::Report { report, .. } => ReportClient::connect(remote, token).await?.run(&report, out).await,
            Self::Jobs { what, .. } => JobsClient::connect(remote, token).await?.act(what, out).await,
        }
    }
}
