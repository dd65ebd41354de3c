-- title: Specialties with the most claims by city
-- about: Ranked within each city by the sum of the claims that are known; equal sums share a rank. Cities are told apart by
-- about: their key.
-- alias: get_specialties_by_city
-- tables: prescribers
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | required | the state
-- parameter: n | integer 1..1000 | default 10 | ranks of each city
-- column: city_key | text | | city in the form of cities.city_key
-- column: city | text | | city, as the file writes it
-- column: rank | integer | 1 | dense: no number is left out after equal ones
-- column: specialty | text | | what the prescribers do
-- column: n_prescribers | integer | 1 | different prescribers
-- column: n_claims | integer | 1 | claims that are known
-- column: n_rows_without_claims | integer | 1 | rows whose claims are blank
-- column: drug_cost | decimal(18,2) | USD | cost of the drugs
-- order: city_key, rank, specialty
-- key: city_key, specialty
WITH line AS (
  SELECT
    city_key,
    min(city) AS city,
    specialty,
    count(DISTINCT npi) AS n_prescribers,
    sum(n_claims) AS n_claims,
    count(*) - count(n_claims) AS n_rows_without_claims,
    sum(drug_cost) AS drug_cost
  FROM prescribers
  WHERE state = $state
  GROUP BY city_key, specialty
),
ranked AS (
  SELECT *, CAST(dense_rank() OVER (PARTITION BY city_key ORDER BY n_claims DESC NULLS LAST) AS BIGINT) AS rank FROM line
)
SELECT
  city_key, city, rank, specialty, n_prescribers, n_claims, n_rows_without_claims,
  CAST(drug_cost AS DECIMAL(18,2)) AS drug_cost
FROM ranked
WHERE rank <= $n
ORDER BY city_key NULLS LAST, rank, specialty NULLS LAST
