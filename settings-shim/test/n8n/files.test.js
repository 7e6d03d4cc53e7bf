'use strict';
// What flows may have put in the place of a file: nothing waits for it, follows it or is misled by it.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { KEY, newFolder, spawnN8n, staged } = require('./support');
const { runOnce, secretsOf } = require('./postgres');

const SCHEMA = 'n8n_20260102030405_0123abcd';
const URL_AWAY = 'postgres://a:b@127.0.0.1:1/c';

/** A data folder that n8n would start on, with files or with PostgreSQL. */
function folderOf(isPostgres) {
  const data = newFolder();
  const inside = (name) => path.join(data, '.n8n', name);
  fs.mkdirSync(path.join(data, '.n8n'));
  fs.writeFileSync(inside('config'), JSON.stringify({ encryptionKey: KEY }));
  if (isPostgres) fs.writeFileSync(inside('database.json'), JSON.stringify({ schema: SCHEMA }));
  else fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), inside('database.sqlite'));
  return data;
}

const KINDS = {
  FIFO: (file) => execFileSync('mkfifo', [file]),
  folder: (file) => fs.mkdirSync(file),
  link: (file) => {
    const outside = path.join(newFolder(), 'outside');
    fs.writeFileSync(outside, JSON.stringify({ encryptionKey: KEY, schema: SCHEMA }));
    fs.symlinkSync(outside, file);
  },
  socket: (file) => new Promise((resolve) => { const server = net.createServer().listen(file, () => resolve(server.unref())); }),
};

// [the file, where its database is, who looks at it besides the start]
const LOOKS = [
  ['config', 'files', ['fit.js', 'rehearse.js']],
  ['database.sqlite', 'files', ['fit.js', 'content.js', 'rehearse.js']],
  ['database.sqlite-wal', 'files', ['fit.js', 'content.js', 'rehearse.js']],
  ['database.sqlite-shm', 'files', ['content.js']],
  ['database.json', 'postgres', ['fit.js', 'content.js', 'rehearse.js', 'database.js']],
  ['database.dump', 'postgres', ['fit.js', 'content.js', 'rehearse.js', 'database.js']],
];

test('what is not a file is named, by the start and by the programs that run once', async (t) => {
  const kinds = Object.keys(KINDS);
  for (const [at, [name, where, programs]] of LOOKS.entries()) {
    const kind = kinds[at % kinds.length];
    await t.test(`a ${kind} as ${name}`, async () => {
      const data = folderOf(where === 'postgres');
      const file = path.join(data, '.n8n', name);
      fs.rmSync(file, { force: true });
      if (name === 'database.dump') fs.rmSync(path.join(data, '.n8n/database.json')); // a dump beside it is not looked at
      await KINDS[kind](file);
      const says = new RegExp(`\\.n8n/${name.replace('.', '\\.')} is not a file but a ${kind}\\. Nothing was changed\\.`);
      const secrets = secretsOf({ encryption_key: KEY, old_encryption_key: 'the-key-of-the-backup-0123456789', ...(where === 'postgres' && { database_url: URL_AWAY }) });
      const n8n = await spawnN8n({ data, env: { OPENFLOW_SECRETS_DIR: secrets } });
      await n8n.exited;
      assert.equal(n8n.child.exitCode, 78, n8n.log());
      assert.match(n8n.lastError(), says);
      for (const program of programs) {
        const { status, stdout, stderr } = await runOnce(program, data, secrets, { args: program === 'database.js' ? ['dump'] : [] });
        assert.equal(status, 1, `${program}: ${stdout}${stderr}`);
        assert.match(program === 'rehearse.js' ? stdout.trimEnd().split('\n').at(-1) : stderr, program === 'rehearse.js' ? /is not a file/ : says, program);
      }
      assert.equal(fs.lstatSync(file).isFile(), false);
    });
  }
});

test('the same goes for the secret files, and for the folder itself', async () => {
  for (const name of ['encryption_key', 'database_url']) {
    const secrets = secretsOf({ encryption_key: KEY, database_url: URL_AWAY });
    fs.rmSync(path.join(secrets, name));
    KINDS.FIFO(path.join(secrets, name));
    const n8n = await spawnN8n({ data: folderOf(true), env: { OPENFLOW_SECRETS_DIR: secrets } });
    await n8n.exited;
    assert.equal(n8n.child.exitCode, 78, n8n.log());
    assert.match(n8n.lastError(), new RegExp(`${name}.* is not a file but a FIFO`));
  }
  const data = newFolder();
  fs.symlinkSync(folderOf(false), path.join(data, '.n8n'));
  const n8n = await spawnN8n({ data });
  await n8n.exited;
  assert.equal(n8n.child.exitCode, 78, n8n.log());
  assert.match(n8n.lastError(), /^openflow: \.n8n is not a folder\./);
});
