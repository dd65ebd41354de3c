-- title: Life expectancy, infant mortality, preventable stays and deaths, readmissions by state
-- about: The newest year of each table. Preventable deaths are those of overdoses. A ratio of readmissions over 1 means more
-- about: than expected.
-- alias: get_quality
-- tables: life_expectancy, infant_mortality, preventable_stays, state_panel, readmissions
-- source: National Center for Health Statistics (NCHS)
-- source: National Center for Health Statistics (NCHS), Stats of the States
-- source: Centers for Medicare & Medicaid Services (CMS), Mapping Medicare Disparities
-- source: Opioid Environment Policy Scan (OEPS), from ACS, HRSA, CDC and KFF
-- source: Centers for Medicare & Medicaid Services (CMS)
-- column: state | text | | postal code
-- column: life_expectancy_year | integer | a | year
-- column: life_expectancy | double | a | years at birth, both sexes
-- column: life_expectancy_standard_error | double | a | of it
-- column: infant_mortality_year | integer | a | year
-- column: infant_deaths_per_1000 | double | 1/1000 | deaths under one year for 1,000 live births
-- column: preventable_stays_year | integer | a | year
-- column: preventable_stays_per_100000 | double | 1/100000 | Medicare fee for service, age-standardised
-- column: overdose_deaths_per_100000 | double | 1/100000 | mean of 2016-2020
-- column: n_readmission_ratios | integer | 1 | ratios of hospitals and measures that are known
-- column: n_readmission_ratios_withheld | integer | 1 | those that are not
-- column: mean_readmission_ratio | double | 1 | mean of the ratios of predicted and expected readmissions
-- column: over_expected_percent | double | % | ratios over 1
-- order: state
WITH life AS (
  SELECT state, year, life_expectancy, standard_error
  FROM life_expectancy
  WHERE sex = 'Total' AND state <> 'US' AND year = (SELECT max(year) FROM life_expectancy)
),
infant AS (
  SELECT state, year, deaths_per_1000
  FROM infant_mortality
  WHERE state <> 'US' AND year = (SELECT max(year) FROM infant_mortality)
),
stay AS (
  SELECT state, year, stays_per_100000
  FROM preventable_stays
  WHERE level = 'state' AND year = (SELECT max(year) FROM preventable_stays WHERE level = 'state')
),
again AS (
  SELECT
    state,
    count(excess_ratio) AS n,
    count(*) - count(excess_ratio) AS n_withheld,
    avg(excess_ratio) AS mean,
    100.0 * sum(CASE WHEN excess_ratio > 1 THEN 1 ELSE 0 END) / CAST(nullif(count(excess_ratio), 0) AS DOUBLE) AS more
  FROM readmissions
  WHERE starts_on = (SELECT max(starts_on) FROM readmissions)
  GROUP BY state
),
place AS (
  SELECT state FROM life UNION SELECT state FROM infant UNION SELECT state FROM stay UNION SELECT state FROM again
)
SELECT
  p.state AS state,
  l.year AS life_expectancy_year,
  l.life_expectancy AS life_expectancy,
  l.standard_error AS life_expectancy_standard_error,
  i.year AS infant_mortality_year,
  i.deaths_per_1000 AS infant_deaths_per_1000,
  s.year AS preventable_stays_year,
  s.stays_per_100000 AS preventable_stays_per_100000,
  o.overdose_deaths_per_100000 AS overdose_deaths_per_100000,
  coalesce(a.n, 0) AS n_readmission_ratios,
  coalesce(a.n_withheld, 0) AS n_readmission_ratios_withheld,
  round(a.mean, 4) AS mean_readmission_ratio,
  round(a.more, 2) AS over_expected_percent
FROM place p
LEFT JOIN life l ON p.state = l.state
LEFT JOIN infant i ON p.state = i.state
LEFT JOIN stay s ON p.state = s.state
LEFT JOIN state_panel o ON p.state = o.state
LEFT JOIN again a ON p.state = a.state
ORDER BY state
