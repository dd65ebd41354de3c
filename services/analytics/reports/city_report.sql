-- title: Prescribers, claims, ZIP codes and population by city
-- about: A city without a prescriber has no row. A prescriber counts once in each city. What is written in a city that is not
-- about: in the list of cities stands in one line of the state, unmatched, so that the claims add up. Rows without an
-- about: identifier count no prescriber; their claims count.
-- alias: get_city_report
-- tables: cities, prescribers
-- source: SimpleMaps US Cities (Basic)
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | default all | only this state
-- column: state | text | | postal code
-- column: city | text | | name of the city; unmatched for those that are not found
-- column: city_key | text | | city in the form of cities.city_key
-- column: n_zips | integer | 1 | ZIP codes of the city
-- column: n_prescribers | integer | 1 | different prescribers
-- column: n_claims | integer | 1 | claims that are known
-- column: n_rows_without_claims | integer | 1 | rows whose claims are blank
-- column: population | integer | 1 | people of the city
-- column: matched | boolean | | whether the city is in the list
-- order: state, matched desc, city_key
-- key: state, city_key
WITH city AS (
  SELECT state, city_key, city, n_zips, population
  FROM (
    SELECT state, city_key, city, n_zips, population,
      row_number() OVER (PARTITION BY state, city_key ORDER BY population DESC, county_fips) AS place
    FROM cities
  )
  WHERE place = 1
),
person AS (
  SELECT state, city_key, npi, sum(n_claims) AS n_claims, count(*) - count(n_claims) AS n_blank
  FROM prescribers
  WHERE $state = 'all' OR state = $state
  GROUP BY state, city_key, npi
)
SELECT
  p.state AS state,
  coalesce(c.city, 'unmatched') AS city,
  c.city_key AS city_key,
  max(c.n_zips) AS n_zips,
  -- one row each where the city is known; those of several unknown names are told apart; no row without an identifier counts
  count(CASE WHEN c.city_key IS NOT NULL THEN p.npi END) + count(DISTINCT CASE WHEN c.city_key IS NULL THEN p.npi END)
    AS n_prescribers,
  sum(p.n_claims) AS n_claims,
  CAST(sum(p.n_blank) AS BIGINT) AS n_rows_without_claims,
  max(c.population) AS population,
  c.city_key IS NOT NULL AS matched
FROM city c -- first, so that the few cities and not the prescribers are held in memory
RIGHT JOIN person p ON p.state = c.state AND p.city_key = c.city_key
GROUP BY p.state, c.city_key, c.city
ORDER BY state, matched DESC NULLS LAST, city_key NULLS LAST
