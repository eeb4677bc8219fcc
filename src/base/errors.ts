/** One error class for the whole house; each module owns a table of codes. */

/** Exit codes of the command line; "refused" never shares a number with "could not tell". */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  denied: 3,
  verificationFailed: 4,
  notGranted: 5,
  unreachable: 6,
  findings: 7,
  interrupted: 130,
} as const;

export interface ErrorSpec {
  /** HTTP status of the problem+json answer (RFC 9457). */
  readonly status: number;
  /** Exit code of the command line, see EXIT. */
  readonly exit: number;
  /** One sentence, the same for every occurrence; never holds a value. */
  readonly title: string;
  /** The next command or step, where it is the same for every occurrence. */
  readonly hint?: string;
}

export type ErrorTable = Readonly<Record<string, ErrorSpec>>;

export interface ErrorOptions {
  /** What was wrong here, with the wrong value; never a secret. */
  readonly detail?: string;
  /** Overrides the hint of the table. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Extra public members of the problem+json document. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export class ModelkeepError extends Error {
  readonly code: string;
  readonly status: number;
  readonly exit: number;
  readonly title: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly extra: Readonly<Record<string, unknown>> | undefined;

  constructor(code: string, spec: ErrorSpec, options: ErrorOptions = {}) {
    super(options.detail ? `${spec.title}: ${options.detail}` : spec.title, { cause: options.cause });
    this.name = "ModelkeepError";
    this.code = code;
    this.status = spec.status;
    this.exit = spec.exit;
    this.title = spec.title;
    this.detail = options.detail;
    this.hint = options.hint ?? spec.hint;
    this.extra = options.extra;
  }
}

const registry = new Map<string, ErrorSpec & { readonly module: string }>();

export type ErrorMaker<T extends ErrorTable> = (code: keyof T & string, options?: ErrorOptions) => ModelkeepError;

/**
 * Registers a module's table of codes and returns the function that makes its errors.
 * Codes are UPPER_SNAKE_CASE and unique in the whole program.
 */
export function defineErrors<const T extends ErrorTable>(module: string, table: T): ErrorMaker<T> {
  for (const [code, spec] of Object.entries(table)) {
    if (registry.has(code)) throw new Error(`error code ${code} is defined twice`);
    registry.set(code, { ...spec, module });
  }
  return (code, options) => {
    const spec = table[code];
    if (!spec) throw new Error(`no error code ${code} in module ${module}`);
    return new ModelkeepError(code, spec, options);
  };
}

/** Every registered code, for the generated reference. */
export function listErrorCodes(): ReadonlyMap<string, ErrorSpec & { readonly module: string }> {
  return registry;
}

export const baseError = defineErrors("base", {
  INTERNAL: { status: 500, exit: EXIT.failed, title: "Internal error" },
  LIMIT_EXCEEDED: { status: 413, exit: EXIT.failed, title: "A limit was exceeded" },
  INVALID_INPUT: { status: 400, exit: EXIT.usage, title: "The input is not valid" },
  INVALID_JSON: { status: 400, exit: EXIT.failed, title: "The text is not valid JSON" },
  UNREACHABLE: { status: 503, exit: EXIT.unreachable, title: "The other side cannot be reached" },
});

/** Turns anything thrown into a ModelkeepError; what is unknown says INTERNAL and nothing else. */
export function toModelkeepError(error: unknown): ModelkeepError {
  return error instanceof ModelkeepError ? error : baseError("INTERNAL", { cause: error });
}

/** The problem+json document of an error (RFC 9457, section 3). */
export function toProblem(error: ModelkeepError): Record<string, unknown> {
  return {
    ...error.extra,
    type: `urn:modelkeep:error:${error.code}`,
    title: error.title,
    status: error.status,
    code: error.code,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  };
}
