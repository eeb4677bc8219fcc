/** Routes and messages: audit. */
export {};
