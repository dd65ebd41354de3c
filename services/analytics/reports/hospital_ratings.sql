-- title: Ratings of hospitals by state
-- about: How many hospitals have one to five stars. Those without a rating are counted apart.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_hospital_ratings
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: vintage | text(16) | default newest | release, as hospital_releases has it; newest is the last whole one
-- column: state | text | | postal code
-- column: n_1 | integer | 1 | hospitals with 1 star
-- column: n_2 | integer | 1 | hospitals with 2 stars
-- column: n_3 | integer | 1 | hospitals with 3 stars
-- column: n_4 | integer | 1 | hospitals with 4 stars
-- column: n_5 | integer | 1 | hospitals with 5 stars
-- column: n_rated | integer | 1 | with a rating
-- column: n_unrated | integer | 1 | without
-- column: mean_rating | double | 1 | mean of the stars
-- order: state
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM hospital_releases WHERE whole
),
hospital AS (
  SELECT h.* FROM hospitals h JOIN release r ON h.vintage = r.vintage
)
SELECT
  state,
  sum(CASE WHEN overall_rating = 1 THEN 1 ELSE 0 END) AS n_1,
  sum(CASE WHEN overall_rating = 2 THEN 1 ELSE 0 END) AS n_2,
  sum(CASE WHEN overall_rating = 3 THEN 1 ELSE 0 END) AS n_3,
  sum(CASE WHEN overall_rating = 4 THEN 1 ELSE 0 END) AS n_4,
  sum(CASE WHEN overall_rating = 5 THEN 1 ELSE 0 END) AS n_5,
  count(overall_rating) AS n_rated,
  count(*) - count(overall_rating) AS n_unrated,
  round(avg(overall_rating), 4) AS mean_rating
FROM hospital
GROUP BY state
ORDER BY state
