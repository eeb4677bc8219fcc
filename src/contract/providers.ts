/** Routes and messages: providers. */
export {};
