-- title: Health-centre sites by the year in which they were added
-- about: Sites of one release by the year in which they came into scope: those that were closed since are not in the file.
-- about: Sites without a date stand in a line without a year.
-- about: The newest release is the last whole one: at least half as large as the largest (site_releases).
-- alias: get_site_growth
-- tables: sites
-- uses: site_releases
-- source: Health Resources and Services Administration (HRSA)
-- parameter: state | state | default all | only sites of this state
-- parameter: vintage | text(16) | default newest | release, as site_releases has it; newest is the last whole one
-- column: year | integer | a | year
-- column: n_added | integer | 1 | sites added in this year
-- column: n_cumulative | integer | 1 | sites added until the end of this year
-- order: year
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM site_releases WHERE whole
),
site AS (
  SELECT s.* FROM sites s JOIN release r ON s.vintage = r.vintage
),
added AS (
  SELECT CAST(date_part('year', added_on) AS BIGINT) AS year, count(*) AS n_added
  FROM site
  WHERE $state = 'all' OR state = $state
  GROUP BY 1
)
SELECT
  year,
  n_added,
  CASE WHEN year IS NOT NULL THEN CAST(sum(n_added) OVER (ORDER BY year NULLS LAST) AS BIGINT) END AS n_cumulative
FROM added
ORDER BY year NULLS LAST
