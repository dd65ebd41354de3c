-- title: Groups of measures of the hospitals
-- about: One row a hospital of the newest release and a group of measures of which something is known. Releases differ: that of
-- about: 2020 compares with the national average, that of 2025 counts measures.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_hospital_measures
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: ccn | text(6) | default all | only the hospital with this certification number
-- column: ccn | text | | CMS certification number
-- column: measures | text | | group of measures
-- column: comparison | text | | above, same as or below the national average; 2020 only
-- column: n_measures | integer | 1 | measures that the hospital reported; 2025 only
-- column: n_better | integer | 1 | of them better than the national rate
-- column: n_same | integer | 1 | of them no different
-- column: n_worse | integer | 1 | of them worse
-- column: footnote | text | | footnotes of the group: why something is not known
-- order: ccn, measures
WITH hospital AS (
  SELECT * FROM hospitals WHERE vintage = (SELECT max(vintage) FROM hospital_releases WHERE whole) AND ($ccn = 'all' OR ccn = $ccn)
),
long AS (
  SELECT ccn, 'mortality' AS measures, mortality_comparison AS comparison, n_mortality_measures AS n_measures,
    n_mortality_better AS n_better, n_mortality_same AS n_same, n_mortality_worse AS n_worse, mortality_footnote AS footnote
  FROM hospital
  UNION ALL
  SELECT ccn, 'safety', safety_comparison, n_safety_measures, n_safety_better, n_safety_same, n_safety_worse, safety_footnote
  FROM hospital
  UNION ALL
  SELECT ccn, 'readmission', readmission_comparison, n_readmission_measures, n_readmission_better, n_readmission_same,
    n_readmission_worse, readmission_footnote
  FROM hospital
  UNION ALL
  SELECT ccn, 'experience', experience_comparison, n_experience_measures, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
    CAST(NULL AS BIGINT), experience_footnote
  FROM hospital
  UNION ALL
  SELECT ccn, 'timeliness', timeliness_comparison, n_timeliness_measures, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
    CAST(NULL AS BIGINT), timeliness_footnote
  FROM hospital
  UNION ALL
  SELECT ccn, 'effectiveness', effectiveness_comparison, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
    CAST(NULL AS BIGINT), CAST(NULL AS VARCHAR)
  FROM hospital
  UNION ALL
  SELECT ccn, 'imaging', imaging_comparison, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
    CAST(NULL AS BIGINT), CAST(NULL AS VARCHAR)
  FROM hospital
)
SELECT ccn, measures, comparison, n_measures, n_better, n_same, n_worse, footnote
FROM long
WHERE comparison IS NOT NULL OR n_measures IS NOT NULL OR footnote IS NOT NULL
ORDER BY ccn, measures
