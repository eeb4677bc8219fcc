// Serves one GGUF model on the CPU over the OpenAI chat API; prints one ready line on stdout, everything else on stderr.
import { readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { createApi } from "./api.mjs";
import { loadModel } from "./model.mjs";

const USAGE =
  "usage: node server.mjs --model PATH [--port N] [--host ADDRESS] [--api-key-sha256 HEX]\n" +
  "  PATH is a .gguf file or a folder that holds exactly one; port 0 picks a free one";
const CLOSE_TIMEOUT_MS = 700;

function parseFlags(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      model: { type: "string" },
      port: { type: "string", default: "0" },
      host: { type: "string", default: "127.0.0.1" },
      "api-key-sha256": { type: "string" },
    },
  });
  const port = Number(values.port);
  if (!values.model) throw new Error("--model is missing");
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error("--port takes a number from 0 to 65535");
  const hex = values["api-key-sha256"];
  if (hex !== undefined && !/^[0-9a-fA-F]{64}$/.test(hex)) throw new Error("--api-key-sha256 takes 64 hex digits");
  return { model: values.model, port, host: values.host, keyDigest: hex && Buffer.from(hex, "hex") };
}

function findModelFile(path) {
  if (!statSync(path).isDirectory()) return path;
  const names = readdirSync(path).filter((name) => name.endsWith(".gguf"));
  if (names.length !== 1) throw new Error(`--model: the folder holds ${names.length} .gguf files, not exactly one`);
  return join(path, names[0]);
}

function listen(server, port, host) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve(server.address()));
  });
}

function closeOnSignal(server, model) {
  const close = async () => {
    server.close();
    server.closeAllConnections();
    const late = new Promise((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS));
    await Promise.race([model.close(), late]).catch(() => {});
    process.exit(0);
  };
  process.once("SIGTERM", close);
  process.once("SIGINT", close);
}

async function main() {
  const flags = parseFlags(process.argv.slice(2));
  const file = findModelFile(flags.model);
  const model = await loadModel(file, basename(file, ".gguf"));
  const server = createApi(model, flags.keyDigest);
  closeOnSignal(server, model);
  const { port } = await listen(server, flags.port, flags.host);
  const host = flags.host.includes(":") ? `[${flags.host}]` : flags.host;
  process.stdout.write(`${JSON.stringify({ ready: true, url: `http://${host}:${port}`, model: model.name })}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n${USAGE}\n`);
  process.exit(1);
});
