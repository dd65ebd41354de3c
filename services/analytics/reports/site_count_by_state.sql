-- title: Number of health-centre sites by state
-- about: Sites of one release and the cities that they stand in, by state and territory.
-- about: The newest release is the last whole one: at least half as large as the largest (site_releases).
-- alias: get_site_count_by_state
-- alias: get_sites_count_by_state
-- tables: sites
-- uses: site_releases
-- source: Health Resources and Services Administration (HRSA)
-- parameter: vintage | text(16) | default newest | release, as site_releases has it; newest is the last whole one
-- column: state | text | | postal code
-- column: n_sites | integer | 1 | sites
-- column: n_cities | integer | 1 | cities with a site
-- order: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM site_releases WHERE whole
),
site AS (
  SELECT s.* FROM sites s JOIN release r ON s.vintage = r.vintage
)
SELECT state, count(*) AS n_sites, count(DISTINCT city_key) AS n_cities
FROM site
GROUP BY state
ORDER BY state
