/** A counterpart of an instance's metadata (IMDSv2) and of a container's host, which moto does not serve. */
import { randomBytes } from "node:crypto";
import { type Answered, type Asked, extended, type Served, serve } from "./serve.ts";

export interface AwsMachine extends Served {
  /** Keys that were given, the secret by the access key's id. */
  readonly keys: Map<string, string>;
  readonly containerToken: string;
  /** Of the keys that are given next. */
  lifeSeconds: number;
  role: string | undefined;
}

export async function startAwsMachine(): Promise<AwsMachine> {
  const keys = new Map<string, string>();
  const sessions = new Set<string>();
  const state = { lifeSeconds: 3_600, role: "keeper" as string | undefined };
  const containerToken = randomBytes(12).toString("hex");
  const give = (): Answered => {
    const AccessKeyId = `ASIA${randomBytes(8).toString("hex").toUpperCase()}`;
    const SecretAccessKey = randomBytes(30).toString("base64");
    keys.set(AccessKeyId, SecretAccessKey);
    const Expiration = new Date(Date.now() + state.lifeSeconds * 1000).toISOString();
    const times = { Code: "Success", LastUpdated: new Date().toISOString(), Type: "AWS-HMAC", Expiration };
    return { status: 200, body: { ...times, AccessKeyId, SecretAccessKey, Token: randomBytes(90).toString("base64") } };
  };
  const served = await serve((asked) => {
    if (asked.path === "/container") return asked.headers.authorization === containerToken ? give() : { status: 403 };
    if (asked.path === "/latest/api/token") return session(asked, sessions);
    if (!sessions.has(String(asked.headers["x-aws-ec2-metadata-token"]))) return { status: 401 };
    const list = "/latest/meta-data/iam/security-credentials/";
    if (state.role === undefined) return { status: 404, body: "<?xml?>" };
    if (asked.path === list) return { status: 200, body: state.role, headers: { "content-type": "text/plain" } };
    return asked.path === `${list}${state.role}` ? give() : { status: 404 };
  });
  return extended(served, {
    keys,
    containerToken,
    get lifeSeconds() {
      return state.lifeSeconds;
    },
    set lifeSeconds(seconds: number) {
      state.lifeSeconds = seconds;
    },
    get role() {
      return state.role;
    },
    set role(name: string | undefined) {
      state.role = name;
    },
  });
}

function session({ method, headers }: Asked, sessions: Set<string>): Answered {
  const seconds = Number(headers["x-aws-ec2-metadata-token-ttl-seconds"]);
  if (method !== "PUT" || headers["x-forwarded-for"] !== undefined) return { status: 403 };
  if (!(seconds >= 1 && seconds <= 21_600)) return { status: 400 };
  const token = randomBytes(40).toString("base64");
  sessions.add(token);
  return { status: 200, body: token, headers: { "content-type": "text/plain" } };
}
