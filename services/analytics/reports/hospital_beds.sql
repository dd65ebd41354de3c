-- title: Hospital beds by state
-- about: Beds of the located hospitals. A hospital without a number is not one without beds: it is counted apart. Occupancy is
-- about: weighted by staffed beds.
-- alias: get_hospital_beds
-- tables: hospital_locations, state_population
-- source: CovidCareMap, from HCRIS, HIFLD and Definitive Healthcare
-- source: Census Bureau, Population Estimates (vintage 2023)
-- column: state | text | | postal code
-- column: n_hospitals | integer | 1 | hospitals
-- column: n_without_beds | integer | 1 | of them without a number of staffed beds
-- column: n_staffed_beds | integer | 1 | beds with staff
-- column: n_icu_beds | integer | 1 | intensive care beds with staff
-- column: n_licensed_beds | integer | 1 | beds that the licence allows
-- column: population | integer | 1 | people, newest estimate
-- column: staffed_beds_per_1000 | double | 1/1000 | staffed beds for 1,000 people
-- column: occupancy | double | 1 | share of staffed beds in use
-- order: state
WITH people AS (
  SELECT state, year, population
  FROM state_population
  WHERE state <> 'US' AND year = (SELECT max(year) FROM state_population)
),
bed AS (
  SELECT
    state,
    count(*) AS n_hospitals,
    count(*) - count(n_staffed_beds) AS n_without_beds,
    sum(n_staffed_beds) AS n_staffed_beds,
    sum(n_icu_beds) AS n_icu_beds,
    sum(n_licensed_beds) AS n_licensed_beds,
    sum(occupancy * n_staffed_beds) AS used,
    sum(CASE WHEN occupancy IS NOT NULL THEN n_staffed_beds END) AS known
  FROM hospital_locations
  GROUP BY state
)
SELECT
  b.state AS state, n_hospitals, n_without_beds, n_staffed_beds, n_icu_beds, n_licensed_beds,
  p.population AS population,
  round(1000.0 * n_staffed_beds / CAST(nullif(p.population, 0) AS DOUBLE), 4) AS staffed_beds_per_1000,
  round(used / CAST(nullif(known, 0) AS DOUBLE), 4) AS occupancy
FROM bed b
LEFT JOIN people p ON b.state = p.state
ORDER BY state
