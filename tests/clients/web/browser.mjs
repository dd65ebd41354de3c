// Serves the page and opens it in a browser without a screen; ends as the page says.
import { spawn } from "node:child_process";
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { API, PATIENT, DEVICE, STREAM, DEVICE_TOKEN, DOCTOR, PAGE_PORT } = process.env;
const is = { api: `http://${API}`, patient: PATIENT, device: DEVICE, stream: STREAM, deviceToken: DEVICE_TOKEN, doctor: DOCTOR };
const bundle = readFileSync(new URL("bundle.js", import.meta.url));
const profile = mkdtempSync(join(tmpdir(), "page-"));
let browser;

function end(outcome) {
  browser?.kill("SIGKILL");
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  if (outcome) console.error(outcome);
  process.exit(outcome ? 1 : 0);
}

const server = createServer((request, response) => {
  const answer = (type, body) => response.setHeader("content-type", type).end(body);
  if (request.url === "/is") return answer("application/json", JSON.stringify(is));
  if (request.url === "/bundle.js") return answer("text/javascript", bundle);
  if (request.url !== "/outcome") return answer("text/html", '<script type="module" src="/bundle.js"></script>');
  let outcome = "";
  request.on("data", (part) => (outcome += part));
  request.on("end", () => end(outcome));
});
server.listen(Number(PAGE_PORT), "127.0.0.1", () => {
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--user-data-dir=${profile}`];
  browser = spawn("chromium-headless-shell", [...flags, `http://127.0.0.1:${PAGE_PORT}/`], { stdio: "ignore" });
  browser.on("error", (error) => end(`no browser: ${error.message}`));
  browser.on("exit", (code) => end(`the browser ended by itself (${code})`));
  setTimeout(() => end("the page said nothing for a minute"), 60_000);
});
