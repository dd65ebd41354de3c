-- title: Drugs with the most claims by city
-- about: Ranked within each city by the sum of the claims that are known; equal sums share a rank. Cities are told apart by
-- about: their key.
-- alias: get_drugs_by_city
-- tables: prescribers
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | required | the state
-- parameter: n | integer 1..1000 | default 10 | ranks of each city
-- column: city_key | text | | city in the form of cities.city_key
-- column: city | text | | city, as the file writes it
-- column: rank | integer | 1 | dense: no number is left out after equal ones
-- column: generic_name | text | | name of the substance
-- column: n_prescribers | integer | 1 | different prescribers
-- column: n_claims | integer | 1 | claims that are known
-- column: n_rows_without_claims | integer | 1 | rows whose claims are blank
-- column: n_days_supply | integer | d | days for which drugs were given
-- column: drug_cost | decimal(18,2) | USD | cost of the drugs
-- order: city_key, rank, generic_name
-- key: city_key, generic_name
WITH line AS (
  SELECT
    city_key,
    min(city) AS city,
    generic_name,
    count(DISTINCT npi) AS n_prescribers,
    sum(n_claims) AS n_claims,
    count(*) - count(n_claims) AS n_rows_without_claims,
    sum(n_days_supply) AS n_days_supply,
    sum(drug_cost) AS drug_cost
  FROM prescribers
  WHERE state = $state
  GROUP BY city_key, generic_name
),
ranked AS (
  SELECT *, CAST(dense_rank() OVER (PARTITION BY city_key ORDER BY n_claims DESC NULLS LAST) AS BIGINT) AS rank FROM line
)
SELECT
  city_key, city, rank, generic_name, n_prescribers, n_claims, n_rows_without_claims, n_days_supply,
  CAST(drug_cost AS DECIMAL(18,2)) AS drug_cost
FROM ranked
WHERE rank <= $n
ORDER BY city_key NULLS LAST, rank, generic_name NULLS LAST
