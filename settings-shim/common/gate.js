'use strict';
// The gate stands in front of everything that an engine's HTTP server does: every request and every upgrade passes here
// before the engine, its modules or a flow sees it. It decides who asks, hides what must not be seen further in,
// and answers by itself what needs no engine. Engines differ only in their policy (node-red/policy.js, n8n/policy.js).
//
// Invariant: whatever a client sends under an internal name (x-openflow-*) never reaches the engine.
// Invariant: flow paths are passed on without any check and without our cookies, headers and magic token.
const http = require('node:http');
const { syncBuiltinESMExports } = require('node:module');
const { answer, answerJson, answerPage, answerProblem, redirect, refuseUpgrade } = require('./answers');
const { cookieValues, isOwnOrigin, isTls, removeCookies, removeHeaders } = require('./headers');
const { HOLDER, identityKey, sameSecret, signSession, verifyCredential, verifySession } = require('./identity');
const { parseTarget, takeParameter } = require('./target');

const COOKIE = 'openflow_token'; // the magic token, or for a viewer a signed session
const NAME_COOKIE = 'openflow_person'; // who holds the magic token, so that the editor can show a name
const COOKIE_PREFIX = 'openflow_';
const COOKIE_SECONDS = 30 * 24 * 3600;
const MAX_HEADER_BYTES = 64 * 1024; // a sibling subdomain can plant many cookies; Node's 16 KiB would lock the owner out
const KEEP_ALIVE_MS = 75_000; // longer than a proxy keeps an idle connection, so that it never sends into a closing one
const UNANSWERED_UPGRADE_MS = 15_000;
const GUARDED = Symbol('openflow.guarded');

/**
 * @param {object} options
 * @param {{magic: string, instanceId: string, launchUrl: string}} options.settings see environment.js
 * @param {(token: string) => Promise<{person: object | null, retry: boolean}>} options.redeem see redeem.js
 * @param {object} options.policy the engine's part:
 *   `isFlow(path)` paths of flows, never authenticated; `isPage(method, path)` what is sent to the dashboard for sign-in;
 *   `isEditorApi(path)` what answers 401 (the rest answers 404, so that a proxy may try it under the flows' root);
 *   `isHarmless(path)` what a viewer may do although it is no mere reading; `isFrontDoor(path)` the editor's own WebSocket;
 *   `isDeploy(method, path)` what changes the flows;
 *   `admit(req, person)` puts the engine's own credential on the request.
 *   Optional: `isFlowSocket(path)` WebSockets of flows elsewhere; `isHidden(path)` what answers 404 to everybody; `isKeyed(req, path)` what checks a key of the engine's own;
 *   `hide(req)` takes off what a flow must not see beyond our own; `guardSocket(socket, path, person)`;
 *   `holdOff(req, res, path)` answers what has to come again later and returns true; called for all but flows;
 *   `answer(req, res, path, person)` answers by itself and returns true; `guardAnswer(req, res, path, person)` looks at
 *   what the engine answers; `admitsNobody` lets in whoever is not signed in, for the engine to deal with;
 *   `viewers` {title, text} where the engine has nothing that a viewer may see; `run(person, pass)` calls `pass`
 * @param {() => {ready?: boolean, flows: boolean}} options.health until `ready` nothing reaches the engine
 * @param {{isOurs: Function, handle: Function}} options.snapshots see snapshots.js
 * @param {(person: object) => void} options.deployed called after each successful deploy, see deployed.js
 * @param {{isOurs: Function, handle: Function}} options.inside what only the manager may ask, with the magic token
 */
