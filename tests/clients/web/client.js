// A device and a reader, in Node and in a browser, with the code that is generated from the .proto files.
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { IngestService, WriteReadingsRequestSchema } from "./gen/wardline/telemetry/v1/ingest_pb.js";
import { TimelineService } from "./gen/wardline/telemetry/v1/timeline_pb.js";

const bearer = (token) => ({ headers: { authorization: `Bearer ${token}` } });

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** A reading of the pulse, measured now. */
export function reading(number) {
  return { metric: "8867-4", unit: "/min", measuredAt: timestampNow(), value: { case: "number", value: number } };
}

/** Writes one batch, which is durable when that has been answered. */
export async function write(transport, is, number) {
  const ingest = createClient(IngestService, transport);
  const batch = { deviceId: is.device, streamId: is.stream, sequence: 1n, readings: [reading(number)] };
  const answer = await ingest.writeReadings(create(WriteReadingsRequestSchema, batch), bearer(is.deviceToken));
  check(answer.acceptedReadings === 1n, `accepted ${answer.acceptedReadings}`);
}

/** Asks until the reading is there; then about nobody, and takes the error apart. */
export async function read(transport, is, number) {
  const timeline = createClient(TimelineService, transport);
  const until = Date.now() + 30_000;
  let found = [];
  while (found.length === 0) {
    check(Date.now() < until, "nothing to read");
    found = (await timeline.latestReadings({ patientId: is.patient }, bearer(is.doctor))).readings;
  }
  check(found[0].reading.value.value === number, `read ${found[0].reading.value.value}`);
  const nobody = { patientId: "00000002-0000-4000-8000-000000000009" };
  const error = await timeline.latestReadings(nobody, bearer(is.doctor)).then(() => undefined, ConnectError.from);
  check(error?.code === Code.NotFound, `answered ${error}`);
  check(error.details.some((detail) => detail.type === "google.rpc.ErrorInfo"), "no reason");
}
