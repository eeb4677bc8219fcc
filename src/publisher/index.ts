/** Floor 7: the order of a publication. */
export { publishSealed } from "./publish.ts";
export type { Publication, PublishOptions, PublishStep } from "./publisher.ts";
