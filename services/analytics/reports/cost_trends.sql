-- title: Medicare spending for each person over the years
-- about: Fee for service, states and the nation (US): counties, which are part of them, are left out. Standardised spending is
-- about: without differences of price between places.
-- alias: get_cost_trends
-- tables: medicare_spending
-- source: Centers for Medicare & Medicaid Services (CMS), Geographic Variation
-- parameter: state | state | default all | only this state
-- parameter: age_group | choice All,<65,65+ | default All | people of all ages, under 65, or 65 and over
-- parameter: from_year | integer 2007..2100 | default 2020 | first year
-- parameter: to_year | integer 2007..2100 | default 2024 | last year
-- column: state | text | | postal code; US for the nation
-- column: year | integer | a | calendar year
-- column: n_fee_for_service | integer | 1 | people in fee for service
-- column: payments | decimal(18,2) | USD | what Medicare paid
-- column: payments_per_person | decimal(18,2) | USD | the same for each person
-- column: payments_per_person_reason | text | | why a number is withheld
-- column: standardised_per_person | decimal(18,2) | USD | without differences of price
-- column: change_percent | double | % | of the payments for each person, against the year before
-- order: state, year
WITH place AS (
  SELECT * FROM medicare_spending WHERE level IN ('nation', 'state') AND age_group = $age_group
)
SELECT
  p.state AS state,
  p.year AS year,
  p.n_fee_for_service AS n_fee_for_service,
  p.payments AS payments,
  p.payments_per_person AS payments_per_person,
  CASE WHEN p.payments_per_person IS NULL THEN p.suppressed END AS payments_per_person_reason,
  p.standardised_per_person AS standardised_per_person,
  round(100.0 * (CAST(p.payments_per_person AS DOUBLE) / nullif(CAST(b.payments_per_person AS DOUBLE), 0) - 1), 2)
    AS change_percent
FROM place p
LEFT JOIN place b ON p.state = b.state AND p.year = b.year + 1
WHERE p.year BETWEEN $from_year AND $to_year AND ($state = 'all' OR p.state = $state)
ORDER BY state, year
