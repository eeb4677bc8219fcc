/** Secrets of AWS Secrets Manager, by version or stage. */
import { utf8, wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import { takeMember } from "../json-bytes.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { decodeBase64 } from "../secret-json.ts";
import type { FoundValue } from "../secret-value.ts";
import { orNothing } from "../secret-value.ts";
import { AwsConnection, awsPlace } from "./connection.ts";

export interface AwsSecretPlace {
  /** Name or ARN. */
  readonly name: string;
  readonly versionId?: string | undefined;
  /** AWSCURRENT when neither is named. */
  readonly stage?: string | undefined;
  /** Of a secret that is a JSON object. */
  readonly field?: string | undefined;
}

/** `awssm://REGION`. Throws KMS_URI_UNKNOWN. */
export async function openAwsSecrets(uri: string, given: BackendPorts): Promise<AwsSecrets> {
  const ports = fullPorts(given);
  const place = awsPlace("secretsmanager", uri.replace("awssm://", ""), ports.env, "secrets_manager");
  return new AwsSecrets(await AwsConnection.open(place, ports));
}

export class AwsSecrets {
  readonly #connection: AwsConnection;

  constructor(connection: AwsConnection) {
    this.#connection = connection;
  }

  /** Undefined when there is no such secret, version or field. */
  read(place: AwsSecretPlace): Promise<FoundValue | undefined> {
    return orNothing(async () => {
      const answer = await this.#ask(place);
      try {
        const value = takeMember(answer.body, ["SecretString"]) ?? binaryOf(answer.body);
        return value && fieldOf(value, place.field);
      } finally {
        wipe(answer.body);
      }
    });
  }

  #ask({ name, versionId, stage }: AwsSecretPlace) {
    const request = { SecretId: name, VersionId: versionId, VersionStage: stage };
    const headers = {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": "secretsmanager.GetSecretValue",
    };
    const where = `awssm://${this.#connection.place.region}/${name}`;
    return this.#connection.call({ headers, body: utf8(JSON.stringify(request)) }, where);
  }
}

function binaryOf(body: Uint8Array): Uint8Array | undefined {
  const encoded = takeMember(body, ["SecretBinary"]);
  if (!encoded) return undefined;
  const value = decodeBase64(encoded);
  wipe(encoded);
  if (value) return value;
  throw backendError("KMS_ANSWER_INVALID", { detail: "SecretBinary is not base64" });
}

function fieldOf(value: Uint8Array, field: string | undefined): FoundValue | undefined {
  if (field === undefined) return { value };
  try {
    const found = takeMember(value, [field]);
    return found && { value: found };
  } finally {
    wipe(value);
  }
}
