-- title: Releases of hospitals that are imported
-- about: A release with at least half as many hospitals as the largest one is whole; one with fewer is an excerpt. Reports
-- about: take the newest whole release; where they have the parameter vintage, it asks for any of these.
-- tables: hospitals
-- source: Centers for Medicare & Medicaid Services (CMS)
-- column: vintage | text | | release
-- column: n_hospitals | integer | 1 | hospitals
-- column: n_states | integer | 1 | states and territories with one
-- column: whole | boolean | | whether it is no excerpt
-- column: newest | boolean | | whether it is the one that reports take
-- order: vintage
WITH release AS (
  SELECT vintage, count(*) AS n_hospitals, count(DISTINCT state) AS n_states FROM hospitals GROUP BY vintage
),
judged AS (
  SELECT vintage, n_hospitals, n_states, 2 * n_hospitals >= max(n_hospitals) OVER () AS whole FROM release
)
SELECT vintage, n_hospitals, n_states, whole, vintage = max(CASE WHEN whole THEN vintage END) OVER () AS newest
FROM judged
ORDER BY vintage
