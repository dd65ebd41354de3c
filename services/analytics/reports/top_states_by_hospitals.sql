-- title: States with the most hospitals
-- about: Hospitals of one release; states with equal numbers share a rank.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_top_states_by_hospitals
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: n | integer 1..100 | default 10 | ranks
-- parameter: vintage | text(16) | default newest | release, as hospital_releases has it; newest is the last whole one
-- column: rank | integer | 1 | 1 has most
-- column: state | text | | postal code
-- column: n_hospitals | integer | 1 | hospitals
-- order: rank, state
-- key: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM hospital_releases WHERE whole
),
hospital AS (
  SELECT h.* FROM hospitals h JOIN release r ON h.vintage = r.vintage
),
number AS (
  SELECT state, count(*) AS n_hospitals FROM hospital GROUP BY state
),
ranked AS (
  -- + 0: the engine takes rows that it ranks for ordered, and would leave out the last ORDER BY; a sum is no rank to it
  SELECT CAST(rank() OVER (ORDER BY n_hospitals DESC) AS BIGINT) + 0 AS rank, state, n_hospitals FROM number
)
SELECT rank, state, n_hospitals
FROM ranked
WHERE rank <= $n
ORDER BY rank, state
