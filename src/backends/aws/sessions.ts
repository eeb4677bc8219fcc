/** Keys of a role of AWS for a time (STS AssumeRole), also as a bearer key of Bedrock. */
import { concatBytes, copySecret, utf8, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { FORM } from "../oauth.ts";
import { type BackendPorts, type FullPorts, fullPorts } from "../ports.ts";
import { jsonWithText } from "../secret-json.ts";
import type { FoundValue } from "../secret-value.ts";
import { bedrockKey } from "./bedrock.ts";
import { AwsConnection, awsPlace } from "./connection.ts";
import { type StsKeys, takeSts } from "./sts.ts";

/** STS gives nothing shorter, and a role no more than an hour to another role. */
const [LEAST_SECONDS, MOST_SECONDS] = [900, 3_600];

export interface AwsRolePlace {
  readonly roleArn: string;
  /** Stands in CloudTrail. */
  readonly session: string;
  /** JSON; the keys may do what this and the role allow. */
  readonly policy?: string | undefined;
  /** Also a policy, by its ARN. */
  readonly policyArn?: string | undefined;
  readonly externalId?: string | undefined;
  /**
   * `keys`: JSON as AWS's `credential_process` gives it. `bedrock`: a bearer key for Bedrock in this region, which ends
   * with the keys.
   */
  readonly format: "keys" | "bedrock";
}

/** `awssts://REGION`. Throws KMS_URI_UNKNOWN. */
export async function openAwsSessions(uri: string, given: BackendPorts): Promise<AwsSessions> {
  const ports = fullPorts(given);
  return new AwsSessions(
    await AwsConnection.open(awsPlace("sts", uri.replace("awssts://", ""), ports.env), ports),
    ports,
  );
}

export class AwsSessions {
  readonly #connection: AwsConnection;
  readonly #ports: FullPorts;

  constructor(connection: AwsConnection, ports: FullPorts) {
    this.#connection = connection;
    this.#ports = ports;
  }

  /** The keys end by themselves, and cannot be ended earlier by whoever asked for them. */
  async assume(place: AwsRolePlace, ttlSeconds: number): Promise<FoundValue> {
    const seconds = Math.min(Math.max(ttlSeconds, LEAST_SECONDS), MOST_SECONDS);
    const { region } = this.#connection.place;
    const body = utf8(String(new URLSearchParams(formOf(place, seconds))));
    const answer = await this.#connection.call({ headers: { "content-type": FORM }, body }, place.roleArn);
    const keys = takeSts(answer.body);
    try {
      const ends = (Date.parse(keys.expiration) - this.#ports.clock.now()) / 1000;
      const lifeSeconds = Math.max(0, Math.min(seconds, Math.floor(ends)));
      const value = place.format === "keys" ? processJson(keys) : this.#bearer(keys, region, lifeSeconds);
      return { value, lease: { id: `sts/${keys.accessKeyId}`, ttlSeconds: lifeSeconds, renewable: false } };
    } finally {
      wipe(keys.secretKey);
      wipe(keys.sessionToken);
    }
  }

  #bearer(keys: StsKeys, region: string, lifeSeconds: number): Uint8Array {
    using secretKey = GuardedBytes.take(copySecret(keys.secretKey));
    const { accessKeyId, sessionToken } = keys;
    return bedrockKey({ accessKeyId, secretKey, sessionToken }, { region, lifeSeconds, now: this.#ports.clock.now() });
  }
}

function formOf(place: AwsRolePlace, seconds: number): Record<string, string> {
  return {
    Action: "AssumeRole",
    Version: "2011-06-15",
    RoleArn: place.roleArn,
    RoleSessionName: place.session,
    DurationSeconds: String(seconds),
    ...(place.policy === undefined ? {} : { Policy: place.policy }),
    ...(place.policyArn === undefined ? {} : { "PolicyArns.member.1.arn": place.policyArn }),
    ...(place.externalId === undefined ? {} : { ExternalId: place.externalId }),
  };
}

/** As AWS gives keys to programs: `credential_process`. The caller wipes it. */
export function processJson({ accessKeyId, expiration, secretKey, sessionToken }: StsKeys): Uint8Array {
  const tail = jsonWithText("SessionToken", sessionToken, { Expiration: expiration });
  const head = jsonWithText("SecretAccessKey", secretKey, {});
  const value = concatBytes(
    utf8(`{"Version":1,"AccessKeyId":"${accessKeyId}",`),
    head.subarray(1, -1),
    utf8(","),
    tail.subarray(1),
  );
  for (const part of [head, tail]) wipe(part);
  return value;
}
