//! The judgement, through the public API only: what a doctor sees, against the ledger.

use super::{
    content::Content,
    ledger::Account,
    load::{Device, QUIET_LIMIT},
};
use crate::{Bed, builders, with_token};
use model::Nanos;
use prost::Message;
use proto::telemetry::v1::{
    LatestReadingsRequest, ReadTimelineRequest, ReadTrendRequest, StoredReading, TimelineLayout, stored_reading::Value,
    timeline_service_client::TimelineServiceClient,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

/// Violations said word for word, a patient; the rest is only counted.
const WORDS_MAX: usize = 5;
const LARGEST_PAGE_BYTES: usize = 16 << 20;
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What a patient's timeline holds beside what was acknowledged.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Readings that are visible, once each.
    pub visible: u64,
    /// Readings of acknowledged batches.
    pub acknowledged: u64,
    /// Acknowledged and not visible.
    pub lost: u64,
    /// Visible more than once.
    pub twice: u64,
    /// Visible, and never sent like that.
    pub never_sent: u64,
    /// Visible, with another content or time of acceptance than before the topic was replayed.
    pub changed: u64,
    /// Hours whose rollup is not what their readings amount to.
    pub rolled_up_wrong: u64,
}

/// All that is visible of one patient: what it is, by sequence and index.
pub type Seen = BTreeMap<(u64, u32), u64>;

/// By metric and the second in which an hour starts: how many readings, the least and the greatest.
type Hours = BTreeMap<(String, i64), (u64, f64, f64)>;

/// A doctor with a connection.
#[derive(Clone)]
pub struct Judge {
    client: TimelineServiceClient<Channel>,
    token: String,
    content: Content,
}

impl Judge {
    /// Reads at `channel` with a doctor's token.
    pub fn new(channel: Channel, token: String, content: Content) -> Self {
        let client = TimelineServiceClient::new(channel).max_decoding_message_size(LARGEST_PAGE_BYTES);
        Self { client, token, content }
    }

    /// Waits until the newest reading of the patient is of batch `sequence`, or fails after `limit`: by then everything
    /// that lies before it in the log is in the store.
    pub async fn await_last(&self, bed: &Bed, sequence: u64, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let latest = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
            let found = self.client.clone().latest_readings(with_token(latest, &self.token)?).await;
            let found = found.map(|found| {
                let readings = found.into_inner().readings;
                readings.iter().filter_map(|latest| latest.reading.as_ref()).map(|reading| reading.sequence).max()
            });
            if matches!(found, Ok(Some(newest)) if newest >= sequence) {
                return Ok(());
            }
            let seen = found.map_err(|status| status.code());
            anyhow::ensure!(Instant::now() < deadline, "waited for batch {sequence}; last seen: {seen:?}");
            sleep(ASK_EVERY).await;
        }
    }

    /// Reads all of a device's patient and judges it. `lasts`: batches that were sent as the device's last.
    pub async fn judge(
        &self,
        device: &Device,
        account: Account,
        lasts: &BTreeSet<u64>,
        violations: &mut Vec<String>,
    ) -> anyhow::Result<(Verdict, Seen)> {
        let mut sheet = Sheet {
            content: self.content,
            number: device.number,
            stream_id: device.bed.stream.uuid().to_string(),
            account,
            lasts,
            newest: i64::MIN,
            verdict: Verdict::default(),
            seen: Seen::new(),
            hours: Hours::new(),
            words: Vec::new(),
        };
        let mut request = builders::everything(&device.bed);
        let deadline = Instant::now() + QUIET_LIMIT;
        loop {
            let page = match self.client.clone().read_timeline(with_token(request.clone(), &self.token)?).await {
                Ok(page) => page.into_inner(),
                Err(status) => {
                    anyhow::ensure!(Instant::now() < deadline, "a page cannot be read: {:?}", status.code());
                    sleep(ASK_EVERY).await;
                    continue;
                }
            };
            page.readings.iter().for_each(|reading| sheet.take(reading));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let trend = self.trend(&device.bed).await?;
        sheet.compare(&trend);
        Ok(sheet.close(violations))
    }

    /// What each hour of a patient came to, read as trends.
    async fn trend(&self, bed: &Bed) -> anyhow::Result<Hours> {
        let ReadTimelineRequest { patient_id, start_time: from, end_time: to, .. } = builders::everything(bed);
        let mut request = ReadTrendRequest { patient_id, start_time: from, end_time: to, ..Default::default() };
        let mut hours = Hours::new();
        loop {
            let page = self.client.clone().read_trend(with_token(request.clone(), &self.token)?).await?.into_inner();
            for trend in page.trends {
                for hour in trend.hours {
                    let start = hour.start.map_or(0, |start| start.seconds);
                    let (min, max) = (hour.min.unwrap_or(f64::NAN), hour.max.unwrap_or(f64::NAN));
                    hours.insert((trend.metric.clone(), start), (hour.n_readings + hour.n_doubtful, min, max));
                }
            }
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(hours);
            }
        }
    }

    /// How many readings of a patient are visible, read as columns.
    pub async fn count(&self, bed: &Bed) -> anyhow::Result<u64> {
        let mut request = ReadTimelineRequest {
            layout: TimelineLayout::Columns.into(),
            page_size: 100_000,
            ..builders::everything(bed)
        };
        let mut n_readings = 0;
        loop {
            let page = self.client.clone().read_timeline(with_token(request.clone(), &self.token)?).await?.into_inner();
            n_readings += page.series.iter().map(|series| series.measured_at_delta_ticks.len() as u64).sum::<u64>();
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(n_readings);
            }
        }
    }
}

