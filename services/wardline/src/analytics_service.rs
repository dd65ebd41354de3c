//! Analytics in a node: jobs and those who do them, data sets, reports.

use crate::{analytics_schedules, archive_service, places};
use analytics::{
    catalogue::Catalogue,
    check_quality::CheckQuality,
    dashboard::DashboardRpcs,
    data_rpcs::DataRpcs,
    datasets,
    extracts::{Extract, Studies},
    import::Import,
    insights::InsightsKind,
    jobs::{
        board::Board,
        kinds::{Kind, Kinds},
        orders::Orders,
        rpcs::JobRpcs,
        submit::Submit,
        task::Task,
        worker,
    },
    modelling::{ModelRpcs, Shelf, Train},
    models::Pipeline,
    notify::{Notifier, Watcher},
    objects::Objects,
    pipelines::Planner,
    postgres::CopyPostgres,
    report_rpcs::ReportRpcs,
    reporting::{ReportKind, Runner},
    reports::Limits,
    residences::Residences,
    schedule_rpcs::ScheduleRpcs,
    schedules::Keeper,
    sources::Sources,
    sql::{Statements, Turns, flight::Flight},
    uploads::Uploads,
};
use anyhow::Context;
use auth::Pseudonyms;
use guard::{clock, decisions::Decisions};
use node::{
    config::Config,
    wiring::{Need, Service, Wiring, spawn},
};
use std::{sync::Arc, time::Duration};
use wardline::settings::{self, AnalyticsSettings, Settings};

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "analytics",
    about: "jobs, data sets, reports and models of reference data",
    needs: &[Need::Store, Need::Directory, Need::Audit],
    metrics: analytics::metrics::METRICS,
    check: Some(settings::mistakes),
    wire,
};

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, (auth, decisions)) = (wiring.config, wiring.audited()?);
    let histories = wiring.backends.store.histories.clone();
    let settings = Settings::of(config)?;
    let dir = settings.objects_dir(config);
    let objects = Objects::open(&dir).with_context(|| format!("analytics.objects_dir {}", dir.display()))?;
    let catalogue = Catalogue::new(histories.clone(), objects.clone(), clock::now);
    let uploads = Uploads::new(objects.clone(), clock::now);
    let (readings, settings) = (archive_service::readings(config, &settings)?, settings.analytics);
    let sources = sources(&settings)?;
    let residences = Residences::new(decisions.live().clone(), wiring.backends.store.registry.clone());
    let runner = Runner::new(catalogue.clone(), limits(&settings)).with_readings(readings).with_residences(residences);
    let import =
        Import { catalogue: catalogue.clone(), uploads: uploads.clone(), sources: sources.clone(), clock: clock::now };
    let board = Board::new(histories.clone(), clock::now);
    let channels = analytics_schedules::channels(&settings.notify)?;
    let told = channels.names();
    let notifier = Notifier { board: board.clone(), channels };
    let copy = places::postgres(&settings).map(|to| CopyPostgres::new(runner.clone(), to)).transpose();
    let copy = copy.context("analytics.postgres")?.map(|copy| Arc::new(copy) as Arc<dyn Kind>);
    let (check, insights) = (CheckQuality { catalogue: catalogue.clone() }, InsightsKind { runner: runner.clone() });
    let shelf = Shelf::new(histories.clone(), objects.clone(), clock::now);
    let train = Train { runner: runner.clone(), shelf: shelf.clone(), clock: clock::now, pipeline: Pipeline::named };
    let kinds: [Arc<dyn Kind>; 6] =
        [Arc::new(Task), Arc::new(import), Arc::new(notifier), Arc::new(check), Arc::new(insights), Arc::new(train)];
    let names = names(config)?;
    let extracts = extracts(config, (&runner, &decisions), names.as_ref());
    let sql = Statements {
        runner: runner.clone(),
        decisions: decisions.clone(),
        names,
        tolerance: config.tolerance(),
        limits: Limits { n_rows: settings.sql_rows, ..limits(&settings) },
        time: Duration::from_secs(settings.sql_seconds),
        turns: Turns::new(settings.sql_at_once),
    };
    let kinds = Kinds::new(kinds.into_iter().chain(copy).chain(extracts).chain(ReportKind::all(&runner)));
    let orders = |kinds| Orders { board: board.clone(), kinds, pause_seconds: settings.retry_pause_seconds };
    let planner = Planner {
        orders: orders(kinds.clone()),
        sources: sources.clone(),
        catalogue: catalogue.clone(),
        channels: told.clone(),
    };
    // a pipeline is no step of a pipeline
    let kinds = Kinds::new(kinds.all().into_iter().cloned().chain([Arc::new(planner.clone()) as _]));
    let orders = orders(kinds.clone());
    let schedules = analytics_schedules::schedules(&settings.schedules, &kinds)?;
    let keeper = Keeper::new(schedules, histories, orders.clone());
    let worker = worker::Worker::new(board, kinds, workers(&settings));
    spawn(wiring.tasks, worker.run(wiring.stop.clone()));
    spawn(wiring.tasks, uploads.clone().keep_swept(wiring.stop.clone()));
    if !told.is_empty() {
        spawn(wiring.tasks, Watcher::new(orders.clone(), told).run(wiring.stop.clone()));
    }
    spawn(wiring.tasks, keeper.clone().run(wiring.stop.clone()));
    let submit = Submit { orders: orders.clone(), decisions: decisions.clone() };
    wiring.serve(auth.before(ScheduleRpcs::new(keeper, planner, orders, decisions.clone()).service()));
    wiring.serve(auth.before(JobRpcs::new(submit.clone(), objects).service()));
    wiring.serve(auth.before(DataRpcs::new(catalogue, uploads, sources, submit, decisions.clone()).service()));
    wiring.serve(auth.before(ReportRpcs::new(runner.clone(), decisions.clone()).service()));
    wiring.serve(auth.before(DashboardRpcs::new(runner, decisions.clone()).service()));
    wiring.serve(auth.before(ModelRpcs::new(shelf, decisions).service()));
    wiring.serve(auth.before(Flight::new(sql).service()));
    Ok(())
}

