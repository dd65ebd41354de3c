-- title: How much there is of everything
-- about: One row: hospitals and sites of the newest releases, beds, states and their people, cities, prescribers.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases and site_releases).
-- alias: get_summary
-- tables: hospitals, hospital_locations, state_population, cities, prescribers, sites
-- uses: hospital_releases, site_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- source: CovidCareMap, from HCRIS, HIFLD and Definitive Healthcare
-- source: Census Bureau, Population Estimates (vintage 2023)
-- source: SimpleMaps US Cities (Basic)
-- source: Health Resources and Services Administration (HRSA)
-- column: n_hospitals | integer | 1 | hospitals
-- column: n_rated_hospitals | integer | 1 | of them with a rating
-- column: mean_rating | double | 1 | mean of their stars
-- column: n_staffed_beds | integer | 1 | staffed beds of the located hospitals
-- column: n_states | integer | 1 | states with an estimate, and the District of Columbia
-- column: population | integer | 1 | their people, newest estimate
-- column: n_cities | integer | 1 | cities
-- column: n_prescribers | integer | 1 | different prescribers
-- column: n_sites | integer | 1 | health-centre sites
-- order: n_hospitals
WITH hospital AS (
  SELECT count(*) AS n_hospitals, count(overall_rating) AS n_rated_hospitals, round(avg(overall_rating), 4) AS mean_rating
  FROM hospitals
  WHERE vintage = (SELECT max(vintage) FROM hospital_releases WHERE whole)
),
bed AS (
  SELECT sum(n_staffed_beds) AS n_staffed_beds FROM hospital_locations
),
people AS (
  SELECT count(DISTINCT state) AS n_states, sum(population) AS population
  FROM state_population
  WHERE state <> 'US' AND year = (SELECT max(year) FROM state_population)
),
city AS (
  SELECT count(*) AS n_cities FROM cities
),
prescriber AS (
  SELECT count(DISTINCT npi) AS n_prescribers FROM prescribers
),
site AS (
  SELECT count(*) AS n_sites FROM sites WHERE vintage = (SELECT max(vintage) FROM site_releases WHERE whole)
)
SELECT
  n_hospitals, n_rated_hospitals, mean_rating, n_staffed_beds, n_states, population, n_cities, n_prescribers, n_sites
FROM hospital
CROSS JOIN bed
CROSS JOIN people
CROSS JOIN city
CROSS JOIN prescriber
CROSS JOIN site
ORDER BY n_hospitals
