"""Counts and adds up an archive, and a patient's day in it: archive.py READER FILES PATIENT FROM REPEATS.

READER is duckdb, pandas or spark, FILES a pattern, FROM seconds since 1970; prints one JSON object."""

import glob
import json
import sys
import time

reader, files, patient, begin, repeats = sys.argv[1:]
begin, repeats = int(begin), int(repeats)
DAY = 86_400
ALL = "SELECT count(*) AS n, sum(value) AS s FROM {}"
ONE = (
    "SELECT count(*) AS n, sum(value) AS s FROM {} WHERE patient_id = '" + patient + "' AND measured_at >= {} AND measured_at < {}"
)


def duckdb():
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    table = f"read_parquet('{files}', hive_partitioning = false)"

    def ask(sql, *times):
        return connection.execute(sql.format(table, *(f"to_timestamp({at})" for at in times))).fetchone()

    return lambda: ask(ALL), lambda: ask(ONE, begin, begin + DAY)


def pandas():
    import datetime

    import pandas

    def instant(seconds):
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)

    def ask(filters):
        rows = pandas.read_parquet(glob.glob(files), columns=["value"], filters=filters)
        return len(rows), float(rows["value"].sum())

    day = [
        ("patient_id", "==", patient),
        ("measured_at", ">=", instant(begin)),
        ("measured_at", "<", instant(begin + DAY)),
    ]
    return lambda: ask(None), lambda: ask(day)


def spark():
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.read.parquet(files).createOrReplaceTempView("readings")

    def ask(sql, *times):
        row = session.sql(sql.format("readings", *(f"timestamp_seconds({at})" for at in times))).first()
        return row["n"], row["s"]

    return lambda: ask(ALL), lambda: ask(ONE, begin, begin + DAY)


everything, day = {"duckdb": duckdb, "pandas": pandas, "spark": spark}[reader]()
n, total = everything()
day()
seconds = []
for _ in range(repeats):
    begun = time.perf_counter()
    day_n, day_total = day()
    seconds.append(time.perf_counter() - begun)
print(json.dumps({"reader": reader, "n": n, "sum": total, "day_n": day_n, "day_sum": day_total, "seconds": seconds}))