function createGate({ settings, redeem, policy, health, snapshots, deployed, inside, now = Date.now }) {
  const { magic, instanceId, launchUrl } = settings;
  const key = identityKey(magic);
  const seconds = () => Math.floor(now() / 1000);
  const isMagic = (text) => sameSecret(text, magic);

  /** Who asks, by what the request carries; null for nobody. `changes`: it could alter something. */
  function identify(req, changes) {
    const bearer = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? '');
    if (bearer && isMagic(bearer[1])) return namedHolder(req);
    // What follows a browser sends by itself, also when a page of another tenant makes it ask.
    if (changes && !isOwnOrigin(req)) return null;
    const credential = req.headers['x-openflow-identity'];
    if (credential !== undefined) {
      const person = verifyCredential(credential, key, instanceId, seconds());
      if (person) return person;
    }
    const tokens = cookieValues(req, COOKIE);
    if (tokens.some(isMagic)) return namedHolder(req);
    return firstSession(tokens);
  }

  const namedHolder = (req) => firstSession(cookieValues(req, NAME_COOKIE)) ?? HOLDER;

  function firstSession(values) {
    for (const value of values) {
      const person = verifySession(value, key, instanceId, seconds());
      if (person) return person;
    }
    return null;
  }

  /** Hides from flows what is ours. An Authorization header that is not the magic token is the caller's own business. */
  function hide(req) {
    removeCookies(req, COOKIE_PREFIX);
    removeHeaders(req, (name, value) => isInternal(name) || (name === 'authorization' && value.includes(magic)));
    policy.hide?.(req);
  }

  /** Hands the request on as the person's, or as nobody's where the policy lets in those. */
  async function admit(req, person) {
    removeCookies(req, COOKIE_PREFIX);
    // A stale token of the editor must not win over the person that we found.
    removeHeaders(req, (name) => isInternal(name) || (person && name === 'authorization'));
    if (person) await policy.admit(req, person);
  }

  async function handleRequest(req, res, pass) {
    const target = parseTarget(req.url);
    if (!target) return answer(req, res, 400, 'Bad request\n');
    req.url = target.path + target.query;
    const path = target.path.toLowerCase();
    const { ready = true, ...state } = health();
    if (path === '/openflow/health') return answerJson(req, res, ready ? 200 : 503, { ok: ready, ...state });
    if (!ready) return answer(req, res, 503, 'This instance is starting. Please try again in a moment.\n', { 'retry-after': '2' });
    if (policy.isHidden?.(path)) return answer(req, res, 404, 'Not found');
    if (policy.isFlow(target.path)) return passFlow(req, pass);
    if (policy.isKeyed?.(req, path)) return policy.holdOff?.(req, res, path) ? undefined : passFlow(req, pass);
    if (inside?.isOurs(path)) return isManager(req) ? inside.handle(req, res, path) : answer(req, res, 404, 'Not found');
    if (path === '/openflow/logout') return signOut(req, res);

    const { value: accessToken, query } = takeParameter(target.query, 'access_token');
    req.url = target.path + query;
    if (accessToken !== null && req.method === 'GET') return land(req, res, accessToken);

    const changes = !['GET', 'HEAD', 'OPTIONS'].includes(req.method);
    const person = identify(req, changes);
    if (!person) return policy.admitsNobody ? passNobody(req, res, path, pass) : refuse(req, res, path);
    if (path === '/openflow/me') return answerJson(req, res, 200, { name: person.name, role: person.role });
    if (snapshots.isOurs(path)) return snapshots.handle(req, res, path, person);
    if (person.role === 'viewer' && policy.viewers) return refuseViewer(req, res, path);
    if (changes && person.role === 'viewer' && !policy.isHarmless(path)) {
      return answer(req, res, 403, 'Your role in this project is viewer: you may look, not change.\n');
    }
    if (policy.holdOff?.(req, res, path) || policy.answer?.(req, res, path, person)) return undefined;
    await admit(req, person);
    if (res.destroyed) return undefined;
    policy.guardAnswer?.(req, res, path, person);
    if (policy.isDeploy(req.method, path)) onSuccess(res, () => deployed(person));
    keepToOurselves(res);
    return policy.run ? policy.run(person, pass) : pass();
  }

  /** The manager itself, straight from its own network: no browser and no proxy is between. */
  function isManager(req) {
    const bearer = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? '');
    const cameThrough = ['x-openflow-identity', 'origin', 'sec-fetch-site'].some((name) => req.headers[name] !== undefined);
    return bearer !== null && isMagic(bearer[1]) && !cameThrough;
  }

  function passFlow(req, pass) {
    hide(req);
    return pass();
  }

  async function passNobody(req, res, path, pass) {
    if (policy.holdOff?.(req, res, path)) return undefined;
    await admit(req, null);
    keepToOurselves(res);
    return pass();
  }

  function refuseViewer(req, res, path) {
    const { title, text } = policy.viewers;
    if (!policy.isPage(req.method, path) || wantsJson(req)) return answerProblem(req, res, 403, text);
    const dashboard = launchUrl ? { href: new URL(launchUrl).origin, label: 'To the dashboard' } : {};
    return answerPage(req, res, 403, title, text, dashboard);
  }

  function refuse(req, res, path) {
    if (policy.isPage(req.method, path) && !wantsJson(req)) {
      if (launchUrl) return redirect(req, res, 302, launchLink(req.url));
      return answerPage(req, res, 401, 'Please sign in', 'Open this instance from your Openflow dashboard.', {});
    }
    if (policy.isPage(req.method, path) || policy.isEditorApi(path)) return answer(req, res, 401, 'Unauthorized');
    return answer(req, res, 404, 'Not found');
  }

  /** Exchanges a one-time token for a cookie and sends the browser to the same address without it. */
  async function land(req, res, token) {
    const current = identify(req, false);
    const { person, retry } = await redeem(token);
    if (res.destroyed) return;
    if (person && current && current !== HOLDER && current.userId !== person.userId) {
      // Whoever sends somebody a link must not be able to slip them into another account.
      answerPage(req, res, 409, 'Another account is signed in here',
        `You are signed in to this instance as ${current.name}. Sign out first, then launch it again.`,
        { href: '/openflow/logout', label: 'Sign out' });
    } else if (person) {
      redirect(req, res, 303, req.url, { 'set-cookie': cookiesFor(req, person) });
    } else if (current) {
      redirect(req, res, 303, req.url); // an old link, opened again by somebody who is signed in
    } else if (retry) {
      answerPage(req, res, 503, 'Sign-in is not available', 'Openflow could not be asked just now. Please try again in a moment.',
        { href: launchUrl && launchLink(req.url), label: 'Try again' }, { 'retry-after': '5' });
    } else {
      answerPage(req, res, 401, 'This link is no longer valid', 'It works once, and for a minute. Launch the instance again to get in.',
        { href: launchUrl && launchLink(req.url), label: 'Launch again' });
    }
  }

  /** The magic token gives every right, so a viewer's browser gets a session that says viewer instead. */
  function cookiesFor(req, person) {
    const attributes = `Path=/; HttpOnly; SameSite=Lax; Max-Age=${COOKIE_SECONDS}${isTls(req) ? '; Secure' : ''}`;
    const session = signSession(person, key, instanceId, seconds() + COOKIE_SECONDS);
    if (person.role === 'viewer') return [`${COOKIE}=${session}; ${attributes}`];
    return [`${COOKIE}=${magic}; ${attributes}`, `${NAME_COOKIE}=${session}; ${attributes}`];
  }

  function signOut(req, res) {
    if (!isOwnOrigin(req)) return redirect(req, res, 303, '/'); // another site's link or image
    const gone = `=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0${isTls(req) ? '; Secure' : ''}`;
    const dashboard = launchUrl ? new URL(launchUrl).origin : '/';
    return redirect(req, res, 303, dashboard, { 'set-cookie': [COOKIE + gone, NAME_COOKIE + gone] });
  }

  const launchLink = (next) => `${launchUrl}${launchUrl.includes('?') ? '&' : '?'}next=${encodeURIComponent(next)}`;

  /** `pass()` hands the upgrade to the engine. Until then the socket waits unread; a token may have to be redeemed first. */
  async function handleUpgrade(req, socket, pass) {
    socket.on('error', () => socket.destroy()); // without a listener a reset connection would end the process
    const target = parseTarget(req.url);
    if (!target) return refuseUpgrade(socket, 400);
    req.url = target.path + target.query;
    if (health().ready === false) return refuseUpgrade(socket, 503);
    if (policy.isFlow(target.path) || policy.isFlowSocket?.(target.path)) {
      hide(req);
    } else {
      const { value: accessToken, query } = takeParameter(target.query, 'access_token');
      req.url = target.path + query;
      const person = identify(req, true) ?? (accessToken !== null && isOwnOrigin(req) ? (await redeem(accessToken)).person : null);
      if (!person && !policy.admitsNobody) return refuseUpgrade(socket, policy.isEditorApi(target.path.toLowerCase()) ? 401 : 404);
      if (person?.role === 'viewer' && (policy.viewers || !policy.isFrontDoor(target.path))) return refuseUpgrade(socket, 403);
      await admit(req, person);
      policy.guardSocket?.(socket, target.path, person);
    }
    if (socket.destroyed) return undefined;
    // Engines leave an upgrade that nobody wants open for ever; anybody could collect such sockets.
    const unanswered = setTimeout(() => { if (socket.bytesWritten === 0) socket.destroy(); }, UNANSWERED_UPGRADE_MS);
    socket.once('close', () => clearTimeout(unanswered));
    return pass();
  }

  return { handleRequest, handleUpgrade };
}

