-- title: What makes people of the states vulnerable
-- about: Counties' percentages, weighted by people or, where they are of households, by households: an approximation, because
-- about: some are of parts of the people. The newest year. Connecticut has planning regions from 2022 on.
-- alias: get_social_determinants
-- tables: social_vulnerability
-- source: CDC/ATSDR Social Vulnerability Index
-- column: state | text | | postal code
-- column: year | integer | a | last year of the five that were surveyed
-- column: n_counties | integer | 1 | counties
-- column: population | integer | 1 | people
-- column: poverty_150_percent | double | % | people below 150 % of the poverty line
-- column: unemployed_percent | double | % | of the labour force
-- column: housing_burden_percent | double | % | households with little income and high housing cost
-- column: no_high_school_percent | double | % | of people of 25 and over
-- column: uninsured_percent | double | % | people without health insurance
-- column: disability_percent | double | % | people with a disability
-- column: limited_english_percent | double | % | people who speak English less than well
-- column: no_vehicle_percent | double | % | households without a vehicle
-- column: no_internet_percent | double | % | households without the internet
-- column: minority_percent | double | % | people other than white, not Hispanic
-- column: in_most_vulnerable_percent | double | % | people in counties of the most vulnerable quarter of the nation
-- order: state
WITH county AS (
  SELECT * FROM social_vulnerability WHERE year = (SELECT max(year) FROM social_vulnerability)
)
SELECT
  state,
  year,
  count(*) AS n_counties,
  sum(population) AS population,
  round(sum(poverty_150_percent * population) / nullif(sum(population) FILTER (WHERE poverty_150_percent IS NOT NULL), 0), 2)
    AS poverty_150_percent,
  round(sum(unemployed_percent * population) / nullif(sum(population) FILTER (WHERE unemployed_percent IS NOT NULL), 0), 2)
    AS unemployed_percent,
  round(sum(housing_burden_percent * n_households) / nullif(sum(n_households) FILTER (WHERE housing_burden_percent IS NOT NULL), 0), 2)
    AS housing_burden_percent,
  round(sum(no_high_school_percent * population) / nullif(sum(population) FILTER (WHERE no_high_school_percent IS NOT NULL), 0), 2)
    AS no_high_school_percent,
  round(sum(uninsured_percent * population) / nullif(sum(population) FILTER (WHERE uninsured_percent IS NOT NULL), 0), 2)
    AS uninsured_percent,
  round(sum(disability_percent * population) / nullif(sum(population) FILTER (WHERE disability_percent IS NOT NULL), 0), 2)
    AS disability_percent,
  round(sum(limited_english_percent * population) / nullif(sum(population) FILTER (WHERE limited_english_percent IS NOT NULL), 0), 2)
    AS limited_english_percent,
  round(sum(no_vehicle_percent * n_households) / nullif(sum(n_households) FILTER (WHERE no_vehicle_percent IS NOT NULL), 0), 2)
    AS no_vehicle_percent,
  round(sum(no_internet_percent * n_households) / nullif(sum(n_households) FILTER (WHERE no_internet_percent IS NOT NULL), 0), 2)
    AS no_internet_percent,
  round(sum(minority_percent * population) / nullif(sum(population) FILTER (WHERE minority_percent IS NOT NULL), 0), 2)
    AS minority_percent,
  round(100.0 * sum(CASE WHEN rank_overall >= 0.75 THEN population ELSE 0 END)
    / nullif(CAST(sum(CASE WHEN rank_overall IS NOT NULL THEN population END) AS DOUBLE), 0), 2) AS in_most_vulnerable_percent
FROM county
GROUP BY state, year
ORDER BY state
