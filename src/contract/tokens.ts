/** Routes and messages: tokens. */
export {};
