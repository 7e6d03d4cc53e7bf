// `npm run mock`: the built dashboard and a small in-memory API, for development and pictures.
//   node mock/main.mjs [--empty] [--setup]     PORT=4990
// Sign in as ada@example.com (administrator) or bob@example.com, password “correct horse”.
import { startMock } from './server.mjs'

const args = new Set(process.argv.slice(2))
const mock = await startMock({
  port: Number(process.env.PORT ?? 4990),
  empty: args.has('--empty'),
  setup: args.has('--setup'),
})
console.log(`mock at ${mock.origin}; ada@example.com or bob@example.com, “correct horse”`)
if (args.has('--setup')) console.log(`set up at ${mock.origin}/setup?token=first-token`)