/** Other tenants are same-site: without these they could frame the editor or read its answers as scripts. */
function keepToOurselves(res) {
  res.setHeader('X-Frame-Options', 'SAMEORIGIN');
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  res.setHeader('Referrer-Policy', 'same-origin');
}

/** Calls `then` when the engine answers that all went well, also if whoever asked has hung up meanwhile. */
function onSuccess(res, then) {
  const { writeHead } = res;
  res.writeHead = function watchedWriteHead(status, ...rest) {
    if (status >= 200 && status < 300) then();
    return writeHead.call(this, status, ...rest);
  };
}

/** True for every spelling that some server might take for x-openflow-…. */
const isInternal = (name) => /^x[-_]openflow[-_]/.test(name);

const wantsJson = (req) => /\bapplication\/json\b/i.test(req.headers.accept ?? '') && !/\btext\/html\b/i.test(req.headers.accept ?? '');

/**
 * Puts the gate in front of the next HTTP server that this process creates, which is the engine's own.
 * Wrapping `emit` (instead of adding listeners) puts it before every listener, also those that modules add or replace later.
 */
function guardNextServer(gate) {
  const create = http.createServer;
  const replace = (it) => {
    http.createServer = it;
    syncBuiltinESMExports(); // for an engine that imports the module
  };
  replace(function createServer(...args) {
    replace(create);
    const options = typeof args[0] === 'object' ? args.shift() : {};
    const server = create.call(http, { maxHeaderSize: MAX_HEADER_BYTES, ...options }, ...args);
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    const emit = server.emit;
    server.emit = function guardedEmit(event, ...rest) {
      const pass = () => emit.call(server, event, ...rest);
      if (event === 'request') guarded(() => gate.handleRequest(rest[0], rest[1], pass), () => rest[1].destroy());
      else if (event === 'upgrade') guarded(() => gate.handleUpgrade(rest[0], rest[1], pass), () => rest[1].destroy());
      else return pass();
      return true;
    };
    server[GUARDED] = true;
    return server;
  });
}

/** Whether the gate stands in front of this server. */
const isGuarded = (server) => server?.[GUARDED] === true;

/** A fault while one request is looked at ends that request, not the instance. */
async function guarded(handle, giveUp) {
  try {
    await handle();
  } catch (error) {
    console.error(`[openflow] a request was dropped: ${error.stack}`);
    giveUp();
  }
}

module.exports = { createGate, guardNextServer, isGuarded };
