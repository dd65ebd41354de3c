-- title: Weekly outbreak signal: fever and fast breathing by county of residence, against the county's own history
-- about: Of the patients of a county with good readings of a week (from Monday, UTC) how many had a body temperature of at least
-- about: 38.0 Cel, and how many a mean respiratory rate above 20 /min on one of its days. Expected is the same share of the weeks
-- about: before, the last two left out, so that a slow rise does not hide itself; z is by how many standard deviations the week lies
-- about: above it, which is that of the weeks' shares, and at least that of chance. It is a signal from 11 patients and z = 3 on,
-- about: with at least 8 weeks of history. Residence is that of today, of patients whose profile names a county. What a device took
-- about: back does not count; what people took back counts. Of fewer than 11 patients nothing is told, nor of the next larger county
-- about: where the rest would tell; nor is a week compared with a history in which fewer than 11 patients, or all but so few, had the sign.
-- tables: readings, residences
-- source: this installation
-- parameter: weeks | integer 1..520 | default 4 | so many whole weeks, up to the last before the newest good reading
-- parameter: history_weeks | integer 8..520 | default 26 | so many weeks of history, of which the two before a week are left out
-- column: week | date | | its Monday
-- column: county | text | | FIPS code of the county
-- column: sign | text | | fever or fast breathing
-- column: suppressed | boolean | | whether something is not told because it is of too few patients
-- column: n_patients | integer | 1 | patients with good readings of that kind
-- column: n_with_sign | integer | 1 | those with the sign
-- column: percent | double | % | of the patients
-- column: expected_percent | double | % | of the patients of the weeks before
-- column: z | double | 1 | standard deviations above that
-- column: signal | boolean | | whether it is a signal; none without a history that can be told
-- order: week desc, county, sign
WITH newest AS (SELECT (to_unixtime(date_trunc('week', max(measured_at))) / 86400 + 3) / 7 AS week FROM readings WHERE good),
day AS (
  SELECT
    h.county, r.patient_id,
    (to_unixtime(date_trunc('week', r.measured_at)) / 86400 + 3) / 7 AS week,
    CASE WHEN r.metric = '9279-1' THEN 'fast breathing' ELSE 'fever' END AS sign,
    CASE
      WHEN r.metric = '9279-1' THEN sum(CAST(r.value AS DECIMAL(18, 3))) > 20 * count(*)
      ELSE max(r.value) >= 38
    END AS is_there
  FROM counted_readings r
  JOIN residences h ON h.patient_id = r.patient_id
  WHERE r.good AND r.value IS NOT NULL
    AND r.metric IN ('9279-1', '8310-5', '8329-5', '8331-1', '8332-9', '8333-7', '8328-7', '8334-5', '60834-9', '60836-4')
  GROUP BY h.county, r.patient_id, date_trunc('week', r.measured_at), CAST(r.measured_at AS DATE), r.metric
),
patient AS (
  SELECT county, patient_id, week, sign, max(CASE WHEN is_there THEN 1 ELSE 0 END) AS is_there
  FROM day
  GROUP BY county, patient_id, week, sign
),
-- each with what its county's week came to, by windows and not by joins of itself: what is named twice is read twice
counted AS (
  SELECT *,
    count(*) OVER own AS n,
    sum(is_there) OVER own AS n_there,
    row_number() OVER (PARTITION BY county, week, sign ORDER BY patient_id) = 1 AS is_first
  FROM patient
  WINDOW own AS (PARTITION BY county, week, sign)
),
number AS (
  SELECT a.n + 8 * b.n + 64 * c.n AS n
  FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7)) AS a (n)
  CROSS JOIN (VALUES (0), (1), (2), (3), (4), (5), (6), (7)) AS b (n)
  CROSS JOIN (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8)) AS c (n)
),
asked AS (SELECT w.week - 1 - i.n AS week FROM newest w CROSS JOIN number i WHERE i.n < $weeks),
-- for each week that is asked for: its own, and those of its history
seen AS (
  SELECT a.week, c.county, c.sign, c.patient_id, c.is_there, c.n, c.n_there,
    c.week = a.week AS is_own,
    c.week < a.week AS is_past,
    c.week < a.week AND c.is_first AS is_past_week,
    -- a decimal: sums of it do not depend on who adds up what first
    CAST(round(CAST(c.n_there AS DOUBLE) / c.n, 6) AS DECIMAL(10, 6)) AS share
  FROM counted c
  JOIN asked a ON c.week = a.week OR c.week BETWEEN a.week - $history_weeks AND a.week - 3
),
past AS (
  SELECT week, county, sign,
    sum(CASE WHEN is_own THEN 1 ELSE 0 END) AS n,
    sum(CASE WHEN is_own THEN is_there ELSE 0 END) AS n_there,
    -- who they were in those weeks
    count(DISTINCT CASE WHEN is_past THEN patient_id END) AS n_before,
    count(DISTINCT CASE WHEN is_past AND is_there = 1 THEN patient_id END) AS n_there_before,
    sum(CASE WHEN is_past_week THEN 1 ELSE 0 END) AS past_weeks,
    CAST(sum(CASE WHEN is_past_week THEN n END) AS DOUBLE) AS past_n,
    CAST(sum(CASE WHEN is_past_week THEN n_there END) AS DOUBLE) AS past_there,
    CAST(sum(CASE WHEN is_past_week THEN share END) AS DOUBLE) AS shares,
    CAST(sum(CASE WHEN is_past_week THEN share * share END) AS DOUBLE) AS squares
  FROM seen
  GROUP BY week, county, sign
),
compared AS (
  SELECT
    week, county, sign, n, n_there, n_before, n_there_before,
    100 * CAST(n_there AS DOUBLE) / n AS percent,
    CASE WHEN past_weeks >= 8 THEN 100 * past_there / past_n END AS expected_percent,
    -- where nobody ever had it, one in twice as many as there were is what chance may hide
    CASE WHEN past_weeks >= 8 THEN
      (CAST(n_there AS DOUBLE) / n - past_there / past_n) / sqrt(greatest(
        (squares - shares * shares / past_weeks) / (past_weeks - 1),
        (past_there + 0.5) / (past_n + 1) * (1 - (past_there + 0.5) / (past_n + 1)) / n
      ))
    END AS z
  FROM past
  WHERE n > 0
),
told AS (
  SELECT
    *,
    -- the smallest are left out, and one more where what is left out would be fewer than 11 in all
    n >= 11 AND coalesce(
      sum(n) OVER (PARTITION BY week, sign ORDER BY n, county ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 11
    ) >= 11 AS is_told
  FROM compared
),
counts AS (
  SELECT
    *,
    -- of a few a number, or all but a few, would tell of these few
    is_told AND n_there NOT BETWEEN 1 AND 10 AND n - n_there NOT BETWEEN 1 AND 10 AS is_count_told,
    is_told AND n_before >= 11 AND n_there_before NOT BETWEEN 1 AND 10 AND n_before - n_there_before NOT BETWEEN 1 AND 10
      AS is_past_told
  FROM told
)
SELECT
  CAST(to_timestamp_seconds((week * 7 - 3) * 86400) AS DATE) AS week,
  county,
  sign,
  NOT is_count_told AS suppressed,
  CASE WHEN is_told THEN n END AS n_patients,
  CASE WHEN is_count_told THEN n_there END AS n_with_sign,
  CASE WHEN is_count_told THEN round(percent, 1) END AS percent,
  CASE WHEN is_past_told THEN round(expected_percent, 1) END AS expected_percent,
  CASE WHEN is_count_told AND is_past_told THEN round(z, 1) END AS z,
  CASE WHEN is_told AND is_past_told THEN z >= 3 AND n_there >= 11 END AS signal
FROM counts
ORDER BY week DESC NULLS LAST, county NULLS LAST, sign NULLS LAST
