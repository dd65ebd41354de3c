-- title: Devices in the archive: what they send, how late, and how good it is
-- about: Readings of the last days before the newest one that was received. A device is silent from its last batch to that
-- about: newest one. Doubtful is what has a flag, or was measured by a clock that was never set. A delay is from measurement to
-- about: receipt; a clock that is ahead makes it negative. More than one stream says that a device has lost its place;
-- about: what it sends again in another one counts again here.
-- tables: readings
-- source: this installation
-- parameter: days | integer 1..3650 | default 7 | so many days before the newest reading was received
-- column: device_id | text | | the device
-- column: silent_hours | double | h | since its last batch
-- column: n_streams | integer | 1 | streams of batches
-- column: n_batches | integer | 1 | batches
-- column: n_readings | integer | 1 | readings
-- column: n_metrics | integer | 1 | metrics
-- column: doubtful_percent | double | % | readings that something is known against
-- column: n_suspect_unit | integer | 1 | readings whose unit may be another one
-- column: n_unset_clock | integer | 1 | readings of a clock that was never set
-- column: n_absent | integer | 1 | readings without a value
-- column: mean_delay_seconds | double | s | mean delay
-- column: greatest_delay_seconds | integer | s | greatest delay
-- order: silent_hours desc, device_id
WITH newest AS (SELECT max(received_at) AS at FROM readings),
reading AS (
  SELECT
    r.device_id, r.stream_id, r.sequence, r.metric, r.good, r.clock, r.quality, r.absent_reason,
    to_unixtime(r.received_at) AS received,
    to_unixtime(r.received_at) - to_unixtime(r.measured_at) AS delay,
    to_unixtime(n.at) AS newest
  FROM readings r
  CROSS JOIN newest n
  WHERE to_unixtime(r.received_at) > to_unixtime(n.at) - 86400 * $days
),
batch AS (
  SELECT device_id, count(*) AS n_batches
  FROM (SELECT DISTINCT device_id, stream_id, sequence FROM reading)
  GROUP BY device_id
),
device AS (
  SELECT
    device_id,
    max(newest) - max(received) AS silent,
    count(DISTINCT stream_id) AS n_streams,
    count(*) AS n_readings,
    count(DISTINCT metric) AS n_metrics,
    sum(CASE WHEN good THEN 0 ELSE 1 END) AS n_doubtful,
    sum(CASE WHEN (quality & 32) <> 0 THEN 1 ELSE 0 END) AS n_suspect_unit,
    sum(CASE WHEN clock = 'unset' OR (quality & 64) <> 0 THEN 1 ELSE 0 END) AS n_unset_clock,
    count(absent_reason) AS n_absent,
    sum(delay) AS delays,
    max(delay) AS greatest
  FROM reading
  GROUP BY device_id
)
SELECT
  d.device_id,
  round(CAST(silent AS DOUBLE) / 3600, 2) AS silent_hours,
  n_streams,
  n_batches,
  n_readings,
  n_metrics,
  round(100 * CAST(n_doubtful AS DOUBLE) / n_readings, 2) AS doubtful_percent,
  n_suspect_unit,
  n_unset_clock,
  n_absent,
  round(CAST(delays AS DOUBLE) / n_readings, 1) AS mean_delay_seconds,
  greatest AS greatest_delay_seconds
FROM device d
JOIN batch b ON d.device_id = b.device_id
ORDER BY silent_hours DESC NULLS LAST, device_id NULLS LAST
