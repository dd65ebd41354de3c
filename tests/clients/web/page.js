// The client in a page: grpc-web to another origin, JSON, and server-sent events.
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { read, write } from "./client.js";

async function all(is) {
  const transport = createGrpcWebTransport({ baseUrl: is.api });
  await write(transport, is, 64);
  await read(transport, is, 64);
  const url = `${is.api}/v1/patients/${is.patient}/latest`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${is.doctor}` } });
  const { readings } = await answer.json();
  if (readings[0].reading.number !== 64) throw new Error(`read ${readings[0].reading.number}`);
  const events = new EventSource(`${is.api}/v1/health:watch`);
  const first = await new Promise((resolve, reject) => {
    events.onmessage = (event) => resolve(JSON.parse(event.data));
    events.onerror = () => reject(new Error("no events"));
  });
  events.close();
  if (first.status !== "SERVING") throw new Error(`the node says ${first.status}`);
}

const is = await (await fetch("/is")).json();
const outcome = await all(is).then(() => "", (error) => `${error}`);
await fetch("/outcome", { method: "POST", body: outcome });
