/** The server knows the rules and tells them next to the field; this is advice. */
export const PASSWORD_HINT = 'Make it long: a few unrelated words are good.'
