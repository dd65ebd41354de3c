//! Schedules in the settings, and who is told how work ended; and what can be wrong with them.

use super::AnalyticsSettings;
use node::{choices, config::is_set};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

/// Most characters of a schedule's name.
const NAME_CHARS: usize = 64;

/// `[[analytics.schedules]]`. Everything has a default, so that each key can be checked alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct ScheduleSettings {
    pub name: String,
    pub cron: String,
    pub time_zone: String,
    pub pipeline: String,
    pub kind: String,
    pub parameters: BTreeMap<String, String>,
    pub missed: MissedFirings,
    pub notify: Tell,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            cron: String::new(),
            time_zone: "UTC".to_owned(),
            pipeline: String::new(),
            kind: String::new(),
            parameters: BTreeMap::new(),
            missed: MissedFirings::CatchUp,
            notify: Tell::Failure,
        }
    }
}

choices! {
    MissedFirings { CatchUp = "catch_up", Skip = "skip" }
    Tell { Never = "never", Failure = "failure", Always = "always" }
    SmtpTls { Tls = "tls", StartTls = "starttls", None = "none" }
}

/// `[analytics.notify]`: who is told how jobs and runs of pipelines ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct NotifySettings {
    pub webhook: WebhookSettings,
    pub smtp: SmtpSettings,
}

/// `[analytics.notify.webhook]`: where a JSON object is posted, and what signs it; an empty `url`: nowhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct WebhookSettings {
    pub url: String,
    pub secret_file: PathBuf,
}

/// `[analytics.notify.smtp]`: the mail server, from whom and to whom; an empty `host`: nobody gets mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    pub from: String,
    pub to: Vec<String>,
    pub user: String,
    pub password_file: PathBuf,
}

/// What does not go together. What a pattern, a time zone, a kind of job or an address must be, analytics says when it starts.
pub(super) fn mistakes(settings: &AnalyticsSettings) -> Vec<String> {
    let (mut found, mut names) = (Vec::new(), HashSet::new());
    for (at, schedule) in settings.schedules.iter().enumerate() {
        let mut wrong = |key: &str, text: &str| found.push(format!("analytics.schedules[{at}].{key}: {text}"));
        let name = &schedule.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > NAME_CHARS || !name.chars().all(is_plain) {
            wrong("name", "1 to 64 letters, digits, - and _");
        } else if !names.insert(name) {
            wrong("name", "another schedule has it");
        }
        if schedule.cron.is_empty() {
            wrong("cron", "five fields, as in \"0 2 * * *\"");
        }
        match (schedule.kind.is_empty(), schedule.pipeline.is_empty()) {
            (true, true) => wrong("pipeline", "name a pipeline, or a kind of job with `kind`"),
            (false, false) => wrong("kind", "a schedule submits a pipeline or a kind of job, not both"),
            (true, false) if !schedule.parameters.is_empty() => wrong("parameters", "a pipeline takes none"),
            _ => {}
        }
    }
    let NotifySettings { webhook, smtp } = &settings.notify;
    let rules = [
        (is_set(&webhook.secret_file) && webhook.url.is_empty(), "webhook.url: name the address"),
        (smtp.host.is_empty() && (!smtp.from.is_empty() || !smtp.to.is_empty()), "smtp.host: name the mail server"),
        (
            !smtp.host.is_empty() && (smtp.from.is_empty() || smtp.to.is_empty()),
            "smtp.from and smtp.to: give addresses",
        ),
        (is_set(&smtp.password_file) == smtp.user.is_empty(), "smtp.user and smtp.password_file: both or none"),
        (!smtp.user.is_empty() && smtp.tls == SmtpTls::None, "smtp.tls: a password is not sent in the clear"),
    ];
    found.extend(rules.iter().filter(|(wrong, _)| *wrong).map(|(_, text)| format!("analytics.notify.{text}")));
    found
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;
    use node::config::{MANUAL, Sources};
    use std::{fs, path::Path};

    fn load(dir: &Path, text: &str) -> Result<Settings, String> {
        let file = dir.join("node.toml");
        fs::write(&file, text).unwrap();
        let read = crate::settings::tests::load(&Sources { file: Some(file), ..Sources::default() });
        read.map(|(_, settings)| settings)
    }

    #[test]
    fn a_schedule_of_the_manual_is_read_and_none_is_there_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path(), "").unwrap().analytics.schedules.is_empty());
        let lines = MANUAL.lines().skip_while(|line| *line != "#   [[analytics.schedules]]");
        let example: Vec<_> = lines.map_while(|line| line.strip_prefix("#   ")).collect();
        assert!(example.len() > 4, "{example:?}");
        let config = load(dir.path(), &example.join("\n")).unwrap();
        let [schedule] = config.analytics.schedules.as_slice() else { panic!("one schedule") };
        let read = (schedule.cron.as_str(), schedule.time_zone.as_str(), schedule.pipeline.as_str());
        assert_eq!(read, ("0 2 * * *", "America/New_York", "daily"));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let schedules = "
            [[analytics.schedules]]
            name = \"two words\"
            [[analytics.schedules]]
            name = \"a\"
            cron = \"0 2 * * *\"
            pipeline = \"daily\"
            kind = \"task\"
            [[analytics.schedules]]
            name = \"a\"
            cron = \"0 2 * * *\"
            pipeline = \"daily\"
            parameters = { n = \"1\" }
            [analytics.notify.webhook]
            secret_file = \"secret\"
            [analytics.notify.smtp]
            host = \"localhost\"
            tls = \"none\"
            user = \"a\"
        ";
        let text = load(dir.path(), schedules).unwrap_err();
        for part in [
            "schedules[0].name",
            "schedules[0].cron",
            "schedules[0].pipeline",
            "schedules[1].kind",
            "schedules[2].name",
            "schedules[2].parameters",
            "notify.webhook.url",
            "notify.smtp.from",
            "notify.smtp.user",
            "notify.smtp.tls",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        let text = load(dir.path(), "[[analytics.schedules]]\nmissed = \"perhaps\"\nwhen = 1").unwrap_err();
        assert!(text.contains("schedules[0].missed") && text.contains("schedules[0].when"), "{text}");
    }
}
