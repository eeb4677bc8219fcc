/** Floor 7: the order of a publication. */
export { publisherError } from "./errors.ts";
export { matchText, publishSealed } from "./publish.ts";
export type { Publication, PublishOptions, PublishStep } from "./publisher.ts";
