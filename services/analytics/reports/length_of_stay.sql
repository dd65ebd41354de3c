-- title: Length of stay by the worst vital signs of its first day
-- about: A stay lasts while a patient's vital signs come: it is over when so many hours are without any, and those that may go on at
-- about: the newest reading do not count. Its vital signs of the first 24 hours get the points of NEWS2 (Royal College of Physicians,
-- about: 2017; oxygen saturation by scale 1, consciousness and oxygen left out), of which the most count; in `any` the most of all.
-- about: Of fewer than 11 patients nothing is told but that there are some, nor of the next larger group where the rest would tell.
-- tables: readings
-- source: this installation
-- parameter: silent_hours | integer 1..720 | default 24 | a stay is over after so many hours without a vital sign
-- column: vital_sign | text | | respiratory rate, oxygen saturation, systolic blood pressure, pulse, temperature, or any of them
-- column: worst_points | integer | 1 | most points of NEWS2 that it had in the first 24 hours, 0 to 3
-- column: suppressed | boolean | | whether they are too few patients to tell of
-- column: n_patients | integer | 1 | patients
-- column: n_stays | integer | 1 | their stays
-- column: mean_hours | double | h | mean length of a stay
-- column: median_hours | double | h | median length of a stay
-- order: vital_sign, worst_points
WITH newest AS (SELECT to_unixtime(date_trunc('hour', max(measured_at))) / 3600 AS hour FROM readings WHERE good),
sign AS (
  SELECT
    patient_id,
    to_unixtime(date_trunc('hour', measured_at)) / 3600 AS hour,
    CASE
      WHEN metric = '9279-1' THEN 'respiratory rate'
      WHEN metric = '59408-5' THEN 'oxygen saturation'
      WHEN metric IN ('8480-6', '76215-3') THEN 'systolic blood pressure'
      WHEN metric IN ('8867-4', '8889-8') THEN 'pulse'
      ELSE 'temperature'
    END AS vital_sign,
    -- as a chart would show it
    CASE WHEN metric IN ('9279-1', '59408-5', '8480-6', '76215-3', '8867-4', '8889-8') THEN round(value) ELSE round(value, 1) END
      AS value
  FROM counted_readings
  WHERE good AND value IS NOT NULL
    AND metric IN (
      '9279-1', '59408-5', '8480-6', '76215-3', '8867-4', '8889-8',
      '8310-5', '8329-5', '8331-1', '8332-9', '8333-7', '8328-7', '8334-5', '60834-9', '60836-4'
    )
),
hour AS (
  SELECT
    patient_id, hour, vital_sign,
    max(CASE
      WHEN vital_sign = 'respiratory rate' THEN
        CASE WHEN value <= 8 OR value >= 25 THEN 3 WHEN value >= 21 THEN 2 WHEN value <= 11 THEN 1 ELSE 0 END
      WHEN vital_sign = 'oxygen saturation' THEN
        CASE WHEN value <= 91 THEN 3 WHEN value <= 93 THEN 2 WHEN value <= 95 THEN 1 ELSE 0 END
      WHEN vital_sign = 'systolic blood pressure' THEN
        CASE WHEN value <= 90 OR value >= 220 THEN 3 WHEN value <= 100 THEN 2 WHEN value <= 110 THEN 1 ELSE 0 END
      WHEN vital_sign = 'pulse' THEN
        CASE WHEN value <= 40 OR value >= 131 THEN 3 WHEN value >= 111 THEN 2 WHEN value <= 50 OR value >= 91 THEN 1 ELSE 0 END
      ELSE CASE WHEN value <= 35 THEN 3 WHEN value >= 39.1 THEN 2 WHEN value <= 36 OR value >= 38.1 THEN 1 ELSE 0 END
    END) AS points
  FROM sign
  GROUP BY patient_id, hour, vital_sign
),
marked AS (
  -- an hour has a row for each vital sign: the second one begins nothing
  SELECT *,
    CASE WHEN hour - lag(hour) OVER (PARTITION BY patient_id ORDER BY hour, vital_sign) <= $silent_hours THEN 0 ELSE 1 END AS begins
  FROM hour
),
numbered AS (
  SELECT *,
    sum(begins) OVER (
      PARTITION BY patient_id ORDER BY hour, vital_sign ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS number
  FROM marked
),
-- by windows, not by joins of itself: what is named twice is read twice
stay AS (
  SELECT patient_id, hour, vital_sign, points,
    min(hour) OVER (PARTITION BY patient_id, number) AS first,
    max(hour) OVER (PARTITION BY patient_id, number) AS last
  FROM numbered
),
worst AS (
  SELECT s.patient_id, s.first, s.last - s.first + 1 AS hours, s.vital_sign, max(s.points) AS points
  FROM stay s
  CROSS JOIN newest n
  WHERE s.hour <= s.first + 23 AND n.hour - s.last > $silent_hours
  GROUP BY s.patient_id, s.first, s.last, s.vital_sign
),
line AS (
  SELECT patient_id, hours,
    CASE WHEN of_any THEN 'any' ELSE vital_sign END AS vital_sign,
    CASE WHEN of_any THEN worst_of_any ELSE points END AS points
  FROM (
    SELECT *,
      max(points) OVER (PARTITION BY patient_id, first) AS worst_of_any,
      row_number() OVER (PARTITION BY patient_id, first ORDER BY vital_sign) AS place
    FROM worst
  )
  CROSS JOIN (VALUES (false), (true)) AS kind (of_any)
  WHERE NOT of_any OR place = 1
),
counted AS (
  SELECT vital_sign, points, count(DISTINCT patient_id) AS n_patients, count(*) AS n_stays, sum(hours) AS hours,
    median(CAST(hours AS DOUBLE)) AS median_hours
  FROM line
  GROUP BY vital_sign, points
),
told AS (
  SELECT
    *,
    -- the smallest are left out, and one more where what is left out would be fewer than 11 in all
    n_patients >= 11 AND coalesce(
      sum(n_patients) OVER (
        PARTITION BY vital_sign ORDER BY n_patients, points ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ), 11
    ) >= 11 AS is_told
  FROM counted
)
SELECT
  vital_sign,
  CAST(points AS BIGINT) AS worst_points,
  NOT is_told AS suppressed,
  CASE WHEN is_told THEN n_patients END AS n_patients,
  CASE WHEN is_told THEN n_stays END AS n_stays,
  CASE WHEN is_told THEN round(CAST(hours AS DOUBLE) / n_stays, 1) END AS mean_hours,
  CASE WHEN is_told THEN round(median_hours, 1) END AS median_hours
FROM told
ORDER BY vital_sign NULLS LAST, worst_points NULLS LAST
