-- title: People of the states by age, sex and origin
-- about: Sums over counties for the newest year (not the census base). Origins are those of the panel of states, 2018.
-- alias: get_demographics
-- tables: county_population, state_panel
-- source: Census Bureau, Population Estimates (vintage 2023)
-- source: Opioid Environment Policy Scan (OEPS), from ACS, HRSA, CDC and KFF
-- column: state | text | | postal code
-- column: year | integer | a | year of the estimate
-- column: population | integer | 1 | people
-- column: n_counties | integer | 1 | counties that were summed
-- column: female_percent | double | % | women and girls
-- column: under_5_percent | double | % | people under 5
-- column: under_18_percent | double | % | people under 18
-- column: over_64_percent | double | % | people of 65 and over
-- column: over_84_percent | double | % | people of 85 and over
-- column: white_percent | double | % | 2018
-- column: black_percent | double | % | 2018
-- column: asian_percent | double | % | 2018
-- column: hispanic_percent | double | % | 2018
-- order: state
WITH people AS (
  SELECT
    state,
    year,
    count(*) AS n_counties,
    sum(population) AS population,
    sum(n_female) AS n_female,
    sum(n_under_5) AS n_under_5,
    sum(population - n_over_17) AS n_under_18,
    sum(n_over_64) AS n_over_64,
    sum(n_over_84) AS n_over_84
  FROM county_population
  WHERE year = (SELECT max(year) FROM county_population)
  GROUP BY state, year
)
SELECT
  p.state AS state,
  p.year AS year,
  p.population AS population,
  p.n_counties AS n_counties,
  round(100.0 * n_female / CAST(nullif(p.population, 0) AS DOUBLE), 2) AS female_percent,
  round(100.0 * n_under_5 / CAST(nullif(p.population, 0) AS DOUBLE), 2) AS under_5_percent,
  round(100.0 * n_under_18 / CAST(nullif(p.population, 0) AS DOUBLE), 2) AS under_18_percent,
  round(100.0 * n_over_64 / CAST(nullif(p.population, 0) AS DOUBLE), 2) AS over_64_percent,
  round(100.0 * n_over_84 / CAST(nullif(p.population, 0) AS DOUBLE), 2) AS over_84_percent,
  s.white_percent AS white_percent,
  s.black_percent AS black_percent,
  s.asian_percent AS asian_percent,
  s.hispanic_percent AS hispanic_percent
FROM people p
LEFT JOIN state_panel s ON p.state = s.state
ORDER BY state
