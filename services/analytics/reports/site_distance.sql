-- title: Distance from a health-centre site to the nearest other site, urban and rural
-- about: Great-circle distance. Urban is a RUCA code of 1 to 3, rural of 4 to 10: that of the site's ZIP code, or, where the
-- about: release has none, of the first ZIP code of its city. The nearest site may lie in another state.
-- about: The newest release is the last whole one: at least half as large as the largest (site_releases).
-- alias: get_site_distance
-- tables: sites, cities, zip_rurality
-- uses: site_releases
-- source: Health Resources and Services Administration (HRSA)
-- source: SimpleMaps US Cities (Basic)
-- source: Department of Agriculture, Economic Research Service (USDA ERS), RUCA 2010
-- parameter: state | state | default all | only sites of this state
-- parameter: vintage | text(16) | default newest | release, as site_releases has it; newest is the last whole one
-- column: rurality | text | | urban, rural or unknown
-- column: n_sites | integer | 1 | sites with coordinates
-- column: n_by_zip | integer | 1 | of them placed by their own ZIP code
-- column: n_by_city | integer | 1 | of them placed by their city
-- column: n_same_place | integer | 1 | of them with another site within 10 m
-- column: mean_km | double | km | mean distance
-- column: median_km | double | km | median distance
-- column: n_without_coordinates | integer | 1 | sites that have none
-- order: rurality
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM site_releases WHERE whole
),
site AS (
  SELECT s.* FROM sites s JOIN release r ON s.vintage = r.vintage
),
city AS (
  SELECT state, city_key, split_part(zips, ' ', 1) AS zip5
  FROM (
    SELECT state, city_key, zips,
      row_number() OVER (PARTITION BY state, city_key ORDER BY population DESC, county_fips) AS place
    FROM cities
  )
  WHERE place = 1
),
measured AS (
  SELECT state, city_key, zip5, latitude, longitude, nearest_km(latitude, longitude, TRUE) OVER () AS km FROM site
),
placed AS (
  SELECT
    m.km,
    m.latitude IS NOT NULL AND m.longitude IS NOT NULL AS located,
    z.ruca_primary AS by_zip,
    CASE WHEN z.ruca_primary IS NULL THEN c.ruca_primary END AS by_city
  FROM measured m
  LEFT JOIN zip_rurality z ON m.zip5 = z.zip5
  LEFT JOIN (
    SELECT city.state, city.city_key, r.ruca_primary FROM city JOIN zip_rurality r ON city.zip5 = r.zip5
  ) c ON m.state = c.state AND m.city_key = c.city_key
  WHERE $state = 'all' OR m.state = $state
)
SELECT
  CASE WHEN coalesce(by_zip, by_city) <= 3 THEN 'urban' WHEN coalesce(by_zip, by_city) >= 4 THEN 'rural' ELSE 'unknown' END
    AS rurality,
  sum(CASE WHEN located THEN 1 ELSE 0 END) AS n_sites,
  sum(CASE WHEN located AND by_zip IS NOT NULL THEN 1 ELSE 0 END) AS n_by_zip,
  sum(CASE WHEN located AND by_city IS NOT NULL THEN 1 ELSE 0 END) AS n_by_city,
  sum(CASE WHEN km < 0.01 THEN 1 ELSE 0 END) AS n_same_place,
  round(avg(km), 3) AS mean_km,
  round(median(km), 3) AS median_km,
  sum(CASE WHEN located THEN 0 ELSE 1 END) AS n_without_coordinates
FROM placed
GROUP BY 1
ORDER BY rurality
