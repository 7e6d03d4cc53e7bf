'use strict';
// The few answers that the shim gives itself, on a ServerResponse or on the bare socket of an upgrade.
const { STATUS_CODES } = require('node:http');

const BASE_HEADERS = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' };
const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

function answer(req, res, status, body, headers = {}) {
  const type = headers['content-type'] ?? 'text/plain; charset=utf-8';
  // A body that nobody read would be taken for the next request.
  const close = req.headers['content-length'] > 0 || req.headers['transfer-encoding'] !== undefined ? { connection: 'close' } : {};
  res.writeHead(status, { ...BASE_HEADERS, ...headers, 'content-type': type, 'content-length': Buffer.byteLength(body), ...close });
  res.end(req.method === 'HEAD' ? undefined : body);
}

const answerJson = (req, res, status, value, headers = {}) =>
  answer(req, res, status, JSON.stringify(value), { 'content-type': 'application/json', ...headers });

/** An RFC 9457 answer like the manager's. `detail` says what happened and what to do. */
const answerProblem = (req, res, status, detail, headers = {}) =>
  answerJson(req, res, status, { type: 'about:blank', title: STATUS_CODES[status], status, detail }, { 'content-type': 'application/problem+json', ...headers });

const redirect = (req, res, status, location, headers = {}) => answer(req, res, status, '', { ...headers, location });

/** A page with one sentence and, when there is somewhere to go, one button. */
function answerPage(req, res, status, title, text, link, headers = {}) {
  const button = link.href ? `<p><a href="${escapeHtml(link.href)}">${escapeHtml(link.label)}</a></p>` : '';
  const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:20vh auto;padding:0 1rem;color:#1f2933}
a{display:inline-block;padding:.5rem 1rem;border-radius:.4rem;background:#1d4ed8;color:#fff;text-decoration:none}</style>
<h1>${escapeHtml(title)}</h1><p>${escapeHtml(text)}</p>${button}</html>
`;
  answer(req, res, status, page, { ...headers, 'content-type': 'text/html; charset=utf-8', 'content-security-policy': PAGE_POLICY });
}

const escapeHtml = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** Refuses an upgrade: a whole HTTP answer, then the end of the connection. */
function refuseUpgrade(socket, status) {
  if (!socket.writable) return socket.destroy();
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  return socket.destroySoon();
}

module.exports = { answer, answerJson, answerPage, answerProblem, redirect, refuseUpgrade };
