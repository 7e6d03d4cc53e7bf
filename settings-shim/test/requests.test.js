'use strict';
// The small parts that read and rewrite a request, without a server.
const assert = require('node:assert/strict');
const test = require('node:test');
const { takeEnvironment } = require('../common/environment');
const { cookieValues, isOwnOrigin, removeCookies, removeHeaders } = require('../common/headers');
const { parseTarget, takeParameter } = require('../common/target');
const { isSound } = require('../node-red/comms');

function request(headers) {
  const rawHeaders = Object.entries(headers).flat();
  return { rawHeaders, headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])) };
}

test('a target is taken apart, and its leading slashes become one', () => {
  assert.deepEqual(parseTarget('/flows?a=1'), { path: '/flows', query: '?a=1' });
  assert.deepEqual(parseTarget('//evil.test/x?'), { path: '/evil.test/x', query: '?' });
  assert.deepEqual(parseTarget('/\\/evil.test'), { path: '/evil.test', query: '' });
  assert.deepEqual(parseTarget('/.well-known/..x/a...b'), { path: '/.well-known/..x/a...b', query: '' });
});

for (const url of ['', '*', 'http://host/flows', 'flows', '/a b', '/a\0', '/api/../flows', '/api/%2e%2e/flows', '/api/%2E./flows',
  '/api/..%2fflows', '/api\\..\\flows', '/api/..;/flows', '/api/.', '/a#b', undefined]) {
  test(`a target is refused: ${JSON.stringify(url)}`, () => assert.equal(parseTarget(url), null));
}

test('a parameter is taken out and the rest stays byte for byte', () => {
  assert.deepEqual(takeParameter('?x=%2F+1&access_token=T&y', 'access_token'), { value: 'T', query: '?x=%2F+1&y' });
  assert.deepEqual(takeParameter('?access_token=a%2Bb', 'access_token'), { value: 'a+b', query: '' });
  assert.deepEqual(takeParameter('?access%5Ftoken=T&access_token=U', 'access_token'), { value: 'T', query: '' });
  assert.deepEqual(takeParameter('?access_token', 'access_token'), { value: '', query: '' });
  assert.deepEqual(takeParameter('?a=%zz', 'access_token'), { value: null, query: '?a=%zz' });
  assert.deepEqual(takeParameter('', 'access_token'), { value: null, query: '' });
});

test('each value of a cookie is seen, and our own are removed in both places', () => {
  const req = request({ Cookie: 'a=1; openflow_token=x;openflow_token=y=z; Openflow_person=p ;b', Host: 'h' });
  assert.deepEqual(cookieValues(req, 'openflow_token'), ['x', 'y=z']);
  removeCookies(req, 'openflow_');
  assert.equal(req.headers.cookie, 'a=1; b');
  assert.deepEqual(req.rawHeaders, ['Cookie', 'a=1; b', 'Host', 'h']);
  const only = request({ Cookie: 'openflow_token=x' });
  removeCookies(only, 'openflow_');
  assert.deepEqual([only.headers, only.rawHeaders], [{}, []]);
});

test('headers are removed in both places', () => {
  const req = request({ 'X-Openflow-Session': 's', 'X-Other': 'o' });
  removeHeaders(req, (name) => name === 'x-openflow-session');
  assert.deepEqual([req.headers, req.rawHeaders], [{ 'x-other': 'o' }, ['X-Other', 'o']]);
});

