/** A server as a process of its own whose pins are those of test authorities: argv is one JSON with configuration and pins. */
import { startServer } from "../../../src/server/server.ts";
import { configOf } from "../../server/support.ts";

const { folder, flags, anchors, codeFile } = JSON.parse(process.argv[2] ?? "{}");
const server = await startServer({
  config: await configOf(folder, flags),
  version: "0.0.0-test",
  writeLog: (line) => process.stderr.write(line),
  talk: () => undefined,
  bootstrapCodeFile: codeFile,
  anchors,
});
process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);
process.once("SIGTERM", () => void server.close());