/// One patient's judgement while it is made.
struct Sheet<'a> {
    content: Content,
    number: u32,
    stream_id: String,
    account: Account,
    lasts: &'a BTreeSet<u64>,
    newest: i64,
    verdict: Verdict,
    seen: Seen,
    hours: Hours,
    words: Vec<String>,
}

impl Sheet<'_> {
    fn take(&mut self, reading: &StoredReading) {
        let (sequence, index) = (reading.sequence, reading.index);
        let name = format!("device {}, batch {sequence}, reading {index}", self.number);
        let at = reading.measured_at.as_ref().and_then(guard::convert::nanos).unwrap_or(Nanos(i64::MIN)).0;
        if at < self.newest {
            self.words.push(format!("out of order: {name}"));
        }
        self.newest = at;
        if let (Some(Value::Number(number)), Some(at)) = (&reading.value, &reading.measured_at) {
            let key = (reading.metric.clone(), at.seconds.div_euclid(3_600) * 3_600);
            let (n, min, max) = self.hours.entry(key).or_insert((0, *number, *number));
            (*n, *min, *max) = (*n + 1, min.min(*number), max.max(*number));
        }
        let is_known = reading.stream_id == self.stream_id && (1..=self.account.sent).contains(&sequence);
        let fault = match is_known {
            true => self.content.fault(self.number, reading, self.lasts.contains(&sequence)),
            false => Some("nobody sent it".to_owned()),
        };
        if let Some(fault) = fault {
            self.verdict.never_sent += 1;
            self.words.push(format!("{fault}: {name}"));
        } else if self.seen.insert((sequence, index), digest(reading)).is_some() {
            self.verdict.twice += 1;
            self.words.push(format!("twice: {name}"));
        }
    }

    /// Compares what each hour came to with its readings.
    fn compare(&mut self, trend: &Hours) {
        let keys: BTreeSet<_> = self.hours.keys().chain(trend.keys()).collect();
        for key in keys {
            if trend.get(key) != self.hours.get(key) {
                self.verdict.rolled_up_wrong += 1;
                self.words.push(format!("rolled up wrong: device {}, {} in the hour of {}", self.number, key.0, key.1));
            }
        }
    }

    fn close(mut self, violations: &mut Vec<String>) -> (Verdict, Seen) {
        for sequence in 1..=self.account.acknowledged {
            let n_seen = self.seen.range((sequence, 0)..=(sequence, u32::MAX)).count() as u64;
            let n_lost = u64::from(self.content.batch).saturating_sub(n_seen);
            if n_lost > 0 {
                self.verdict.lost += n_lost;
                self.words.push(format!("lost: {n_lost} readings of device {}, batch {sequence}", self.number));
            }
        }
        self.verdict.visible = self.seen.len() as u64;
        self.verdict.acknowledged = self.account.acknowledged * u64::from(self.content.batch);
        let n_words = self.words.len();
        violations.extend(self.words.into_iter().take(WORDS_MAX));
        if n_words > WORDS_MAX {
            violations.push(format!("device {}: {} more of the kind", self.number, n_words - WORDS_MAX));
        }
        (self.verdict, self.seen)
    }
}