/// Names of subjects, where studies are offered.
fn names(config: &Config) -> anyhow::Result<Option<Arc<Pseudonyms>>> {
    let Some(key) = config.study_key_file() else { return Ok(None) };
    Ok(Some(Arc::new(Pseudonyms::open(&key, config.study.max_days).context("study.key_file")?)))
}

/// Extracts, where studies are offered.
fn extracts(
    config: &Config,
    (runner, decisions): (&Runner, &Decisions),
    names: Option<&Arc<Pseudonyms>>,
) -> Vec<Arc<dyn Kind>> {
    let Some(names) = names.cloned() else { return Vec::new() };
    let (runner, decisions) = (runner.clone(), decisions.clone());
    let studies = Studies { runner, decisions, names, tolerance: config.tolerance() };
    vec![Arc::new(Extract::readings(studies.clone())), Arc::new(Extract::features(studies))]
}

fn workers(settings: &AnalyticsSettings) -> worker::Settings {
    worker::Settings {
        at_once: settings.workers,
        lease: Duration::from_secs(settings.lease_seconds),
        follow_every: Duration::from_millis(settings.follow_milliseconds),
    }
}

fn limits(settings: &AnalyticsSettings) -> Limits {
    Limits { memory_bytes: settings.memory_mib << 20, spill_bytes: settings.spill_gib << 30, ..Limits::default() }
}

fn sources(settings: &AnalyticsSettings) -> anyhow::Result<Sources> {
    let sources = places::sources(settings);
    for source in &sources.0 {
        datasets::kind(&source.kind).with_context(|| format!("analytics.sources: {}", source.name))?;
    }
    Ok(sources)
}
