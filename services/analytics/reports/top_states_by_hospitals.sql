-- title: States with the most hospitals
-- about: Hospitals of one release; states with equal numbers share a rank.
-- alias: get_top_states_by_hospitals
-- tables: hospitals
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: n | integer 1..100 | default 10 | ranks
-- parameter: vintage | text(16) | default newest | release: 2020-07 or 2025; newest is the last imported
-- column: rank | integer | 1 | 1 has most
-- column: state | text | | postal code
-- column: n_hospitals | integer | 1 | hospitals
-- order: rank, state
-- key: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM hospitals
),
hospital AS (
  SELECT h.* FROM hospitals h JOIN release r ON h.vintage = r.vintage
),
number AS (
  SELECT state, count(*) AS n_hospitals FROM hospital GROUP BY state
),
ranked AS (
  SELECT CAST(rank() OVER (ORDER BY n_hospitals DESC) AS BIGINT) AS rank, state, n_hospitals FROM number
)
SELECT rank, state, n_hospitals
FROM ranked
WHERE rank <= $n
ORDER BY rank, state
