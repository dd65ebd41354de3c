-- The archive's readings as they count, which reports read as `counted_readings`; the rules are those of `model::newest`. What a
-- device sent again in another stream is left out. What it took back with a later reading of the same metric and instant (flag
-- 128) stays and is not good, and the one that took it back is left out where it says the same. Waveforms are told apart by their
-- times alone. What people took back is not in the archive. What was corrected stays, beside what corrects it: to find it, all
-- readings would have to be sorted by their instants, for both may be of one stream.
WITH several AS (
  -- days of a device and metric on which something may have been said again: few, so that few rows are sorted
  SELECT patient_id, device_id, metric, CAST(measured_at AS DATE) AS day
  FROM readings
  GROUP BY patient_id, device_id, metric, CAST(measured_at AS DATE)
  HAVING min(stream_id) <> max(stream_id) OR max(quality & 128) <> 0
),
line AS (
  SELECT
    r.*,
    (r.quality & 128) <> 0 AS in_error,
    CASE WHEN (r.quality & 128) <> 0 THEN r.stream_id END AS stream_in_error
  FROM several s -- first, so that it and not the readings are held in memory
  JOIN readings r
    ON r.patient_id = s.patient_id AND r.device_id = s.device_id AND r.metric = s.metric AND CAST(r.measured_at AS DATE) = s.day
),
said AS (
  SELECT
    *,
    row_number() OVER same > 1 AS was_said,
    -- what takes something back repeats only another that does
    CASE
      WHEN in_error THEN min(stream_in_error) OVER same <> max(stream_in_error) OVER same
      ELSE min(stream_id) OVER same <> max(stream_id) OVER same
    END AS is_repeat
  FROM line
  WINDOW same AS (
    PARTITION BY patient_id, device_id, metric, measured_at, measured_at_ns, measured_until, value, unit, comparator, code,
      absent_reason
    ORDER BY received_at, stream_id, sequence, place
  )
),
judged AS (
  SELECT
    *,
    max(CASE WHEN in_error AND NOT is_repeat THEN 1 ELSE 0 END) OVER (
      PARTITION BY patient_id, device_id, metric, measured_at, measured_at_ns
      ORDER BY received_at DESC, stream_id DESC, sequence DESC, place DESC
    ) = 1 AS is_taken_back
  FROM said
)
SELECT patient_id, metric, measured_at, value, comparator, good AND NOT is_taken_back AS good
FROM judged
WHERE NOT is_repeat AND NOT (in_error AND was_said)
UNION ALL
SELECT r.patient_id, r.metric, r.measured_at, r.value, r.comparator, r.good
FROM several s
RIGHT ANTI JOIN readings r
  ON r.patient_id = s.patient_id AND r.device_id = s.device_id AND r.metric = s.metric AND CAST(r.measured_at AS DATE) = s.day
