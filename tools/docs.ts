/** `npm run docs`: writes docs/reference anew. */
import { mkdirSync, writeFileSync } from "node:fs";
import { root } from "./checks/source.ts";
import { renderReference } from "./reference.ts";

mkdirSync(`${root}/docs/reference`, { recursive: true });
for (const [name, text] of renderReference()) writeFileSync(`${root}/docs/reference/${name}`, text);
