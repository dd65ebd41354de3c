-- title: Features of the states in a long table
-- about: Each feature of the profile of the states that is known, one row a state and feature, for correlations.
-- alias: get_correlations_input
-- uses: state_profile
-- column: feature | text | | name of the profile's column
-- column: state | text | | postal code
-- column: value | double | | in the unit of the profile's column
-- order: feature, state
WITH feature AS (
  SELECT column1 AS feature FROM (VALUES
    ('population'),
    ('female_percent'),
    ('under_18_percent'),
    ('over_64_percent'),
    ('black_percent'),
    ('hispanic_percent'),
    ('median_household_income'),
    ('poverty_percent'),
    ('medicare_payments_per_person'),
    ('payments_per_stay'),
    ('unemployed_percent'),
    ('no_high_school_percent'),
    ('uninsured_percent'),
    ('disability_percent'),
    ('no_internet_percent'),
    ('life_expectancy'),
    ('infant_deaths_per_1000'),
    ('preventable_stays_per_100000'),
    ('overdose_deaths_per_100000'),
    ('mean_readmission_ratio'),
    ('n_hospitals'),
    ('mean_rating'),
    ('staffed_beds_per_1000'),
    ('sites_per_100000'),
    ('monthly_premium')
  )
),
long AS (
  SELECT
    f.feature,
    p.state,
    CASE f.feature
      WHEN 'population' THEN CAST(p.population AS DOUBLE)
      WHEN 'female_percent' THEN CAST(p.female_percent AS DOUBLE)
      WHEN 'under_18_percent' THEN CAST(p.under_18_percent AS DOUBLE)
      WHEN 'over_64_percent' THEN CAST(p.over_64_percent AS DOUBLE)
      WHEN 'black_percent' THEN CAST(p.black_percent AS DOUBLE)
      WHEN 'hispanic_percent' THEN CAST(p.hispanic_percent AS DOUBLE)
      WHEN 'median_household_income' THEN CAST(p.median_household_income AS DOUBLE)
      WHEN 'poverty_percent' THEN CAST(p.poverty_percent AS DOUBLE)
      WHEN 'medicare_payments_per_person' THEN CAST(p.medicare_payments_per_person AS DOUBLE)
      WHEN 'payments_per_stay' THEN CAST(p.payments_per_stay AS DOUBLE)
      WHEN 'unemployed_percent' THEN CAST(p.unemployed_percent AS DOUBLE)
      WHEN 'no_high_school_percent' THEN CAST(p.no_high_school_percent AS DOUBLE)
      WHEN 'uninsured_percent' THEN CAST(p.uninsured_percent AS DOUBLE)
      WHEN 'disability_percent' THEN CAST(p.disability_percent AS DOUBLE)
      WHEN 'no_internet_percent' THEN CAST(p.no_internet_percent AS DOUBLE)
      WHEN 'life_expectancy' THEN CAST(p.life_expectancy AS DOUBLE)
      WHEN 'infant_deaths_per_1000' THEN CAST(p.infant_deaths_per_1000 AS DOUBLE)
      WHEN 'preventable_stays_per_100000' THEN CAST(p.preventable_stays_per_100000 AS DOUBLE)
      WHEN 'overdose_deaths_per_100000' THEN CAST(p.overdose_deaths_per_100000 AS DOUBLE)
      WHEN 'mean_readmission_ratio' THEN CAST(p.mean_readmission_ratio AS DOUBLE)
      WHEN 'n_hospitals' THEN CAST(p.n_hospitals AS DOUBLE)
      WHEN 'mean_rating' THEN CAST(p.mean_rating AS DOUBLE)
      WHEN 'staffed_beds_per_1000' THEN CAST(p.staffed_beds_per_1000 AS DOUBLE)
      WHEN 'sites_per_100000' THEN CAST(p.sites_per_100000 AS DOUBLE)
      WHEN 'monthly_premium' THEN CAST(p.monthly_premium AS DOUBLE)
    END AS value
  FROM state_profile p
  CROSS JOIN feature f
)
SELECT feature, state, value
FROM long
WHERE value IS NOT NULL
ORDER BY feature, state
