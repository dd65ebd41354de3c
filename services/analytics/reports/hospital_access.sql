-- title: Distance to the nearest hospital by rurality of the county
-- about: Great-circle distance from each city to the nearest hospital; within a county weighted by the cities' populations,
-- about: between counties by the census. Weighting by cities alone would count suburbs twice. RUCC 1 to 3 is metropolitan, 4 to
-- about: 7 a county with a town of 5,000, 8 and 9 rural. The cities have the counties of 2020, the codes those of 2022:
-- about: Connecticut is unknown.
-- alias: get_hospital_access
-- tables: cities, county_rurality, hospital_locations
-- source: SimpleMaps US Cities (Basic)
-- source: Department of Agriculture, Economic Research Service (USDA ERS), RUCC 2023
-- source: CovidCareMap, from HCRIS, HIFLD and Definitive Healthcare
-- parameter: care | choice acute,all | default acute | acute: general acute care and critical access; all: every hospital
-- parameter: state | state | default all | only counties of this state
-- column: rurality | text | | metropolitan, town, rural or unknown
-- column: n_counties | integer | 1 | counties with a city
-- column: n_cities | integer | 1 | cities
-- column: population | integer | 1 | people of these counties, 2020
-- column: mean_km | double | km | mean distance, weighted by people
-- column: median_county_km | double | km | half of the counties lie further away
-- column: over_30_km_percent | double | % | people who live further than 30 km away
-- order: rurality
WITH spot AS (
  SELECT state, county_fips, population, latitude, longitude, FALSE AS hospital FROM cities
  UNION ALL
  SELECT state, NULL AS county_fips, NULL AS population, latitude, longitude, TRUE AS hospital
  FROM hospital_locations
  WHERE $care = 'all' OR hospital_type IN ('GENERAL ACUTE CARE', 'CRITICAL ACCESS')
),
measured AS (
  SELECT state, county_fips, CAST(greatest(population, 1) AS DOUBLE) AS weight, hospital,
    nearest_km(latitude, longitude, hospital) OVER () AS km
  FROM spot
),
county AS (
  SELECT
    county_fips,
    min(state) AS state,
    count(*) AS n_cities,
    sum(km * weight) / sum(weight) AS km,
    sum(CASE WHEN km > 30 THEN weight ELSE 0 END) / sum(weight) AS far
  FROM measured
  WHERE NOT hospital
  GROUP BY county_fips
),
placed AS (
  SELECT
    CASE WHEN r.rucc <= 3 THEN 'metropolitan' WHEN r.rucc <= 7 THEN 'town' WHEN r.rucc <= 9 THEN 'rural' ELSE 'unknown' END
      AS rurality,
    c.n_cities, c.km, c.far, r.population
  FROM county c
  LEFT JOIN county_rurality r ON c.county_fips = r.county_fips
  WHERE $state = 'all' OR c.state = $state
)
SELECT
  rurality,
  count(*) AS n_counties,
  CAST(sum(n_cities) AS BIGINT) AS n_cities,
  sum(population) AS population,
  round(sum(km * population) / nullif(CAST(sum(population) AS DOUBLE), 0), 3) AS mean_km,
  round(median(km), 3) AS median_county_km,
  round(100.0 * sum(far * population) / nullif(CAST(sum(population) AS DOUBLE), 0), 2) AS over_30_km_percent
FROM placed
GROUP BY rurality
ORDER BY rurality
