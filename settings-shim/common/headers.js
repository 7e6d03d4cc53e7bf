'use strict';
// Reading and rewriting the headers of an incoming request. Node keeps them twice, as `headers` and as `rawHeaders`
// (from which `headersDistinct` is made); a flow can read either, so what is hidden must go from both.

/** Every value of the cookie `name`: a sibling subdomain can plant a second one with `Domain=`. */
function cookieValues(req, name) {
  return pairs(req.headers.cookie).filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
}

const pairs = (header) => (header ?? '').split(';').map((pair) => pair.trim()).filter(Boolean);

/** Removes the cookies whose name starts with `prefix` (in any case), keeping the others as they were. */
function removeCookies(req, prefix) {
  if (!req.headers.cookie?.toLowerCase().includes(prefix)) return;
  const keep = (header) => pairs(header).filter((pair) => !pair.toLowerCase().startsWith(prefix)).join('; ');
  rewriteHeaders(req, (name, value) => (name === 'cookie' ? keep(value) || null : value));
}

/** Removes the headers for which `matches(lower-case name, value)` holds. */
function removeHeaders(req, matches) {
  rewriteHeaders(req, (name, value) => (matches(name, value) ? null : value));
}

/** Puts `change(lower-case name, value)` in place of each value; null removes the header. */
function rewriteHeaders(req, change) {
  const raw = [];
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const value = change(req.rawHeaders[i].toLowerCase(), req.rawHeaders[i + 1]);
    if (value !== null) raw.push(req.rawHeaders[i], value);
  }
  req.rawHeaders.splice(0, req.rawHeaders.length, ...raw);
  for (const name of Object.keys(req.headers)) {
    const value = change(name, req.headers[name]);
    if (value === null) delete req.headers[name];
    else req.headers[name] = value;
  }
}

/**
 * True when one of our own pages asks, or no browser at all. Browsers send `Origin` with every upgrade and every
 * request that can change something; where it is missing, `Sec-Fetch-Site` tells.
 */
function isOwnOrigin(req) {
  const { origin } = req.headers;
  if (origin === undefined) return ['same-origin', 'none', undefined].includes(req.headers['sec-fetch-site']);
  const host = (req.headers['x-forwarded-host'] ?? req.headers.host ?? '').toLowerCase();
  const from = origin.toLowerCase();
  return host !== '' && (from === `https://${host}` || (from === `http://${host}` && !isTls(req)));
}

/** True when the browser's side of the connection is TLS, as the proxy in front of us says. */
const isTls = (req) => (req.headers['x-forwarded-proto'] ?? '').split(',')[0].trim().toLowerCase() === 'https';

module.exports = { cookieValues, removeCookies, removeHeaders, isOwnOrigin, isTls };
