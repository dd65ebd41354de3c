-- title: What was asked of the system, a day
-- about: Entries of the audit log by day of UTC, action and purpose (codes of HL7 v3 PurposeOfUse), of days that are over. Who asked
-- about: for whom is in the audit log alone.
-- tables: audit_counts
-- source: this installation
-- parameter: days | integer 1..3650 | default 30 | so many days, up to the newest one
-- column: day | date | | day of the entries
-- column: action | text | | what was asked for
-- column: purpose | text | | for which purpose
-- column: n_permitted | integer | 1 | entries of what was permitted
-- column: n_refused | integer | 1 | entries of what was refused
-- column: n_reasons | integer | 1 | different reasons of refusals
-- order: day desc, action, purpose
WITH newest AS (SELECT CAST(max(hour) AS DATE) AS day FROM audit_counts)
SELECT
  CAST(c.hour AS DATE) AS day,
  c.action,
  c.purpose,
  CAST(sum(CASE WHEN c.refused IS NULL THEN c.n_entries ELSE 0 END) AS BIGINT) AS n_permitted,
  CAST(sum(CASE WHEN c.refused IS NULL THEN 0 ELSE c.n_entries END) AS BIGINT) AS n_refused,
  count(DISTINCT c.refused) AS n_reasons
FROM audit_counts c
CROSS JOIN newest n
WHERE to_unixtime(c.hour) >= to_unixtime(CAST(n.day AS TIMESTAMP)) - 86400 * ($days - 1)
GROUP BY CAST(c.hour AS DATE), c.action, c.purpose
ORDER BY day DESC NULLS LAST, c.action, c.purpose
