"""A device and a reader in Python, with the code that is generated from the .proto files."""

import os
import time

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from wardline.telemetry.v1 import ingest_pb2, ingest_pb2_grpc, reading_pb2, timeline_pb2, timeline_pb2_grpc

PULSE = "8867-4"


def bearer(variable):
    return [("authorization", "Bearer " + os.environ[variable])]


def send(channel):
    """Opens a stream, sends one batch, and waits until it is durable."""
    now = Timestamp()
    now.GetCurrentTime()
    reading = reading_pb2.Reading(metric=PULSE, unit="/min", number=62, measured_at=now)
    messages = [
        ingest_pb2.StreamReadingsRequest(
            open=ingest_pb2.Open(device_id=os.environ["DEVICE"], stream_id=os.environ["STREAM"])
        ),
        ingest_pb2.StreamReadingsRequest(batch=ingest_pb2.Batch(sequence=1, readings=[reading])),
    ]
    ingest = ingest_pb2_grpc.IngestServiceStub(channel)
    answers = ingest.StreamReadings(iter(messages), metadata=bearer("DEVICE_TOKEN"), timeout=30)
    assert any(answer.ack.through == 1 for answer in answers), "not acknowledged"


def read(timeline):
    """Asks until the reading is there."""
    request = timeline_pb2.LatestReadingsRequest(patient_id=os.environ["PATIENT"])
    until = time.monotonic() + 30
    while not (found := timeline.LatestReadings(request, metadata=bearer("DOCTOR")).readings):
        assert time.monotonic() < until, "nothing to read"
        time.sleep(0.02)
    assert found[0].reading.number == 62, found


def refused(timeline):
    """Asks about nobody, and takes the error apart."""
    request = timeline_pb2.LatestReadingsRequest(patient_id="00000002-0000-4000-8000-000000000009")
    try:
        timeline.LatestReadings(request, metadata=bearer("DOCTOR"))
    except grpc.RpcError as error:
        status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert any(detail.Unpack(info) and info.reason for detail in status.details), status
    else:
        raise AssertionError("somebody was found")


with grpc.insecure_channel(os.environ["GRPC"]) as channel:
    send(channel)
    reader = timeline_pb2_grpc.TimelineServiceStub(channel)
    read(reader)
    refused(reader)
