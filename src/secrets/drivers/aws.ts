/** Secrets of AWS Secrets Manager, and the keys of a role for a time. */
import { type BackendPorts, openAwsSecrets, openAwsSessions } from "../../backends/index.ts";
import type { Keeper } from "./keeper.ts";

const ARN = /^arn:aws[a-z-]{0,20}:/;

/** `awssm://REGION`, with `NAME[?stage=STAGE|version=ID][#FIELD]`. */
export async function openAwsKeeper(uri: string, ports: BackendPorts): Promise<Keeper> {
  const secrets = await openAwsSecrets(uri, ports);
  return {
    grammar: {
      path: /^(?:arn:aws[a-z-]{0,20}:secretsmanager:[a-z0-9-]{1,40}:\d{12}:secret:)?[\w/+=.@-]{1,512}$/,
      query: { stage: /^[\w/+=.@-]{1,256}$/, version: /^[A-Za-z0-9-]{32,64}$/ },
      hasField: true,
    },
    read: ({ path, query, field }) => secrets.read({ name: path, field, stage: query.stage, versionId: query.version }),
  };
}

/**
 * `awssts://REGION`, with `ROLE-ARN[?format=bedrock&policy=JSON&policy-arn=ARN&external-id=ID&session=NAME]`. The keys
 * end by themselves at their time, which AWS lets nobody bring forward.
 */
export async function openAwsRoleKeeper(uri: string, ports: BackendPorts): Promise<Keeper> {
  const sessions = await openAwsSessions(uri, ports);
  return {
    makes: true,
    grammar: {
      path: /^arn:aws[a-z-]{0,20}:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/,
      query: {
        format: /^(?:keys|bedrock)$/,
        policy: /^\{[^\p{Cc}]{1,900}\}$/u,
        "policy-arn": ARN,
        "external-id": /^[\w+=,.@:/-]{2,200}$/,
        session: /^[\w+=,.@-]{2,64}$/,
      },
      hasField: false,
    },
    read: ({ path, query }, { ttlSeconds }) =>
      sessions.assume(
        {
          roleArn: path,
          session: query.session ?? "modelkeep",
          policy: query.policy,
          policyArn: query["policy-arn"],
          externalId: query["external-id"],
          format: query.format === "bedrock" ? "bedrock" : "keys",
        },
        ttlSeconds,
      ),
  };
}
