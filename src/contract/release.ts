/** Routes and messages: release. */
export {};
