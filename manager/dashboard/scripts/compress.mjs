// Writes a .br and a .gz twin beside every compressible file over 1 kB, so that the manager
// serves them as they are and never compresses at run time.
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const MIN_BYTES = 1024
const COMPRESSIBLE = new Set(['.js', '.css', '.html', '.svg', '.json', '.txt', '.map', '.webmanifest'])

const root = process.argv[2] ?? 'dist'
const total = { files: 0, raw: 0, br: 0, gz: 0 }

for (const entry of await readdir(root, { recursive: true })) {
  const path = join(root, entry)
  if (!COMPRESSIBLE.has(extname(path))) continue
  const { size } = await stat(path)
  if (size <= MIN_BYTES) continue
  const content = await readFile(path)
  const br = brotliCompressSync(content, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: size,
    },
  })
  const gz = gzipSync(content, { level: constants.Z_BEST_COMPRESSION })
  await Promise.all([writeFile(`${path}.br`, br), writeFile(`${path}.gz`, gz)])
  total.files += 1
  total.raw += size
  total.br += br.length
  total.gz += gz.length
}

const kb = (bytes) => `${(bytes / 1024).toFixed(1)} kB`
console.log(`compressed ${total.files} files: ${kb(total.raw)} raw, ${kb(total.br)} br, ${kb(total.gz)} gz`)
