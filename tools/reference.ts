/** Renders docs/reference from the tables the program itself reads: commands, errors, configuration, routes. */
import { z } from "zod";
import { listErrorCodes } from "../src/base/index.ts";
import { commands } from "../src/cli/commands/index.ts";
import { helpOfCommand } from "../src/cli/help.ts";
import * as contract from "../src/contract/index.ts";
import { configSchema } from "../src/server/config.ts";

const NOTE = "<!-- Made by `npm run docs` from the source; edit there. -->\n\n";

/** Path under docs/reference → text. */
export function renderReference(): Map<string, string> {
  return new Map([
    ["commands.md", commandsPage()],
    ["errors.md", errorsPage()],
    ["configuration.md", configurationPage()],
    ["http.md", httpPage()],
  ]);
}

function commandsPage(): string {
  const parts = commands.map(
    (command) => `## modelkeep ${command.name}\n\n\`\`\`text\n${helpOfCommand(command).trimEnd()}\n\`\`\`\n`,
  );
  return `# Commands\n\n${NOTE}${parts.join("\n")}`;
}

function errorsPage(): string {
  const rows = [...listErrorCodes()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, spec]) =>
        `| \`${code}\` | ${spec.module} | ${spec.status} | ${spec.exit} | ${cell(spec.title)} | ${cell(spec.hint ?? "")} |`,
    );
  return [
    "# Errors",
    "",
    NOTE.trimEnd(),
    "",
    "Over HTTP an error is `application/problem+json` (RFC 9457) with `code`; on the command line it is two lines, `error:` and `hint:`.",
    "",
    "| code | module | HTTP status | exit code | title | hint |",
    "|---|---|--:|--:|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function configurationPage(): string {
  const rows = Object.entries(configSchema.shape).map(([key, schema]) => {
    const type =
      (z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as { type?: string }).type ?? "string";
    return `| \`${key}\` | ${type} | \`MODELKEEP_${key.toUpperCase()}\` | ${cell(schema.description ?? "")} |`;
  });
  return [
    "# Configuration of the server",
    "",
    NOTE.trimEnd(),
    "",
    "A TOML file (`--config FILE`, `MODELKEEP_CONFIG`, or `modelkeep.toml` in the configuration folder), then the environment, then flags;",
    "the later one wins. `modelkeep config show --origin` prints each value and where it came from.",
    "",
    "| key | type | environment | what |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function httpPage(): string {
  const routes = (Object.values(contract) as unknown[])
    .filter(isRoute)
    .sort((a, b) => (a.path + a.method < b.path + b.method ? -1 : 1));
  const parts = routes.map((route) =>
    [
      `## ${route.method} ${route.path}`,
      "",
      `${route.about} Authentication: ${route.auth === "token" ? "DPoP-bound access token" : "none"}. At most ${route.maxBodyBytes} bytes.`,
      "",
      "```json",
      JSON.stringify(
        {
          [route.method === "GET" ? "query" : "body"]: schemaOf(route.body, "input"),
          reply: schemaOf(route.reply, "output"),
        },
        null,
        2,
      ),
      "```",
      "",
    ].join("\n"),
  );
  return `# HTTP API\n\n${NOTE}The same as OpenAPI: \`GET /openapi.json\`.\n\n${parts.join("\n")}`;
}

function isRoute(value: unknown): value is contract.Route {
  return typeof value === "object" && value !== null && "maxBodyBytes" in value && "path" in value;
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): unknown {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Record<string, unknown>;
  return rest;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
