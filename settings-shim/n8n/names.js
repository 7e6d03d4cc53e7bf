'use strict';
// Shows in n8n's editor who is signed in. To n8n it is always its owner; in the answer that the editor takes the name from,
// the gate puts the person's.
const MAX_ANSWER_BYTES = 256 * 1024;

/** Watches the answer to GET /rest/login; one that is not as expected goes out as it is. */
function namePerson(req, res, person) {
  // Compressed or answered from the browser's cache, it could not be changed.
  for (const name of ['accept-encoding', 'if-none-match']) delete req.headers[name];
  const { write, end, writeHead } = res;
  const chunks = [];
  let size = 0;
  let head = null;
  const giveBack = () => {
    Object.assign(res, { write, end, writeHead });
    if (head) res.writeHead(...head);
  };
  res.writeHead = (...args) => {
    head = args;
    return res;
  };
  res.write = (chunk, ...rest) => {
    const [encoding] = rest;
    chunks.push(Buffer.from(chunk, typeof encoding === 'string' ? encoding : undefined));
    size += chunks.at(-1).length;
    if (size <= MAX_ANSWER_BYTES) return true;
    giveBack();
    return res.write(Buffer.concat(chunks));
  };
  res.end = (chunk, ...rest) => {
    if (chunk && typeof chunk !== 'function') chunks.push(Buffer.from(chunk, typeof rest[0] === 'string' ? rest[0] : undefined));
    const body = Buffer.concat(chunks);
    const named = (head?.[0] ?? res.statusCode) === 200 ? withName(body, person) : body;
    res.removeHeader('etag');
    res.setHeader('content-length', named.length);
    giveBack();
    return res.end(req.method === 'HEAD' ? undefined : named);
  };
}

function withName(body, person) {
  let value;
  try {
    value = JSON.parse(body);
  } catch {
    return body;
  }
  if (typeof value?.data?.id !== 'string') return body;
  value.data.firstName = person.name;
  value.data.lastName = '';
  value.data.fullName = person.name;
  return Buffer.from(JSON.stringify(value));
}

module.exports = { namePerson };
