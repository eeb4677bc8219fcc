/** Routes and messages: policy. */
export {};
