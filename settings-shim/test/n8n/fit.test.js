'use strict';
// A data folder gets another encryption key, and a real n8n lives with it.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { BEARER, KEY, ROOT, environment, newFolder, staged, startN8n } = require('./support');
const { decrypt, decryptText, encrypt, encryptText } = require('./secrets');
const { asking, contentOf } = require('./workflows');

const OTHER = 'the-key-of-another-instance-0123456789';
const CREDENTIAL = { id: 'cred', name: 'Key', type: 'httpHeaderAuth' };

function fit(data, from, to) {
  const env = environment(to);
  fs.writeFileSync(path.join(env.OPENFLOW_SECRETS_DIR, 'old_encryption_key'), from);
  return spawnSync(staged().node, [path.join(ROOT, 'settings-shim/n8n/fit.js'), '--data', data, '--app', staged().app], { env, encoding: 'utf8' });
}

test('credentials work under the new key; the old folder is refused; a wrong key changes nothing', async () => {
  const shop = http.createServer((req, res) => { res.setHeader('content-type', 'application/json').end(JSON.stringify({ key: req.headers['x-key'] ?? null })); });
  await new Promise((resolve) => { shop.listen(0, '127.0.0.1', resolve); });
  let n8n = await startN8n();
  try {
    const content = contentOf({ workflows: [asking('wfAsk', 'ask', `http://127.0.0.1:${shop.address().port}/`, CREDENTIAL)],
      credentials: [{ ...CREDENTIAL, data: encrypt({ name: 'x-key', value: 'secret' }, KEY) }] });
    const answer = await n8n.ask({ method: 'PUT', path: '/openflow/content', headers: { ...BEARER, 'content-type': 'application/json' }, body: content });
    assert.equal(answer.status, 200, answer.body);
    await n8n.stop();

    const wrong = fit(n8n.data, 'a-key-that-it-never-had-0123456789', OTHER);
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /^openflow: .*\.n8n\/config holds another encryption key/);
    const config = path.join(n8n.data, '.n8n/config');
    fs.renameSync(config, `${config}.aside`);
    assert.match(fit(n8n.data, 'a-key-that-it-never-had-0123456789', OTHER).stderr, /^openflow: .*cred in credentials_entity cannot be decrypted/);
    fs.renameSync(`${config}.aside`, config);
    for (let i = 0; i < 2; i += 1) assert.deepEqual([fit(n8n.data, KEY, OTHER).status, fit(n8n.data, KEY, OTHER).stderr], [0, '']);

    n8n = await startN8n({ key: OTHER, data: n8n.data });
    assert.deepEqual((await n8n.ask({ path: '/webhook/ask' })).json(), { key: 'secret' });
    const now = (await n8n.ask({ path: '/openflow/content', headers: BEARER })).json();
    assert.deepEqual(decrypt(now.credentials[0].data, OTHER), { name: 'x-key', value: 'secret' });
    assert.ok(!/legacy|DEK|decrypt/i.test(n8n.log()), n8n.log());
  } finally {
    await n8n.stop();
    shop.close();
  }
});

test('a configuration that is damaged, or of a third key, is refused before anything is changed', () => {
  for (const [text, says] of [['{"encryptionKey": "', /config is damaged/], ['{"encryptionKey": "a-third-key-0123456789"}', /another encryption key/]]) {
    const data = newFolder();
    const folder = path.join(data, '.n8n');
    fs.mkdirSync(folder);
    fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), path.join(folder, 'database.sqlite'));
    fs.writeFileSync(path.join(folder, 'config'), text);
    const before = fs.readFileSync(path.join(folder, 'database.sqlite'));
    const { status, stderr } = fit(data, KEY, OTHER);
    assert.equal(status, 1);
    assert.match(stderr, says);
    assert.ok(!stderr.includes('a-third-key'), stderr);
    assert.equal(fs.readFileSync(path.join(folder, 'config'), 'utf8'), text);
    assert.ok(before.equals(fs.readFileSync(path.join(folder, 'database.sqlite'))));
    assert.deepEqual(fs.readdirSync(folder).sort(), ['config', 'database.sqlite']);
    fs.rmSync(data, { recursive: true });
  }
});

/** By the image's Node.js; the one that runs the tests may be without SQLite. */
function sqlite(file, text) {
  const script = "const { DatabaseSync } = require('node:sqlite'); const it = new DatabaseSync(process.argv[1]); console.log(JSON.stringify(it.prepare(process.argv[2]).all())); it.close()";
  const { status, stdout, stderr } = spawnSync(staged().node, ['-e', script, file, text], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

test('second factors are encrypted anew, too; what a tenant wrote is shown without what would mislead', () => {
  const data = newFolder();
  const file = path.join(data, '.n8n/database.sqlite');
  fs.mkdirSync(path.dirname(file));
  fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), file);
  sqlite(file, `UPDATE user SET mfaSecret = '${encryptText('JBSWY3DPEHPK3PXP', KEY)}', mfaRecoveryCodes = '${['aa-1', 'bb-2'].map((it) => encryptText(it, KEY)).join(',')}'`);
  for (let times = 0; times < 2; times += 1) assert.deepEqual([fit(data, KEY, OTHER).status, fit(data, KEY, OTHER).stderr], [0, '']);
  const [{ mfaSecret, mfaRecoveryCodes }] = sqlite(file, 'SELECT * FROM user');
  assert.deepEqual([mfaSecret, ...mfaRecoveryCodes.split(',')].map((it) => decryptText(it, OTHER)), ['JBSWY3DPEHPK3PXP', 'aa-1', 'bb-2']);

  sqlite(file, "INSERT INTO credentials_entity (id, name, data, type) VALUES (char(10) || 'openflow: all is ' || char(27) || 'well' || char(8238), 'x', 'y', 'z')");
  const { status, stderr } = fit(data, KEY, OTHER);
  assert.deepEqual([status, stderr], [1, 'openflow: the data could not be fitted to this instance: openflow: all is well in credentials_entity cannot be decrypted: it is damaged, or of another encryption key than the backup\n']);
  fs.rmSync(data, { recursive: true });
});
