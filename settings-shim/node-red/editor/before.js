// Runs before the editor starts. A token that an earlier sign-in left in this browser would win over the cookie on the
// editor's WebSocket and bring up a sign-in form that nobody can fill in.
try {
  for (const key of Object.keys(localStorage)) if (key.startsWith('auth-tokens')) localStorage.removeItem(key);
} catch (error) { /* storage is switched off: then nothing is left in it either */ }
