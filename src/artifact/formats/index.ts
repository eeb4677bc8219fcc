/** Headers of weight files and archives, read from a bounded part of the file. */
export { ggmlTypeOf } from "./ggml-types.ts";
export * from "./gguf.ts";
export { FORMAT_LIMITS } from "./limits.ts";
export * from "./onnx.ts";
export * from "./safetensors.ts";
export * from "./source.ts";
export * from "./zip.ts";
