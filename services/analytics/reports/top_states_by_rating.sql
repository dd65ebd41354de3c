-- title: States with the best rated hospitals
-- about: Mean of the stars over the rated hospitals of one release, of the states that have enough of them; equal means share a
-- about: rank.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_top_states_by_rating
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: n | integer 1..100 | default 10 | ranks
-- parameter: min_rated | integer 1..1000 | default 10 | rated hospitals that a state must have
-- parameter: vintage | text(16) | default newest | release, as hospital_releases has it; newest is the last whole one
-- column: rank | integer | 1 | 1 is best
-- column: state | text | | postal code
-- column: mean_rating | double | 1 | mean of the stars, 1 to 5
-- column: standard_error | double | 1 | of the mean; none of one hospital
-- column: n_rated | integer | 1 | hospitals with a rating
-- column: n_hospitals | integer | 1 | hospitals
-- order: rank, state
-- key: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM hospital_releases WHERE whole
),
hospital AS (
  SELECT h.* FROM hospitals h JOIN release r ON h.vintage = r.vintage
),
rating AS (
  SELECT
    state,
    round(avg(overall_rating), 4) AS mean_rating,
    round(stddev_samp(overall_rating) / sqrt(CAST(count(overall_rating) AS DOUBLE)), 4) AS standard_error,
    count(overall_rating) AS n_rated,
    count(*) AS n_hospitals
  FROM hospital
  GROUP BY state
  HAVING count(overall_rating) >= $min_rated
),
ranked AS (
  -- + 0: the engine takes rows that it ranks for ordered, and would leave out the last ORDER BY; a sum is no rank to it
  SELECT CAST(rank() OVER (ORDER BY mean_rating DESC) AS BIGINT) + 0 AS rank, * FROM rating
)
SELECT rank, state, mean_rating, standard_error, n_rated, n_hospitals
FROM ranked
WHERE rank <= $n
ORDER BY rank, state
