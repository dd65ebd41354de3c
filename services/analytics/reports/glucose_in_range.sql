-- title: Glucose of continuous monitors: time below, in and above range, by day
-- about: Good readings of interstitial glucose (LOINC 99504-3) in mg/dL, by day of UTC; each counts for the time that a sensor
-- about: waits until its next one. What a sensor shows as LO or HI is below or above. The glucose management indicator is 3.31 +
-- about: 0.02392 times the mean. What a device sent again in another stream counts once, what it took back does not count; what
-- about: people took back counts, and a value that a later one of the same instant corrects counts beside it. Of fewer than 11
-- about: patients nothing is told but that there are some.
-- tables: readings
-- source: this installation
-- parameter: days | integer 1..3650 | default 30 | so many days, up to that of the newest good reading
-- column: day | date | | day of measurement
-- column: suppressed | boolean | | whether they are fewer than 11 patients
-- column: n_patients | integer | 1 | patients with a reading
-- column: n_readings | integer | 1 | readings
-- column: below_54_percent | double | % | of the readings below 54 mg/dL
-- column: below_70_percent | double | % | of the readings below 70 mg/dL, those below 54 too
-- column: in_range_percent | double | % | of the readings from 70 to 180 mg/dL
-- column: above_180_percent | double | % | of the readings above 180 mg/dL, those above 250 too
-- column: above_250_percent | double | % | of the readings above 250 mg/dL
-- column: mean_glucose | double | mg/dL | mean of the readings, LO and HI as the limit that they lie beyond
-- column: management_indicator_percent | double | % | glucose management indicator
-- order: day desc
WITH newest AS (SELECT CAST(max(measured_at) AS DATE) AS day FROM readings WHERE good),
glucose AS (
  SELECT
    r.patient_id,
    CAST(r.measured_at AS DATE) AS day,
    r.value,
    -- `<40` lies below what it says
    r.value < 54 OR r.value <= 54 AND r.comparator IN ('<') AS is_below_54,
    r.value < 70 OR r.value <= 70 AND r.comparator IN ('<') AS is_below_70,
    r.value > 180 OR r.value >= 180 AND r.comparator IN ('>') AS is_above_180,
    r.value > 250 OR r.value >= 250 AND r.comparator IN ('>') AS is_above_250
  FROM counted_readings r
  CROSS JOIN newest n
  WHERE r.metric = '99504-3' AND r.good AND r.value IS NOT NULL
    AND CAST(r.measured_at AS DATE) <= n.day
    AND to_unixtime(r.measured_at) >= to_unixtime(CAST(n.day AS TIMESTAMP)) - 86400 * ($days - 1)
),
counted AS (
  SELECT
    day,
    count(DISTINCT patient_id) AS n_patients,
    count(*) AS n_readings,
    sum(CASE WHEN is_below_54 THEN 1 ELSE 0 END) AS n_below_54,
    sum(CASE WHEN is_below_70 THEN 1 ELSE 0 END) AS n_below_70,
    sum(CASE WHEN is_above_180 THEN 1 ELSE 0 END) AS n_above_180,
    sum(CASE WHEN is_above_250 THEN 1 ELSE 0 END) AS n_above_250,
    sum(CAST(value AS DECIMAL(18, 3))) AS total
  FROM glucose
  GROUP BY day
),
told AS (
  SELECT day, n_patients >= 11 AS is_told, n_patients, n_readings, n_below_54, n_below_70, n_above_180, n_above_250,
    CAST(total AS DOUBLE) / n_readings AS mean
  FROM counted
)
SELECT
  day,
  NOT is_told AS suppressed,
  CASE WHEN is_told THEN n_patients END AS n_patients,
  CASE WHEN is_told THEN n_readings END AS n_readings,
  CASE WHEN is_told THEN round(100 * CAST(n_below_54 AS DOUBLE) / n_readings, 2) END AS below_54_percent,
  CASE WHEN is_told THEN round(100 * CAST(n_below_70 AS DOUBLE) / n_readings, 2) END AS below_70_percent,
  CASE WHEN is_told THEN round(100 * CAST(n_readings - n_below_70 - n_above_180 AS DOUBLE) / n_readings, 2) END
    AS in_range_percent,
  CASE WHEN is_told THEN round(100 * CAST(n_above_180 AS DOUBLE) / n_readings, 2) END AS above_180_percent,
  CASE WHEN is_told THEN round(100 * CAST(n_above_250 AS DOUBLE) / n_readings, 2) END AS above_250_percent,
  CASE WHEN is_told THEN round(mean, 1) END AS mean_glucose,
  CASE WHEN is_told THEN round(3.31 + 0.02392 * mean, 2) END AS management_indicator_percent
FROM told
ORDER BY day DESC NULLS LAST
