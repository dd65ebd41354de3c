-- title: How much of each day the archive has of each metric
-- about: Days are those of UTC, by the time of measurement; an hour counts when a patient has a reading in it. Doubtful is what
-- about: has a flag, was taken back by its device, or was measured by a clock that was never set. What a device sent again in
-- about: another stream counts once; a value that a later one of the same instant corrects counts beside it. Of fewer than 11
-- about: patients nothing is told but that there are some.
-- tables: readings
-- source: this installation
-- parameter: days | integer 1..3650 | default 30 | so many days, up to that of the newest good reading
-- column: day | date | | day of measurement
-- column: metric | text | | code of the metric
-- column: suppressed | boolean | | whether they are fewer than 11 patients
-- column: n_patients | integer | 1 | patients with a reading
-- column: n_readings | integer | 1 | readings
-- column: doubtful_percent | double | % | of the readings
-- column: mean_hours | double | h | hours with a reading, a patient
-- column: n_whole_days | integer | 1 | patients with a reading in each of 24 hours
-- order: day desc, metric
WITH newest AS (SELECT CAST(max(measured_at) AS DATE) AS day FROM readings WHERE good),
hour AS (
  SELECT
    r.patient_id, r.metric,
    CAST(r.measured_at AS DATE) AS day,
    date_trunc('hour', r.measured_at) AS hour,
    count(*) AS n_readings,
    sum(CASE WHEN r.good THEN 0 ELSE 1 END) AS n_doubtful
  FROM counted_readings r
  CROSS JOIN newest n
  WHERE CAST(r.measured_at AS DATE) <= n.day
    AND to_unixtime(r.measured_at) >= to_unixtime(CAST(n.day AS TIMESTAMP)) - 86400 * ($days - 1)
  GROUP BY r.patient_id, r.metric, CAST(r.measured_at AS DATE), date_trunc('hour', r.measured_at)
),
patient AS (
  SELECT patient_id, metric, day, count(*) AS n_hours, sum(n_readings) AS n_readings, sum(n_doubtful) AS n_doubtful
  FROM hour
  GROUP BY patient_id, metric, day
),
counted AS (
  SELECT
    day, metric,
    count(*) AS n_patients,
    sum(n_readings) AS n_readings,
    sum(n_doubtful) AS n_doubtful,
    sum(n_hours) AS n_hours,
    sum(CASE WHEN n_hours = 24 THEN 1 ELSE 0 END) AS n_whole_days,
    count(*) >= 11 AS is_told
  FROM patient
  GROUP BY day, metric
)
SELECT
  day,
  metric,
  NOT is_told AS suppressed,
  CASE WHEN is_told THEN n_patients END AS n_patients,
  CASE WHEN is_told THEN n_readings END AS n_readings,
  CASE WHEN is_told THEN round(100 * CAST(n_doubtful AS DOUBLE) / n_readings, 2) END AS doubtful_percent,
  CASE WHEN is_told THEN round(CAST(n_hours AS DOUBLE) / n_patients, 2) END AS mean_hours,
  -- of a few a number, or all but a few, would tell of these few
  CASE WHEN is_told AND n_whole_days NOT BETWEEN 1 AND 10 AND n_patients - n_whole_days NOT BETWEEN 1 AND 10 THEN n_whole_days END
    AS n_whole_days
FROM counted
ORDER BY day DESC NULLS LAST, metric NULLS LAST
