// The client in Node, over gRPC: also a stream both ways.
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { read, reading } from "./client.js";
import { IngestService } from "./gen/wardline/telemetry/v1/ingest_pb.js";

const { GRPC, PATIENT, DEVICE, STREAM, DEVICE_TOKEN, DOCTOR } = process.env;
const transport = createGrpcTransport({ baseUrl: `http://${GRPC}` });
const is = { patient: PATIENT, doctor: DOCTOR };

async function* messages(acknowledged) {
  yield { message: { case: "open", value: { deviceId: DEVICE, streamId: STREAM } } };
  yield { message: { case: "batch", value: { sequence: 1n, readings: [reading(63)] } } };
  await acknowledged;
}

const ingest = createClient(IngestService, transport);
let done;
const acknowledged = new Promise((resolve) => (done = resolve));
const headers = { authorization: `Bearer ${DEVICE_TOKEN}` };
let last = 0n;
for await (const answer of ingest.streamReadings(messages(acknowledged), { headers, timeoutMs: 30_000 })) {
  if (answer.message.case === "ack") {
    last = answer.message.value.through;
    done();
  }
}
if (last !== 1n) throw new Error(`acknowledged ${last}`);
await read(transport, is, 63);
process.exit(0);
