'use strict';
// What the gate must know of n8n: where its webhooks, pages and API are, what a person may not do there, and how a person is
// handed on to it. To n8n everybody who may come in is its one owner; who that is really, only the gate knows.
const { answer, answerJson, redirect } = require('../common/answers');
const { removeCookies, removeHeaders } = require('../common/headers');
const { runAs } = require('./deploys');
const { editorScript } = require('./frontend');
const { namePerson } = require('./names');
const { API, holdOff } = require('./writers');

const SESSION_COOKIE = 'n8n-auth';
// A browser must come by these with its own form or script: n8n answers them to anybody.
const FLOW_ROOTS = new Set(['webhook', 'webhook-test', 'webhook-waiting', 'form', 'form-test', 'form-waiting', 'mcp', 'mcp-test']);
const NO_PAGES = new Set(['api', 'assets', 'chat', 'healthz', 'icons', 'metrics', 'openflow', 'rest', 'schemas', 'static', 'types', '.well-known']);

const VIEWERS = {
  title: 'Your role here is viewer',
  text: 'n8n has no way to let somebody look at workflows without changing them, so its editor is open to members and owners only. '
    + 'Ask an owner of the project to make you a member. Webhooks and forms work for everybody as before.',
};
const BY_OPENFLOW = 'Openflow signs people in here, n8n does not: accounts, passwords and invitations are managed in the Openflow dashboard.';
// n8n's own accounts: nobody signs in with one, so that making or changing one would only mislead, or lock people out.
const ACCOUNTS = [
  ['POST', /^\/rest\/(login|forgot-password|change-password|change-email|confirm-email-change|invitations)(\/|$)/],
  ['GET', /^\/rest\/(resolve-password-token|resolve-signup-token|resolve-change-email-token)(\/|$)/],
  ['POST', /^\/rest\/(owner\/setup\/?|invitations\/.*|users\/.*)$/],
  ['PATCH', /^\/rest\/(me|me\/password|users\/.*)\/?$/],
  ['DELETE', /^\/rest\/users\/.*$/],
  [null, /^\/rest\/(mfa|sso|ldap|saml|oidc)(\/|$)/],
];

/**
 * @param {() => Promise<string>} session n8n's session of the owner, see session.js
 * @param {boolean} admitsNobody whether n8n may sign in people by itself, beside Openflow
 */
function createPolicy(session, admitsNobody) {
  return {
    admitsNobody,
    viewers: VIEWERS,
    // Express does not look at the case of a path.
    isFlow: (target) => /^\/[^/]+\/./.test(target) && FLOW_ROOTS.has(firstSegment(target)),
    isFlowSocket: (target) => target === '/chat', // of a public chat; n8n checks the ids of session and execution
    isHidden: (target) => firstSegment(target) === 'metrics',
    isKeyed: (req, target) => (API.test(target) && req.headers['x-n8n-api-key'] !== undefined)
      || (req.method === 'GET' && target === '/rest/binary-data/signed'),
    isPage: (method, target) => (method === 'GET' || method === 'HEAD') && !NO_PAGES.has(firstSegment(target)) && !/\.[a-z0-9]{2,5}$/.test(target),
    isEditorApi: () => true,
    isDeploy: () => false, // the hooks tell, see deploys.js
    isHarmless: () => false,
    isFrontDoor: (target) => target === '/rest/push',
    hide: (req) => removeCookies(req, SESSION_COOKIE),
    holdOff,
    answer: answerInstead,
    guardAnswer(req, res, target, person) {
      keepSession(res);
      if (req.method === 'GET' && target === '/rest/login') namePerson(req, res, person);
    },
    async admit(req) {
      removeCookies(req, SESSION_COOKIE);
      // The gate has compared the origin with the host; a chain of servers may have left headers that n8n compares with otherwise.
      removeHeaders(req, (name) => name === 'forwarded');
      const token = await session();
      req.headers.cookie = [req.headers.cookie, `${SESSION_COOKIE}=${token}`].filter(Boolean).join('; ');
    },
    run: runAs,
  };
}

const firstSegment = (target) => target.split('/')[1].toLowerCase();

/** What a person asks that n8n must not answer. `target` is in lower case. */
function answerInstead(req, res, target) {
  if (target === '/openflow/editor.js') {
    answer(req, res, 200, editorScript, { 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'no-cache' });
  } else if (req.method === 'POST' && /^\/rest\/logout\/?$/.test(target)) {
    answerJson(req, res, 200, { data: { loggedOut: true } }); // the editor goes on to /signin
  } else if (/^\/(signin|signout|setup|forgot-password|change-password|signup|mfa)\/?$/.test(target)) {
    redirect(req, res, 303, target.startsWith('/sign') ? afterSignIn(req.url) : '/');
  } else if (ACCOUNTS.some(([method, pattern]) => (method ?? req.method) === req.method && pattern.test(target))) {
    answerJson(req, res, 403, { code: 403, message: BY_OPENFLOW });
  } else {
    return false;
  }
  return true;
}

/** Whoever is signed in comes to n8n's own sign-in page from its "Sign out", or with a page to go back to (encoded twice). */
function afterSignIn(url) {
  const wanted = new URLSearchParams(url.split('?')[1] ?? '').get('redirect');
  if (wanted === null) return '/openflow/logout';
  let page = wanted;
  try {
    page = decodeURIComponent(wanted);
  } catch {
    // It was encoded once.
  }
  return /^\/(?![/\\])[\x21-\x7e]*$/.test(page) && !page.startsWith('/signin') ? page : '/';
}

/** n8n's session stays between the gate and n8n: a browser that had it would be signed in whatever Openflow says. */
function keepSession(res) {
  const { writeHead } = res;
  res.writeHead = function withoutSession(...args) {
    const cookies = [this.getHeader('set-cookie') ?? []].flat();
    const others = cookies.filter((cookie) => !String(cookie).startsWith(`${SESSION_COOKIE}=`));
    if (others.length === 0) this.removeHeader('set-cookie');
    else if (others.length < cookies.length) this.setHeader('set-cookie', others);
    return writeHead.apply(this, args);
  };
}

module.exports = { createPolicy };
