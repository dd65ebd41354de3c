-- title: Hospitals by type
-- about: Hospitals of one release that are registered with Medicare, by what they are.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_hospitals_by_type
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | default all | only this state
-- parameter: vintage | text(16) | default newest | release, as hospital_releases has it; newest is the last whole one
-- column: hospital_type | text | | acute care, critical access, psychiatric, children's ...
-- column: n_hospitals | integer | 1 | hospitals
-- column: percent | double | % | of all of them
-- column: n_emergency | integer | 1 | with emergency services
-- column: n_rated | integer | 1 | with a rating
-- column: mean_rating | double | 1 | mean of the stars, 1 to 5, of those rated
-- order: n_hospitals desc, hospital_type
-- key: hospital_type
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM hospital_releases WHERE whole
),
hospital AS (
  SELECT h.* FROM hospitals h JOIN release r ON h.vintage = r.vintage
),
number AS (
  SELECT
    hospital_type,
    count(*) AS n_hospitals,
    sum(CASE WHEN emergency THEN 1 ELSE 0 END) AS n_emergency,
    count(overall_rating) AS n_rated,
    round(avg(overall_rating), 4) AS mean_rating
  FROM hospital
  WHERE $state = 'all' OR state = $state
  GROUP BY hospital_type
)
SELECT
  hospital_type,
  n_hospitals,
  round(100.0 * n_hospitals / CAST(sum(n_hospitals) OVER () AS DOUBLE), 2) AS percent,
  n_emergency,
  n_rated,
  mean_rating
FROM number
ORDER BY n_hospitals DESC NULLS LAST, hospital_type
