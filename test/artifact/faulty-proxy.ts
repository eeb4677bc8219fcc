/** A proxy in front of a real server that breaks what a test wants broken. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { after } from "node:test";

export interface Fault {
  /** Answers this instead of asking the server. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Ends the connection after so many bytes of the server's answer. */
  readonly cutAfter?: number;
  /** Asks the server, and loses its answer. */
  readonly loseAnswer?: boolean;
  /** Never answers. */
  readonly silent?: boolean;
  /** Changes the server's answer. */
  readonly alter?: (body: Buffer, headers: Record<string, string | string[] | undefined>) => Buffer;
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

const servers: Server[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

export class FaultyProxy {
  readonly asked: Asked[] = [];
  /** Called for each request; nothing is broken where it says nothing. */
  fault: (asked: Asked, count: number) => Fault | undefined = () => undefined;
  origin = "";
  readonly #upstream: string;

  private constructor(upstream: string) {
    this.#upstream = upstream;
  }

  static async start(upstream: string): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(upstream);
    const server = createServer((incoming, answer) => proxy.#serve(incoming, answer));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    proxy.origin = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
    return proxy;
  }

  /** From now on, and without what was asked so far. */
  break(fault: FaultyProxy["fault"]): void {
    this.asked.length = 0;
    this.fault = fault;
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const asked = { method: incoming.method ?? "", path: incoming.url ?? "", headers: incoming.headers };
    this.asked.push(asked);
    const fault = this.fault(asked, this.asked.length) ?? {};
    const body: Buffer[] = [];
    incoming.on("error", () => undefined);
    for await (const chunk of incoming) body.push(chunk);
    if (fault.silent) return;
    if (fault.status !== undefined) {
      answer.writeHead(fault.status, fault.headers).end(fault.body ?? "");
      return;
    }
    const { method, headers } = incoming;
    const out = request(new URL(asked.path, this.#upstream), { method, headers }, (got) =>
      this.#pass(got, answer, fault),
    );
    out.on("error", () => answer.destroy());
    out.end(Buffer.concat(body));
  }

  async #pass(got: IncomingMessage, answer: ServerResponse, fault: Fault): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of got) chunks.push(chunk);
    if (fault.loseAnswer) return void answer.destroy();
    const headers = { ...got.headers, ...fault.headers };
    delete headers["transfer-encoding"];
    const body = fault.alter ? fault.alter(Buffer.concat(chunks), headers) : Buffer.concat(chunks);
    if (fault.alter) headers["content-length"] = String(body.length);
    answer.writeHead(got.statusCode ?? 500, headers);
    if (fault.cutAfter === undefined) return void answer.end(body);
    answer.write(body.subarray(0, fault.cutAfter), () => answer.destroy());
  }
}
