/** Every command, in the order help shows them. */
import type { Command } from "../command.ts";
import { checkout } from "./checkout.ts";
import { completionCommand } from "./completion.ts";
import { leaseList, leaseRevoke } from "./lease.ts";
import { modelList, modelShow } from "./model.ts";
import { providerDelete, providerList, providerSet } from "./provider.ts";
import { secretDelete, secretList, secretPut, secretRotate } from "./secret.ts";
import { configShow, serve } from "./serve.ts";

export const commands: readonly Command[] = [
  serve,
  modelList,
  modelShow,
  secretPut,
  secretList,
  secretRotate,
  secretDelete,
  checkout,
  leaseList,
  leaseRevoke,
  providerSet,
  providerList,
  providerDelete,
  configShow,
  completionCommand(() => commands),
];
