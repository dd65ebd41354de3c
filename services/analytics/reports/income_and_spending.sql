-- title: Income, poverty and Medicare spending by state
-- about: The newest year of each table. The interval is the publisher's of 90 %. Hospital payments are of the stays of one
-- about: year.
-- alias: get_income_and_spending
-- tables: poverty_income, medicare_spending, inpatient_costs
-- source: Census Bureau, SAIPE 2023
-- source: Centers for Medicare & Medicaid Services (CMS), Geographic Variation
-- source: Centers for Medicare & Medicaid Services (CMS)
-- column: state | text | | postal code
-- column: income_year | integer | a | year of income and poverty
-- column: median_household_income | decimal(18,2) | USD | a year
-- column: median_household_income_low | decimal(18,2) | USD | lower bound, 90 % interval
-- column: median_household_income_high | decimal(18,2) | USD | upper bound, 90 % interval
-- column: poverty_percent | double | % | people in poverty
-- column: spending_year | integer | a | year of Medicare spending
-- column: medicare_payments_per_person | decimal(18,2) | USD | Medicare fee for service
-- column: standardised_per_person | decimal(18,2) | USD | without differences of price
-- column: stays_year | integer | a | year of the hospital stays
-- column: n_stays | integer | 1 | Medicare stays in hospital
-- column: payments_per_stay | decimal(18,2) | USD | all payments for a stay
-- order: state
WITH income AS (
  SELECT * FROM poverty_income WHERE level = 'state' AND year = (SELECT max(year) FROM poverty_income)
),
spending AS (
  SELECT state, year, payments_per_person, standardised_per_person
  FROM medicare_spending
  WHERE level = 'state' AND age_group = 'All' AND year = (SELECT max(year) FROM medicare_spending)
),
stay AS (
  SELECT state, max(year) AS year, sum(n_discharges) AS n_stays, CAST(sum(payments) AS DECIMAL(18,2)) AS payments
  FROM inpatient_costs
  WHERE year = (SELECT max(year) FROM inpatient_costs) AND n_discharges IS NOT NULL AND payments IS NOT NULL
  GROUP BY state
)
SELECT
  i.state AS state,
  i.year AS income_year,
  i.median_household_income AS median_household_income,
  i.median_household_income_low AS median_household_income_low,
  i.median_household_income_high AS median_household_income_high,
  i.poverty_percent AS poverty_percent,
  m.year AS spending_year,
  m.payments_per_person AS medicare_payments_per_person,
  m.standardised_per_person AS standardised_per_person,
  s.year AS stays_year,
  s.n_stays AS n_stays,
  CAST(s.payments / CAST(nullif(s.n_stays, 0) AS DECIMAL(18,0)) AS DECIMAL(18,2)) AS payments_per_stay
FROM income i
LEFT JOIN spending m ON i.state = m.state
LEFT JOIN stay s ON i.state = s.state
ORDER BY state
