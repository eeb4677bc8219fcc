/** Routes and messages: models. */
export {};
