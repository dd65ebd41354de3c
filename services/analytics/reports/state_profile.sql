-- title: Profile of the states
-- about: One row a state: what the state tables say, each for its newest year. States are those of the population estimates by
-- about: county. It is the table of features for models.
-- alias: get_state_profile
-- tables: premiums
-- uses: demographics, income_and_spending, social_determinants, quality, hospitals_by_state, hospital_beds, sites_per_100000
-- source: KFF, from CMS rate files
-- column: state | text | | postal code
-- column: population | integer | 1 | people
-- column: female_percent | double | % | women and girls
-- column: under_18_percent | double | % | people under 18
-- column: over_64_percent | double | % | people of 65 and over
-- column: black_percent | double | % | 2018
-- column: hispanic_percent | double | % | 2018
-- column: median_household_income | decimal(18,2) | USD | a year
-- column: poverty_percent | double | % | people in poverty
-- column: medicare_payments_per_person | decimal(18,2) | USD | Medicare fee for service
-- column: payments_per_stay | decimal(18,2) | USD | all payments for a Medicare stay in hospital
-- column: unemployed_percent | double | % | of the labour force
-- column: no_high_school_percent | double | % | of people of 25 and over
-- column: uninsured_percent | double | % | people without health insurance
-- column: disability_percent | double | % | people with a disability
-- column: no_internet_percent | double | % | households without the internet
-- column: life_expectancy | double | a | years at birth
-- column: infant_deaths_per_1000 | double | 1/1000 | deaths under one year for 1,000 live births
-- column: preventable_stays_per_100000 | double | 1/100000 | Medicare fee for service
-- column: overdose_deaths_per_100000 | double | 1/100000 | mean of 2016-2020
-- column: mean_readmission_ratio | double | 1 | predicted by expected
-- column: n_hospitals | integer | 1 | hospitals, newest release
-- column: mean_rating | double | 1 | mean of the stars of rated hospitals
-- column: staffed_beds_per_1000 | double | 1/1000 | staffed beds for 1,000 people
-- column: sites_per_100000 | double | 1/100000 | health-centre sites for 100,000 people
-- column: monthly_premium | decimal(18,2) | USD | benchmark premium, newest year
-- order: state
WITH premium AS (
  SELECT state, monthly_premium FROM premiums WHERE state <> 'US' AND year = (SELECT max(year) FROM premiums)
)
SELECT
  d.state AS state,
  d.population AS population,
  d.female_percent AS female_percent,
  d.under_18_percent AS under_18_percent,
  d.over_64_percent AS over_64_percent,
  d.black_percent AS black_percent,
  d.hispanic_percent AS hispanic_percent,
  i.median_household_income AS median_household_income,
  i.poverty_percent AS poverty_percent,
  i.medicare_payments_per_person AS medicare_payments_per_person,
  i.payments_per_stay AS payments_per_stay,
  v.unemployed_percent AS unemployed_percent,
  v.no_high_school_percent AS no_high_school_percent,
  v.uninsured_percent AS uninsured_percent,
  v.disability_percent AS disability_percent,
  v.no_internet_percent AS no_internet_percent,
  q.life_expectancy AS life_expectancy,
  q.infant_deaths_per_1000 AS infant_deaths_per_1000,
  q.preventable_stays_per_100000 AS preventable_stays_per_100000,
  q.overdose_deaths_per_100000 AS overdose_deaths_per_100000,
  q.mean_readmission_ratio AS mean_readmission_ratio,
  h.n_hospitals AS n_hospitals,
  h.mean_rating AS mean_rating,
  b.staffed_beds_per_1000 AS staffed_beds_per_1000,
  s.sites_per_100000 AS sites_per_100000,
  p.monthly_premium AS monthly_premium
FROM demographics d
LEFT JOIN income_and_spending i ON d.state = i.state
LEFT JOIN social_determinants v ON d.state = v.state
LEFT JOIN quality q ON d.state = q.state
LEFT JOIN hospitals_by_state h ON d.state = h.state
LEFT JOIN hospital_beds b ON d.state = b.state
LEFT JOIN sites_per_100000 s ON d.state = s.state
LEFT JOIN premium p ON d.state = p.state
ORDER BY state
