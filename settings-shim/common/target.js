'use strict';
// The request target, taken apart by hand: `new URL` and `url.parse` throw on targets that a hostile client can send, and
// engines call them in upgrade listeners, where that ends the process. What passes here makes neither throw.

/**
 * @param {string | undefined} url the request target as it came
 * @returns {{path: string, query: string} | null} the query with its `?` or ''; the path begins with exactly one slash.
 *   null for what no honest client sends: absolute form, `*`, dot segments, control characters
 */
function parseTarget(url) {
  if (typeof url !== 'string' || !url.startsWith('/') || /[\0-\x20\x7f#]/.test(url)) return null;
  const question = url.indexOf('?');
  const path = (question < 0 ? url : url.slice(0, question)).replace(/^[/\\]+/, '/');
  if (/(^|[/\\])\.{1,2}([/\\;]|$)/.test(path.replace(/%2e/gi, '.').replace(/%2f/gi, '/').replace(/%5c/gi, '\\'))) return null;
  return { path, query: question < 0 ? '' : url.slice(question) };
}

/**
 * Takes a parameter out of a query and leaves the rest as it is, byte for byte.
 * @returns {{value: string | null, query: string}} the first value, or null when there is none
 */
function takeParameter(query, name) {
  let value = null;
  const rest = query.slice(1).split('&').filter((part) => {
    const [key, ...text] = part.split('=');
    if (decode(key) !== name) return part !== '';
    value ??= decode(text.join('='));
    return false;
  });
  return { value, query: rest.length > 0 ? `?${rest.join('&')}` : '' };
}

function decode(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, ' '));
  } catch {
    return text;
  }
}

module.exports = { parseTarget, takeParameter };
