//! Schedules and notifications in a node: from its settings to what keeps them.

use analytics::{
    jobs::{
        kinds::{Kinds, checked},
        step::Notify,
    },
    notify::{Channels, Encryption, Mail, MailSettings, Webhook},
    pipelines,
    schedules::{Missed, Schedule, What, timetable::Timetable},
};
use anyhow::{Context, anyhow, bail};
use guard::clock;
use std::{fs, path::Path, sync::Arc};
use wardline::settings::{MissedFirings, NotifySettings, ScheduleSettings, SmtpTls, Tell};

/// The schedules of the settings.
///
/// # Errors
/// What one of them names is not there.
pub fn schedules(settings: &[ScheduleSettings], kinds: &Kinds) -> anyhow::Result<Vec<Schedule>> {
    let all = settings.iter().enumerate();
    all.map(|(at, one)| schedule(one, kinds).with_context(|| format!("analytics.schedules[{at}]"))).collect()
}

fn schedule(settings: &ScheduleSettings, kinds: &Kinds) -> anyhow::Result<Schedule> {
    let ScheduleSettings { name, cron, time_zone, pipeline, kind, parameters, missed, notify } = settings;
    let timetable = Timetable::new(cron, time_zone).map_err(|wrong| anyhow!(wrong))?;
    let what = match pipelines::find(pipeline) {
        Some(pipeline) => What::Pipeline(pipeline.name.clone()),
        None if !pipeline.is_empty() => {
            let names: Vec<_> = pipelines::all().iter().map(|pipeline| pipeline.name.as_str()).collect();
            bail!("pipeline: must be one of {}", names.join(", "));
        }
        None => {
            checked(&kinds.find(kind)?.parameters(), parameters)?;
            What::Job(kind.clone(), parameters.clone())
        }
    };
    let missed = match missed {
        MissedFirings::CatchUp => Missed::CatchUp,
        MissedFirings::Skip => Missed::Skip,
    };
    let notify = match notify {
        Tell::Never => Notify::Never,
        Tell::Failure => Notify::Failure,
        Tell::Always => Notify::Always,
    };
    Ok(Schedule { name: name.clone(), timetable, what, missed, notify })
}

/// In which ways somebody is told.
///
/// # Errors
/// A file cannot be read, or an address is none.
pub fn channels(settings: &NotifySettings) -> anyhow::Result<Channels> {
    let NotifySettings { webhook, smtp } = settings;
    let mut channels = Channels::default();
    if !webhook.url.is_empty() {
        let secret = secret("analytics.notify.webhook.secret_file", &webhook.secret_file)?;
        let made = Webhook::new(&webhook.url, secret.as_ref().map(String::as_bytes), clock::now);
        channels.webhook = Some(Arc::new(made.map_err(|wrong| anyhow!("analytics.notify.webhook.{wrong}"))?));
    }
    if !smtp.host.is_empty() {
        let password = secret("analytics.notify.smtp.password_file", &smtp.password_file)?;
        let settings = MailSettings {
            host: smtp.host.clone(),
            port: smtp.port,
            encryption: match smtp.tls {
                SmtpTls::Tls => Encryption::Tls,
                SmtpTls::StartTls => Encryption::StartTls,
                SmtpTls::None => Encryption::None,
            },
            from: smtp.from.clone(),
            to: smtp.to.clone(),
            login: password.map(|password| (smtp.user.clone(), password)),
        };
        let made = Mail::new(settings).map_err(|wrong| anyhow!("analytics.notify.smtp.{wrong}"))?;
        channels.mail = Some(Arc::new(made));
    }
    Ok(channels)
}

/// What a file holds, without the end of its line; none where no file is named.
fn secret(name: &str, path: &Path) -> anyhow::Result<Option<String>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("{name} {}", path.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        bail!("{name} {}: is empty", path.display());
    }
    Ok(Some(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use analytics::jobs::task::Task;

    fn settings(name: &str, cron: &str, pipeline: &str, kind: &str) -> ScheduleSettings {
        let [name, cron, pipeline, kind] = [name, cron, pipeline, kind].map(str::to_owned);
        ScheduleSettings { name, cron, pipeline, kind, ..Default::default() }
    }

    #[test]
    fn a_schedule_that_cannot_be_kept_is_refused_by_name() {
        let kinds = Kinds::new([Arc::new(Task) as _]);
        let good = [settings("a", "0 2 * * *", "daily", ""), settings("b", "0 * * * *", "", "task")];
        let read = schedules(&good, &kinds).unwrap();
        assert_eq!(read[0].what, What::Pipeline("daily".to_owned()));
        assert_eq!(read[1].what, What::Job("task".to_owned(), Default::default()));
        for (wrong, said) in [
            (settings("a", "0 2 * *", "daily", ""), "cron"),
            (settings("a", "0 2 * * *", "nightly", ""), "pipeline: must be one of daily"),
            (settings("a", "0 2 * * *", "", "taks"), "kind: must be one of task"),
            (ScheduleSettings { time_zone: "Here".to_owned(), ..settings("a", "0 2 * * *", "daily", "") }, "time_zone"),
            (
                ScheduleSettings {
                    parameters: [("m".to_owned(), "1".to_owned())].into(),
                    ..settings("a", "0 2 * * *", "", "task")
                },
                "parameters.m",
            ),
        ] {
            let error = format!("{:#}", schedules(&[good[0].clone(), wrong], &kinds).unwrap_err());
            assert!(error.contains("analytics.schedules[1]") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_secret_is_what_its_file_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert_eq!(secret("x", Path::new("")).unwrap(), None);
        assert!(secret("x", &path).is_err());
        fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(secret("x", &path).unwrap().as_deref(), Some("s3cret"));
        fs::write(&path, "\n").unwrap();
        assert!(secret("x", &path).is_err());
    }
}