impl Verdict {
    /// Adds what was found of another patient.
    pub fn add(&mut self, other: &Self) {
        self.visible += other.visible;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.twice += other.twice;
        self.never_sent += other.never_sent;
        self.changed += other.changed;
        self.rolled_up_wrong += other.rolled_up_wrong;
    }
}

/// Readings of `before` that are not the same in `after`.
pub fn changed(before: &Seen, after: &Seen) -> u64 {
    before.iter().filter(|&(place, digest)| after.get(place) != Some(digest)).count() as u64
}

/// Of all there is to know of a reading, the time of its acceptance too.
fn digest(reading: &StoredReading) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&reading.encode_to_vec());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::telemetry::v1::reading;

    #[test]
    fn each_kind_of_violation_is_counted() {
        let content = Content::new(Nanos(1_700_000_000 * Nanos::SECOND), 2);
        let stored = |sequence: u64, index: u32| {
            let sent = &content.readings(0, sequence, false)[index as usize];
            let Some(reading::Value::Number(number)) = sent.value else { panic!("a number") };
            let (metric, measured_at, value) = (sent.metric.clone(), sent.measured_at, Some(Value::Number(number)));
            StoredReading { metric, measured_at, value, sequence, index, ..Default::default() }
        };
        let judged = |readings: &[StoredReading]| {
            let account = Account { sent: 3, acknowledged: 2 };
            let (lasts, mut violations) = (BTreeSet::new(), Vec::new());
            let mut sheet = Sheet {
                content,
                number: 0,
                stream_id: String::new(),
                account,
                lasts: &lasts,
                newest: i64::MIN,
                verdict: Verdict::default(),
                seen: Seen::new(),
                hours: Hours::new(),
                words: Vec::new(),
            };
            readings.iter().for_each(|reading| sheet.take(reading));
            let (verdict, seen) = sheet.close(&mut violations);
            ((verdict.lost, verdict.twice, verdict.never_sent, violations.is_empty()), seen)
        };
        let all = [stored(1, 0), stored(1, 1), stored(2, 0), stored(2, 1)];
        let (good, seen) = judged(&all);
        assert_eq!(good, (0, 0, 0, true));
        assert_eq!(judged(&[&all[..], &[stored(3, 0)]].concat()).0, good, "sent, not acknowledged: may be there");
        assert_eq!(judged(&all[..3]).0, (1, 0, 0, false));
        assert_eq!(judged(&[&all[..], &all[3..]].concat()).0, (0, 1, 0, false));
        assert_eq!(judged(&[&all[..], &[stored(4, 0)]].concat()).0, (0, 0, 1, false), "never sent");
        let altered = StoredReading { value: Some(Value::Number(-1.0)), ..all[3].clone() };
        assert_eq!(judged(&[&all[..3], &[altered]].concat()).0, (1, 0, 1, false), "altered");
        let mut later = all.clone();
        later[0].received_at = Some(guard::convert::timestamp(Nanos(1)));
        assert_eq!((changed(&seen, &judged(&all).1), changed(&seen, &judged(&later).1)), (0, 1));
    }
}
