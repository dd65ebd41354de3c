-- title: Releases of health-centre sites that are imported
-- about: A release with at least half as many sites as the largest one is whole; one with fewer is an excerpt. Reports
-- about: take the newest whole release; where they have the parameter vintage, it asks for any of these.
-- tables: sites
-- source: Health Resources and Services Administration (HRSA)
-- column: vintage | text | | release
-- column: n_sites | integer | 1 | sites
-- column: n_states | integer | 1 | states and territories with one
-- column: whole | boolean | | whether it is no excerpt
-- column: newest | boolean | | whether it is the one that reports take
-- order: vintage
WITH release AS (
  SELECT vintage, count(*) AS n_sites, count(DISTINCT state) AS n_states FROM sites GROUP BY vintage
),
judged AS (
  SELECT vintage, n_sites, n_states, 2 * n_sites >= max(n_sites) OVER () AS whole FROM release
)
SELECT vintage, n_sites, n_states, whole, vintage = max(CASE WHEN whole THEN vintage END) OVER () AS newest
FROM judged
ORDER BY vintage
