#!/usr/bin/env node
// The adapter of the OMS conformance suite as one program: pytest test/ --entrypoint=tools/conformance.mjs
process.argv.splice(2, 0, "conformance");
await import("../bin/modelkeep.mjs");
