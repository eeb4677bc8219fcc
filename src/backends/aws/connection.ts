/** Signed requests to one service of AWS in one region, with the credentials that the environment names. */
import { backendError } from "../errors.ts";
import { type HttpAnswer, HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import type { FullPorts } from "../ports.ts";
import { revealText } from "../private-file.ts";
import { AwsCredentialSource, wipeCredentials } from "./credentials.ts";
import { awsErrorOf, isThrottling } from "./errors.ts";
import { type AwsCredentials, signRequest } from "./sigv4.ts";

export interface AwsPlace {
  readonly region: string;
  /** As signatures name it, for example `secretsmanager`. */
  readonly service: string;
  readonly origin: string;
  readonly host: string;
}

export interface AwsRequest {
  readonly headers: Readonly<Record<string, string>>;
  /** The caller wipes it. */
  readonly body: Uint8Array;
}

const REGION = /^[a-z]{2}(?:-[a-z]{2,12}){1,3}-\d{1,2}$/;

/** AWS_ENDPOINT_URL_SERVICE or AWS_ENDPOINT_URL where they are set. Throws KMS_URI_UNKNOWN. */
export function awsPlace(service: string, region: string, env: FullPorts["env"], setting = service): AwsPlace {
  if (!REGION.test(region)) throw backendError("KMS_URI_UNKNOWN", { detail: "the region is not one" });
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const given = env[`AWS_ENDPOINT_URL_${setting.toUpperCase()}`] || env.AWS_ENDPOINT_URL;
  const url = safeOrigin(given || `https://${service}.${region}.${domain}`);
  if (url?.pathname !== "/" || url.search !== "")
    throw backendError("KMS_URI_UNKNOWN", { detail: "AWS_ENDPOINT_URL is https://HOST[:PORT]" });
  return { region, service, origin: url.origin, host: url.host };
}

export class AwsConnection {
  readonly place: AwsPlace;
  readonly #http: HttpService;
  readonly #ports: FullPorts;
  readonly #credentials: AwsCredentialSource;

  private constructor(place: AwsPlace, http: HttpService, ports: FullPorts) {
    this.place = place;
    this.#http = http;
    this.#ports = ports;
    this.#credentials = new AwsCredentialSource(ports, place.region);
  }

  static async open(place: AwsPlace, ports: FullPorts): Promise<AwsConnection> {
    const ca = await readAuthorities(ports.env.AWS_CA_BUNDLE);
    const hint = "name its authority: export AWS_CA_BUNDLE=FILE.pem";
    return new AwsConnection(place, new HttpService(place.origin, ports, { ca, hint }), ports);
  }

  /**
   * Keys of a role that are refused are fetched anew, once. `where` stands in errors. Requests are made again after
   * faults of the network. The caller wipes the answer's body.
   */
  async call(request: AwsRequest, where: string, deniedHint?: string): Promise<HttpAnswer> {
    for (let round = 1; ; round++) {
      const answer = await this.#once(request);
      if (answer.status === 200) return answer;
      const error = awsErrorOf(answer, where, deniedHint);
      if (round > 1 || error.code !== "KMS_CREDENTIALS_REFUSED" || !this.#credentials.refused()) throw error;
    }
  }

  async #once(request: AwsRequest): Promise<HttpAnswer> {
    const credentials = await this.#credentials.get();
    try {
      const headers = () => this.#headers(request, credentials);
      return await this.#http.send(() => ({ method: "POST", path: "/", headers: headers(), body: request.body }), {
        repeatable: true,
        asksForLater: isThrottling,
      });
    } finally {
      wipeCredentials(credentials);
    }
  }

  #headers({ headers: own, body }: AwsRequest, credentials: AwsCredentials): Record<string, string> {
    const { sessionToken } = credentials;
    const { host, region, service } = this.place;
    const headers = {
      host,
      ...own,
      ...(sessionToken ? { "x-amz-security-token": revealText(sessionToken) } : {}),
    };
    return signRequest(
      { method: "POST", path: "/", headers, body, region, service, now: this.#ports.clock.now() },
      credentials,
    );
  }
}
