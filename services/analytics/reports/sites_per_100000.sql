-- title: Health-centre sites for 100,000 people by state
-- about: Sites of one release against the newest estimate of the population. A territory without an estimate has no rate; a
-- about: state without a site has 0, unless there is no site of the release at all: then nothing is known.
-- about: The newest release is the last whole one: at least half as large as the largest (site_releases).
-- alias: get_sites_per_100000
-- tables: sites, state_population
-- uses: site_releases
-- source: Health Resources and Services Administration (HRSA)
-- source: Census Bureau, Population Estimates (vintage 2023)
-- parameter: vintage | text(16) | default newest | release, as site_releases has it; newest is the last whole one
-- column: state | text | | postal code
-- column: n_sites | integer | 1 | sites
-- column: population | integer | 1 | people
-- column: population_year | integer | a | year of the estimate
-- column: sites_per_100000 | double | 1/100000 | sites for 100,000 people
-- order: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM site_releases WHERE whole
),
site AS (
  SELECT s.* FROM sites s JOIN release r ON s.vintage = r.vintage
),
number AS (
  SELECT state, count(*) AS n_sites FROM site GROUP BY state
),
known AS (
  SELECT count(*) AS n_all FROM site
),
people AS (
  SELECT state, year, population
  FROM state_population
  WHERE state <> 'US' AND year = (SELECT max(year) FROM state_population)
)
SELECT
  coalesce(n.state, p.state) AS state,
  CASE WHEN k.n_all > 0 THEN coalesce(n.n_sites, 0) END AS n_sites,
  p.population AS population,
  p.year AS population_year,
  round(100000.0 * CASE WHEN k.n_all > 0 THEN coalesce(n.n_sites, 0) END / CAST(nullif(p.population, 0) AS DOUBLE), 4)
    AS sites_per_100000
FROM number n
FULL JOIN people p ON n.state = p.state
CROSS JOIN known k
ORDER BY state
