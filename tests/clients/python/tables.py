"""Flight SQL by ADBC, as the manual shows it: who reads what, with a token as a header and as a password, and what is refused."""

import os
import time

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import polars
from adbc_driver_flightsql import DatabaseOptions

URI = "grpc://" + os.environ["GRPC"].split("//")[-1]
HEADER = DatabaseOptions.AUTHORIZATION_HEADER.value


def rows(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetch_arrow_table().to_pylist()


def tables(connection):
    catalog = connection.adbc_get_objects(depth="tables").read_all().to_pylist()[0]
    assert catalog["catalog_name"] == "wardline", catalog
    schemas = catalog["catalog_db_schemas"]
    return {(schema["db_schema_name"], table["table_name"]) for schema in schemas for table in schema["db_schema_tables"]}


def refused(connection, sql, text):
    try:
        rows(connection, sql)
    except adbc_driver_manager.Error as error:
        assert text in str(error), f"{sql}: {error}"
    else:
        raise AssertionError(f"{sql} was run")


def until_archived(connection):
    """Asks until a reading is in the archive."""
    sql = f"SELECT patient_id, metric, value FROM readings WHERE patient_id = '{os.environ['PATIENT']}' AND good"
    until = time.monotonic() + 60
    while not (found := rows(connection, sql)):
        assert time.monotonic() < until, "nothing comes into the archive"
        time.sleep(0.2)
    return found


with flight_sql.connect(URI, db_kwargs={HEADER: "Bearer " + os.environ["DOCTOR"]}, autocommit=True) as doctor:
    found = until_archived(doctor)
    assert found == [{"patient_id": os.environ["PATIENT"], "metric": "8867-4", "value": 62.0}], found
    assert ("public", "readings") in tables(doctor), tables(doctor)
    for sql, text in [
        ("DROP TABLE readings", "must be a SELECT"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM heart.readings", "there is no table"),
        ("SELECT * FROM information_schema.tables", "there is no table"),
        ("SELECT no_such_column FROM readings", "no_such_column"),
    ]:
        refused(doctor, sql, text)
# a token as a password: any name goes
with flight_sql.connect(URI, db_kwargs={"username": "anybody", "password": os.environ["DOCTOR"]}, autocommit=True) as doctor:
    frame = polars.read_database("SELECT count(*) AS n FROM readings", doctor)
    assert frame["n"][0] >= 1, frame
try:
    with flight_sql.connect(URI, db_kwargs={"username": "anybody", "password": "guess"}, autocommit=True) as stranger:
        rows(stranger, "SELECT 1")
    raise AssertionError("a guess was let in")
except adbc_driver_manager.Error as error:
    assert "UNAUTHENTICATED" in str(error), error
