//! Analytics in a node: jobs and those who do them, data sets, reports.

use analytics::{
    catalogue::Catalogue,
    check_quality::CheckQuality,
    dashboard::DashboardRpcs,
    data_rpcs::DataRpcs,
    import::Import,
    insights::InsightsKind,
    jobs::{
        board::Board,
        kinds::{Kind, Kinds},
        rpcs::JobRpcs,
        submit::Submit,
        task::Task,
        worker,
    },
    modelling::{ModelRpcs, Shelf, Train},
    models::Pipeline,
    objects::Objects,
    report_rpcs::ReportRpcs,
    reporting::{ReportKind, Runner},
    reports::Limits,
    sources::{Source, Sources},
    uploads::Uploads,
};
use anyhow::Context;
use guard::clock;
use node::{
    config::Config,
    wiring::{Need, Service, Wiring, spawn},
};
use std::{sync::Arc, time::Duration};

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "analytics",
    about: "jobs, data sets, reports and models of reference data",
    needs: &[Need::Store, Need::Directory, Need::Audit],
    metrics: analytics::metrics::METRICS,
    wire,
};

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, (auth, decisions)) = (wiring.config, wiring.audited()?);
    let histories = wiring.backends.store.histories.clone();
    let dir = config.objects_dir();
    let objects = Objects::open(&dir).with_context(|| format!("analytics.objects_dir {}", dir.display()))?;
    let catalogue = Catalogue::new(histories.clone(), objects.clone(), clock::now);
    let uploads = Uploads::new(objects.clone(), clock::now);
    let (sources, runner) = (sources(config), Runner::new(catalogue.clone(), limits(config)));
    let import =
        Import { catalogue: catalogue.clone(), uploads: uploads.clone(), sources: sources.clone(), clock: clock::now };
    let shelf = Shelf::new(histories.clone(), objects.clone(), clock::now);
    let own: [Arc<dyn Kind>; 5] = [
        Arc::new(Task),
        Arc::new(import),
        Arc::new(CheckQuality { catalogue: catalogue.clone() }),
        Arc::new(InsightsKind { runner: runner.clone() }),
        Arc::new(Train { runner: runner.clone(), shelf: shelf.clone(), clock: clock::now, pipeline: Pipeline::named }),
    ];
    let kinds = Kinds::new(own.into_iter().chain(ReportKind::all(&runner)));
    let board = Board::new(histories, clock::now);
    let worker = worker::Worker::new(board.clone(), kinds.clone(), workers(config));
    spawn(wiring.tasks, worker.run(wiring.stop.clone()));
    spawn(wiring.tasks, uploads.clone().keep_swept(wiring.stop.clone()));
    let submit = Submit { board, kinds, decisions: decisions.clone() };
    wiring.serve(auth.before(JobRpcs::new(submit.clone(), objects).service()));
    wiring.serve(auth.before(DataRpcs::new(catalogue, uploads, sources, submit, decisions.clone()).service()));
    wiring.serve(auth.before(ReportRpcs::new(runner.clone(), decisions.clone()).service()));
    wiring.serve(auth.before(DashboardRpcs::new(runner, decisions.clone()).service()));
    wiring.serve(auth.before(ModelRpcs::new(shelf, decisions).service()));
    Ok(())
}

fn workers(config: &Config) -> worker::Settings {
    worker::Settings {
        at_once: config.analytics.workers,
        lease: Duration::from_secs(config.analytics.lease_seconds),
        follow_every: Duration::from_millis(config.analytics.follow_milliseconds),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        memory_bytes: config.analytics.memory_mib << 20,
        spill_bytes: config.analytics.spill_gib << 30,
        ..Limits::default()
    }
}

fn sources(config: &Config) -> Sources {
    let source = |source: &node::config::DataSource| Source {
        name: source.name.clone(),
        kind: source.kind.clone(),
        path: source.path.clone(),
    };
    Sources(config.analytics.sources.iter().map(source).collect())
}
