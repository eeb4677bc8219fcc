/** Routes and messages: secrets. */
export {};
