/**
 * Where to go after signing in. Only a path on this origin: anything that a browser could read as another host
 * (`//host`, `/\host`, with tabs or newlines hidden in it) falls back to the start page.
 */
export function safeNext(value: unknown): string {
  if (typeof value !== 'string' || !/^\/(?![/\\])/.test(value)) return '/'
  // Browsers drop control characters from addresses and take a backslash for a slash.
  if (/[\u0000-\u001f\u007f\\]/.test(value)) return '/'
  const base = 'http://dashboard.invalid'
  let url: URL
  try {
    url = new URL(value, base)
  } catch {
    return '/'
  }
  // `/.//host` normalises to `//host`.
  if (url.origin !== base || url.pathname.startsWith('//')) return '/'
  return url.pathname + url.search + url.hash
}
