#!/usr/bin/env node
// The adapter of the OMS conformance suite as one program: pytest test/ --entrypoint=bin/modelkeep-conformance.mjs
process.argv.splice(2, 0, "conformance");
await import("./modelkeep.mjs");