const origins = [
  [{ host: 'wf1.test' }, true],
  [{ host: 'wf1.test', origin: 'http://wf1.test' }, true],
  [{ host: 'wf1.test:8080', origin: 'http://WF1.test:8080' }, true],
  [{ host: 'wf1.test', origin: 'https://wf1.test', 'x-forwarded-proto': 'https' }, true],
  [{ host: '10.0.0.5:1880', 'x-forwarded-host': 'wf1.test', origin: 'https://wf1.test' }, true],
  [{ host: 'wf1.test', 'sec-fetch-site': 'none' }, true],
  [{ host: 'wf1.test', origin: 'http://wf1.test', 'x-forwarded-proto': 'https' }, false],
  [{ host: 'wf1.test', origin: 'http://wf2.test' }, false],
  [{ host: 'wf1.test', origin: 'http://wf1.test:8080' }, false],
  [{ host: 'wf1.test', origin: 'http://wf1.test.evil.test' }, false],
  [{ host: 'wf1.test', origin: 'null' }, false],
  [{ host: 'wf1.test', origin: '' }, false],
  [{ origin: 'http://' }, false],
  [{ host: 'wf1.test', 'sec-fetch-site': 'same-site' }, false],
  [{ host: 'wf1.test', 'sec-fetch-site': 'cross-site' }, false],
];
for (const [headers, own] of origins) {
  test(`the origin is ${own ? 'our own' : 'refused'}: ${JSON.stringify(headers)}`, () => assert.equal(isOwnOrigin(request(headers)), own));
}

test('the environment is read once and its private part removed', () => {
  const env = {
    OPENFLOW_MAGIC_TOKEN: 'm'.repeat(16), OPENFLOW_CREDENTIAL_SECRET: 'c'.repeat(16), OPENFLOW_SAFE_MODE: 'TRUE',
    OPENFLOW_LAUNCH_URL: 'javascript:alert(1)', OPENFLOW_MANAGER_URL: 'http://manager:4071/', OPENFLOW_LOG_LEVEL: 'loud',
    OPENFLOW_URL: 'http://wf1.test', OPENFLOW_MQTT_PASSWORD: 'p', OPENFLOW_INSTANCE_ID: 'i', PATH: '/bin',
    OPENFLOW_SECRETS_DIR: '/secrets', OPENFLOW_MEMORY_MB: '768', OPENFLOW_N8N_SIGN_IN: 'true',
  };
  const settings = takeEnvironment(env);
  assert.deepEqual(env, { OPENFLOW_URL: 'http://wf1.test', OPENFLOW_MQTT_PASSWORD: 'p', OPENFLOW_INSTANCE_ID: 'i', PATH: '/bin' });
  assert.deepEqual(settings, {
    magic: 'm'.repeat(16), credentialSecret: 'c'.repeat(16), instanceId: 'i', subdomain: '', name: '', launchUrl: '',
    url: 'http://wf1.test', managerUrl: 'http://manager:4071', safeMode: true, logLevel: 'info', secretsDir: '/secrets', memoryMb: 768, n8nSignIn: true,
  });
});

test('an engine says which secrets it needs', () => {
  assert.equal(takeEnvironment({ OPENFLOW_MAGIC_TOKEN: 'm'.repeat(16) }, ['OPENFLOW_MAGIC_TOKEN']).credentialSecret, '');
});

for (const missing of ['OPENFLOW_MAGIC_TOKEN', 'OPENFLOW_CREDENTIAL_SECRET']) {
  test(`without ${missing} nothing starts, and the error names it`, () => {
    const env = { OPENFLOW_MAGIC_TOKEN: 'm'.repeat(16), OPENFLOW_CREDENTIAL_SECRET: 'c'.repeat(16), [missing]: 'short' };
    assert.throws(() => takeEnvironment(env), new RegExp(missing));
  });
}

const owner = { role: 'owner' };
const viewer = { role: 'viewer' };
const frames = [
  ['{"subscribe":"notification/#"}', viewer, true],
  ['{"topic":"multiplayer/connect","data":{}}', owner, true],
  ['{"topic":"multiplayer/connect","data":{}}', viewer, false],
  ['{"auth":"x"}', viewer, true],
  ['null', owner, false],
  ['1', owner, false],
  ['[]', owner, false],
  ['{"subscribe":1}', owner, false],
  ['{"subscribe":"a{2,1}"}', owner, false],
  ['{"auth":{}}', owner, false],
  ['{"topic":{}}', owner, false],
  ['not json', owner, false],
  [JSON.stringify({ subscribe: 'a'.repeat(70_000) }), owner, false],
];
for (const [frame, person, sound] of frames) {
  test(`a frame of a ${person.role} is ${sound ? 'passed on' : 'dropped'}: ${frame.slice(0, 50)}`, () => {
    assert.equal(isSound(frame, person), sound);
  });
}
