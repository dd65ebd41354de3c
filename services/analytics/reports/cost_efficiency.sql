-- title: Cost of drugs for a claim and for a day by specialty
-- about: Over the rows in which claims, days and cost are all known; the others are counted apart.
-- alias: get_cost_efficiency
-- tables: prescribers
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | default all | only this state
-- column: specialty | text | | what the prescribers do
-- column: n_prescribers | integer | 1 | different prescribers
-- column: n_rows | integer | 1 | rows with all three numbers
-- column: n_rows_left_out | integer | 1 | rows with a blank among them
-- column: n_claims | integer | 1 | claims
-- column: n_days_supply | integer | d | days for which drugs were given
-- column: drug_cost | decimal(18,2) | USD | cost of the drugs
-- column: cost_per_claim | decimal(18,2) | USD | cost by claims
-- column: cost_per_day | decimal(18,2) | USD/d | cost by days
-- order: cost_per_claim desc, specialty
-- key: specialty
WITH line AS (
  SELECT specialty, npi, n_claims, n_days_supply, drug_cost,
    n_claims IS NOT NULL AND n_days_supply IS NOT NULL AND drug_cost IS NOT NULL AS complete
  FROM prescribers
  WHERE $state = 'all' OR state = $state
),
total AS (
  SELECT
    specialty,
    count(DISTINCT CASE WHEN complete THEN npi END) AS n_prescribers,
    sum(CASE WHEN complete THEN 1 ELSE 0 END) AS n_rows,
    sum(CASE WHEN complete THEN 0 ELSE 1 END) AS n_rows_left_out,
    sum(CASE WHEN complete THEN n_claims END) AS n_claims,
    sum(CASE WHEN complete THEN n_days_supply END) AS n_days_supply,
    CAST(sum(CASE WHEN complete THEN drug_cost END) AS DECIMAL(18,2)) AS drug_cost
  FROM line
  GROUP BY specialty
)
SELECT
  specialty, n_prescribers, n_rows, n_rows_left_out, n_claims, n_days_supply, drug_cost,
  CAST(drug_cost / CAST(nullif(n_claims, 0) AS DECIMAL(18,0)) AS DECIMAL(18,2)) AS cost_per_claim,
  CAST(drug_cost / CAST(nullif(n_days_supply, 0) AS DECIMAL(18,0)) AS DECIMAL(18,2)) AS cost_per_day
FROM total
ORDER BY cost_per_claim DESC NULLS LAST, specialty NULLS LAST
