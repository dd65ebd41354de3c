-- title: Health-centre sites by the year in which they were added
-- about: Sites of one release by the year in which they came into scope: those that were closed since are not in the file.
-- about: Sites without a date stand in a line without a year.
-- alias: get_site_growth
-- tables: sites
-- source: Health Resources and Services Administration (HRSA)
-- parameter: state | state | default all | only sites of this state
-- parameter: vintage | text(16) | default newest | release: 2020 or daily; newest is the last imported
-- column: year | integer | a | year
-- column: n_added | integer | 1 | sites added in this year
-- column: n_cumulative | integer | 1 | sites added until the end of this year
-- order: year
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM sites
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
