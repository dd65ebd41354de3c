-- title: Hospitals by state
-- about: Hospitals of one release that are registered with Medicare. Acute care includes the departments of Defense and
-- about: Veterans.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_hospitals_by_state
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: vintage | text(16) | default newest | release, as hospital_releases has it; newest is the last whole one
-- column: state | text | | postal code
-- column: n_hospitals | integer | 1 | hospitals
-- column: n_acute | integer | 1 | acute care
-- column: n_critical_access | integer | 1 | critical access
-- column: n_other | integer | 1 | psychiatric, children's and others
-- column: n_emergency | integer | 1 | with emergency services
-- column: n_rated | integer | 1 | with a rating
-- column: mean_rating | double | 1 | mean of the stars, 1 to 5, of those rated
-- order: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM hospital_releases WHERE whole
),
hospital AS (
  SELECT h.* FROM hospitals h JOIN release r ON h.vintage = r.vintage
)
SELECT
  state,
  count(*) AS n_hospitals,
  sum(CASE WHEN hospital_type LIKE 'Acute Care%' THEN 1 ELSE 0 END) AS n_acute,
  sum(CASE WHEN hospital_type LIKE 'Critical Access%' THEN 1 ELSE 0 END) AS n_critical_access,
  sum(CASE WHEN hospital_type LIKE 'Acute Care%' OR hospital_type LIKE 'Critical Access%' THEN 0 ELSE 1 END) AS n_other,
  sum(CASE WHEN emergency THEN 1 ELSE 0 END) AS n_emergency,
  count(overall_rating) AS n_rated,
  round(avg(overall_rating), 4) AS mean_rating
FROM hospital
GROUP BY state
ORDER BY state
