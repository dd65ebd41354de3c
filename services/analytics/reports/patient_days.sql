-- title: Patient-days: what patients had of each metric on each day
-- about: Each patient's good readings of a day of UTC become one count, mean, least and greatest, so that one who is measured each
-- about: second counts as much as one who is measured each hour; this is what these come to over the day's patients. A bound counts
-- about: as the number that the value lies beyond. What a device sent again in another stream counts once, what it took back does not
-- about: count; what people took back counts, and a value that a later one of the same instant corrects counts beside it. Of fewer
-- about: than 11 patients nothing is told but that there are some. Each patient's days, without names: the job `features`.
-- tables: readings
-- source: this installation
-- parameter: days | integer 1..3650 | default 30 | so many days, up to that of the newest good reading
-- column: day | date | | day of measurement
-- column: metric | text | | code of the metric
-- column: suppressed | boolean | | whether they are fewer than 11 patients
-- column: n_patients | integer | 1 | patients with a good reading that is a number
-- column: mean_readings | double | 1 | mean number of these readings, a patient
-- column: mean | double | the metric's own | mean of the patients' means
-- column: standard_deviation | double | the metric's own | of the patients' means
-- column: mean_least | double | the metric's own | mean of the patients' least values
-- column: mean_greatest | double | the metric's own | mean of the patients' greatest values
-- order: day desc, metric
WITH newest AS (SELECT CAST(max(measured_at) AS DATE) AS day FROM readings WHERE good),
-- decimals: their sums do not depend on who adds up what first
patient AS (
  SELECT
    r.patient_id, r.metric,
    CAST(r.measured_at AS DATE) AS day,
    count(*) AS n_readings,
    CAST(round(CAST(sum(CAST(r.value AS DECIMAL(18, 3))) AS DOUBLE) / count(*), 3) AS DECIMAL(18, 3)) AS mean,
    CAST(min(r.value) AS DECIMAL(18, 3)) AS least,
    CAST(max(r.value) AS DECIMAL(18, 3)) AS greatest
  FROM counted_readings r
  CROSS JOIN newest n
  WHERE r.good AND r.value IS NOT NULL AND CAST(r.measured_at AS DATE) <= n.day
    AND to_unixtime(r.measured_at) >= to_unixtime(CAST(n.day AS TIMESTAMP)) - 86400 * ($days - 1)
  GROUP BY r.patient_id, r.metric, CAST(r.measured_at AS DATE)
),
counted AS (
  SELECT
    day, metric,
    CAST(count(*) AS DOUBLE) AS n,
    CAST(sum(n_readings) AS DOUBLE) AS n_readings,
    CAST(sum(mean) AS DOUBLE) AS means,
    CAST(sum(mean * mean) AS DOUBLE) AS squares,
    CAST(sum(least) AS DOUBLE) AS leasts,
    CAST(sum(greatest) AS DOUBLE) AS greatests
  FROM patient
  GROUP BY day, metric
)
SELECT
  day,
  metric,
  n < 11 AS suppressed,
  CASE WHEN n >= 11 THEN CAST(n AS BIGINT) END AS n_patients,
  CASE WHEN n >= 11 THEN round(n_readings / n, 2) END AS mean_readings,
  CASE WHEN n >= 11 THEN round(means / n, 2) END AS mean,
  CASE WHEN n >= 11 THEN round(sqrt(greatest((squares - means * means / n) / (n - 1), 0)), 2) END AS standard_deviation,
  CASE WHEN n >= 11 THEN round(leasts / n, 2) END AS mean_least,
  CASE WHEN n >= 11 THEN round(greatests / n, 2) END AS mean_greatest
FROM counted
ORDER BY day DESC NULLS LAST, metric NULLS LAST
