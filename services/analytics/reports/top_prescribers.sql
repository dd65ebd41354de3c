-- title: Prescribers with the most claims by state
-- about: Of the rows whose prescriber has 20 to 50 years of experience, both included; ranked by the sum of the claims that are
-- about: known, equal sums share a rank. Claims of people of 65 and over are withheld for a prescriber as soon as one of the
-- about: rows is. Rows without an identifier are left out.
-- alias: get_top_prescribers
-- tables: prescribers
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | default all | only this state
-- parameter: n | integer 1..1000 | default 5 | ranks of each state
-- column: state | text | | postal code
-- column: rank | integer | 1 | dense: no number is left out after equal ones
-- column: npi | text | | national provider identifier, as the file has it
-- column: npi_valid | boolean | | whether its check digit is right
-- column: last_name | text | | last name, or name of an organisation
-- column: first_name | text | | first name
-- column: city | text | | city, as the file writes it
-- column: specialty | text | | what the prescriber does
-- column: years_of_experience | integer | a | years of practice
-- column: n_claims | integer | 1 | claims that are known
-- column: n_rows_without_claims | integer | 1 | rows whose claims are blank
-- column: drug_cost | decimal(18,2) | USD | cost of the drugs
-- column: n_claims_65 | integer | 1 | claims of people of 65 and over
-- column: n_claims_65_reason | text | | why that number is withheld
-- order: state, rank, npi
-- key: state, npi
WITH person AS (
  SELECT
    state, npi,
    bool_and(npi_valid) AS npi_valid,
    min(last_name) AS last_name,
    min(first_name) AS first_name,
    min(city) AS city,
    min(specialty) AS specialty,
    max(years_of_experience) AS years_of_experience,
    sum(n_claims) AS n_claims,
    count(*) - count(n_claims) AS n_rows_without_claims,
    sum(drug_cost) AS drug_cost,
    sum(n_claims_65) AS n_claims_65,
    min(n_claims_65_reason) AS n_claims_65_reason
  FROM prescribers
  WHERE years_of_experience BETWEEN 20 AND 50 AND npi IS NOT NULL AND ($state = 'all' OR state = $state)
  GROUP BY state, npi
),
ranked AS (
  -- + 0: the engine takes rows that it ranks for ordered, and would leave out the last ORDER BY; a sum is no rank to it
  SELECT *, CAST(dense_rank() OVER (PARTITION BY state ORDER BY n_claims DESC) AS BIGINT) + 0 AS rank
  FROM person
  WHERE n_claims IS NOT NULL
)
SELECT
  state, rank, npi, npi_valid, last_name, first_name, city, specialty, years_of_experience, n_claims, n_rows_without_claims,
  CAST(drug_cost AS DECIMAL(18,2)) AS drug_cost,
  CASE WHEN n_claims_65_reason IS NULL THEN n_claims_65 END AS n_claims_65,
  n_claims_65_reason
FROM ranked
WHERE rank <= $n
ORDER BY state, rank, npi
