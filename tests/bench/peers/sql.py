"""Runs SQL files over Parquet in DuckDB or in Spark, as `bench analytics` asks; prints one JSON object a line.

Usage: sql.py duckdb|spark REPEATS NAME=PARQUET... -- FILE.sql...
       sql.py csv CSV PARQUET          (DuckDB reads a CSV file with a header and writes Parquet)

Each line: {"file", "rows", "seconds": [of each repetition], "cpu_seconds", "peak_bytes"}. The first run of a query warms up and
is not counted. CPU seconds are of one repetition, of this process and its children (Spark's is another).
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

CORES = 2


def cpu_seconds():
    own, children = os.times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.user + own.system + children.ru_utime + children.ru_stime
    for pid in java():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def java():
    """Processes that this one has started and that still run: Spark's."""
    mine = str(os.getpid())
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if lines.get("PPid", "").strip() == mine:
            yield status.parent.name


def peak_bytes():
    peaks = []
    for pid in ["self", *java()]:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(int(line.split()[1]) * 1024)
    return sum(peaks)


def duckdb_runner(tables):
    import duckdb

    base = duckdb.connect()
    base.execute(f"SET threads = {CORES}")
    for name, path in tables:
        base.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")
    return lambda sql: len(base.execute(sql).fetchall())


def spark_runner(tables):
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.driver.memory", "6g")
        .config("spark.sql.shuffle.partitions", str(CORES * 2))
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    for name, path in tables:
        session.read.parquet(path).createOrReplaceTempView(name)
    return lambda sql: len(session.sql(sql).collect())


def queries(engine, repeats, tables, files):
    run = {"duckdb": duckdb_runner, "spark": spark_runner}[engine](tables)
    for file in files:
        sql = Path(file).read_text()
        rows = run(sql)
        seconds, before = [], cpu_seconds()
        for _ in range(repeats):
            began = time.monotonic()
            run(sql)
            seconds.append(time.monotonic() - began)
        cpu = (cpu_seconds() - before) / repeats
        answer = {"file": Path(file).name, "rows": rows, "seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak_bytes()}
        print(json.dumps(answer), flush=True)


def read_csv(csv, parquet):
    import duckdb

    base = duckdb.connect()
    base.execute(f"SET threads = {CORES}")
    began, before = time.monotonic(), cpu_seconds()
    base.execute(f"COPY (SELECT * FROM read_csv('{csv}', header = true)) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
    seconds, cpu = time.monotonic() - began, cpu_seconds() - before
    print(json.dumps({"file": "csv", "rows": 0, "seconds": [seconds], "cpu_seconds": cpu, "peak_bytes": peak_bytes()}))


def main():
    engine, *rest = sys.argv[1:]
    if engine == "csv":
        read_csv(*rest)
        return
    end = rest.index("--")
    tables = [pair.split("=", 1) for pair in rest[1:end]]
    queries(engine, int(rest[0]), tables, rest[end + 1 :])


main()
