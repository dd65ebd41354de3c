-- title: Preventable stays, insurance and poverty between groups of counties
-- about: Counties by rurality (the publisher's urban flag), by quarter of social vulnerability and by quarter of the share of
-- about: minorities. A county's numbers are joined within one geography, with the newest index that has it; means are weighted
-- about: by people. Counties with a blank among the numbers are counted apart.
-- alias: get_disparities
-- tables: preventable_stays, social_vulnerability
-- source: Centers for Medicare & Medicaid Services (CMS), Mapping Medicare Disparities
-- source: CDC/ATSDR Social Vulnerability Index
-- parameter: state | state | default all | only counties of this state
-- column: dimension | text | | rurality, vulnerability or minorities
-- column: group_name | text | | urban or rural; 1 (least) to 4 (most)
-- column: n_counties | integer | 1 | counties with all numbers
-- column: n_left_out | integer | 1 | counties with a blank
-- column: population | integer | 1 | people
-- column: stays_per_100000 | double | 1/100000 | preventable stays, Medicare fee for service
-- column: uninsured_percent | double | % | people without health insurance
-- column: poverty_150_percent | double | % | people below 150 % of the poverty line
-- order: dimension, group_name
WITH newest AS (
  SELECT geography, max(year) AS year FROM social_vulnerability GROUP BY geography
),
county AS (
  SELECT
    CASE WHEN p.urban THEN 'urban' WHEN NOT p.urban THEN 'rural' ELSE 'unknown' END AS rurality,
    CASE WHEN v.rank_overall < 0.25 THEN '1' WHEN v.rank_overall < 0.5 THEN '2' WHEN v.rank_overall < 0.75 THEN '3'
      WHEN v.rank_overall <= 1 THEN '4' ELSE 'unknown' END AS vulnerability,
    CASE WHEN v.rank_minority < 0.25 THEN '1' WHEN v.rank_minority < 0.5 THEN '2' WHEN v.rank_minority < 0.75 THEN '3'
      WHEN v.rank_minority <= 1 THEN '4' ELSE 'unknown' END AS minorities,
    p.stays_per_100000 IS NOT NULL AND v.population IS NOT NULL AND v.uninsured_percent IS NOT NULL
      AND v.poverty_150_percent IS NOT NULL AS complete,
    v.population, p.stays_per_100000, v.uninsured_percent, v.poverty_150_percent
  FROM preventable_stays p
  LEFT JOIN (
    SELECT s.* FROM social_vulnerability s JOIN newest n ON s.geography = n.geography AND s.year = n.year
  ) v ON p.fips = v.county_fips AND p.geography = v.geography
  WHERE p.level = 'county' AND p.year = (SELECT max(year) FROM preventable_stays WHERE level = 'county')
    AND ($state = 'all' OR p.state = $state)
),
long AS (
  SELECT d.dimension,
    CASE d.dimension WHEN 'rurality' THEN rurality WHEN 'vulnerability' THEN vulnerability ELSE minorities END AS group_name,
    c.complete,
    CASE WHEN complete THEN population END AS population,
    stays_per_100000, uninsured_percent, poverty_150_percent
  FROM county c
  CROSS JOIN (VALUES ('rurality'), ('vulnerability'), ('minorities')) AS d (dimension)
)
SELECT
  dimension,
  group_name,
  sum(CASE WHEN complete THEN 1 ELSE 0 END) AS n_counties,
  sum(CASE WHEN complete THEN 0 ELSE 1 END) AS n_left_out,
  sum(population) AS population,
  round(sum(stays_per_100000 * population) / nullif(CAST(sum(population) AS DOUBLE), 0), 1) AS stays_per_100000,
  round(sum(uninsured_percent * population) / nullif(CAST(sum(population) AS DOUBLE), 0), 2) AS uninsured_percent,
  round(sum(poverty_150_percent * population) / nullif(CAST(sum(population) AS DOUBLE), 0), 2) AS poverty_150_percent
FROM long
GROUP BY dimension, group_name
ORDER BY dimension, group_name
