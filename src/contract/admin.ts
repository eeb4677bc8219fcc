/** Routes and messages: admin. */
export {};
