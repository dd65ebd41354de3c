-- title: Benchmark premiums of the marketplaces over the years
-- about: Against the year before, where that is known, and against the first year of the range. US is the nation.
-- alias: get_premium_trends
-- tables: premiums
-- source: KFF, from CMS rate files
-- parameter: state | state | default all | only this state
-- parameter: from_year | integer 2007..2100 | default 2020 | first year
-- parameter: to_year | integer 2007..2100 | default 2024 | last year
-- column: state | text | | postal code; US for the nation
-- column: year | integer | a | plan year
-- column: monthly_premium | decimal(18,2) | USD | a month, second-lowest silver plan, age 40
-- column: change | decimal(18,2) | USD | against the year before
-- column: change_percent | double | % | against the year before
-- column: change_since_first_percent | double | % | against the first year
-- order: state, year
SELECT
  p.state AS state,
  p.year AS year,
  p.monthly_premium AS monthly_premium,
  CAST(p.monthly_premium - b.monthly_premium AS DECIMAL(18,2)) AS change,
  round(100.0 * (CAST(p.monthly_premium AS DOUBLE) / nullif(CAST(b.monthly_premium AS DOUBLE), 0) - 1), 2) AS change_percent,
  round(100.0 * (CAST(p.monthly_premium AS DOUBLE) / nullif(CAST(f.monthly_premium AS DOUBLE), 0) - 1), 2)
    AS change_since_first_percent
FROM premiums p
LEFT JOIN premiums b ON p.state = b.state AND p.year = b.year + 1
LEFT JOIN premiums f ON p.state = f.state AND f.year = $from_year
WHERE p.year BETWEEN $from_year AND $to_year AND ($state = 'all' OR p.state = $state)
ORDER BY state, year
