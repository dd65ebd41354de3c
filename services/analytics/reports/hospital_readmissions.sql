-- title: Readmissions of the hospitals
-- about: One row a hospital and measure of the newest period. A withheld number says why, where the publisher does.
-- alias: get_hospital_readmissions
-- tables: readmissions
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | default all | only this state
-- parameter: ccn | text(6) | default all | only the hospital with this certification number
-- column: ccn | text | | CMS certification number
-- column: name | text | | name of the hospital
-- column: state | text | | postal code of the state
-- column: measure | text | | AMI, CABG, COPD, HF, HIP-KNEE or PN
-- column: starts_on | date | | first day of the period
-- column: ends_on | date | | last day of the period
-- column: n_discharges | integer | 1 | discharges in the period
-- column: n_readmissions | integer | 1 | readmissions within 30 days
-- column: n_readmissions_reason | text | | why their number is withheld
-- column: excess_ratio | double | 1 | predicted by expected rate of readmissions
-- column: predicted_percent | double | % | predicted rate of readmissions
-- column: expected_percent | double | % | expected rate of readmissions
-- column: footnote | text | | the publisher's footnote: why something is not known
-- order: ccn, measure
SELECT
  ccn, name, state, measure, starts_on, ends_on, n_discharges, n_readmissions, n_readmissions_reason, excess_ratio,
  predicted_percent, expected_percent, footnote
FROM readmissions
WHERE starts_on = (SELECT max(starts_on) FROM readmissions)
  AND ($state = 'all' OR state = $state)
  AND ($ccn = 'all' OR ccn = $ccn)
ORDER BY ccn, measure
