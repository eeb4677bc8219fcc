/** Limits of the format readers that the artifact's own table does not name. */
export const FORMAT_LIMITS = {
  /** Quote characters in a safetensors header: bounds the memory that its keys take. */
  safetensorsHeaderQuotes: 4_000_000,
  /** Dimensions of a tensor. */
  tensorDimensions: 8,
  /** Arrays inside arrays in GGUF metadata. */
  ggufArrayDepth: 4,
  /** Items of a GGUF array that are kept; the rest is read over. */
  ggufKeptItems: 64,
  /** All metadata text of a GGUF file that is kept, in bytes. */
  ggufKeptBytes: 64 * 1024 * 1024,
  /** Fields of an ONNX file that are looked at: nodes and initializers are one each, with a few inside. */
  onnxFields: 2_000_000,
  /** All text of an ONNX file that is kept, in bytes. */
  onnxKeptBytes: 16 * 1024 * 1024,
  onnxDimensions: 64,
  /** Files in a zip archive. */
  zipMembers: 1_000_000,
  /** The central directory of a zip archive, in bytes. */
  zipDirectoryBytes: 256 * 1024 * 1024,
  zipNameBytes: 4_096,
  /** Bytes that a cursor reads at once. */
  windowBytes: 64 * 1024,
} as const;
