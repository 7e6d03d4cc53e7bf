'use strict';
// Starts n8n in this process, behind the gate. What the image runs:
//   node /opt/openflow/n8n/start.js
// The options are for tests and for rehearsals.
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { createDeployNotice } = require('../common/deployed');
const { takeEnvironment } = require('../common/environment');
const { createGate, guardNextServer } = require('../common/gate');
const { createManager } = require('../common/manager');
const { createRedeemer } = require('../common/redeem');
const { createSnapshots } = require('../common/snapshots');
const { findKey, prepareData } = require('./data');
const { setEnvironment } = require('./environment');
const { CannotStart, giveUp, tellOfEnd } = require('./failures');
const inside = require('./inside');
const { heaps } = require('./memory');
const { createPolicy } = require('./policy');
const state = require('./state');

const HEAP_FLAG = '--max-old-space-size=';

function readOptions() {
  const { values } = parseArgs({ options: {
    app: { type: 'string', default: '/opt/n8n' },
    data: { type: 'string', default: '/data' },
    cache: { type: 'string', default: '/tmp/n8n' }, // what n8n makes at each start: types for the editor, 18 MB
    host: { type: 'string', default: '0.0.0.0' },
    port: { type: 'string', default: '5678' },
    'broker-port': { type: 'string', default: '5679' },
  } });
  return values;
}

/** V8 takes the limit of its heap at its own start only, so the process becomes a new one, under the same id. */
function limitHeap(megabytes) {
  const flag = `${HEAP_FLAG}${megabytes}`;
  if (process.execArgv.includes(flag)) return;
  const others = process.execArgv.filter((it) => !it.startsWith(HEAP_FLAG));
  process.removeAllListeners('warning'); // that this way of starting is experimental
  process.execve(process.execPath, [process.execPath, ...others, flag, ...process.argv.slice(1)], process.env);
}

/** Everything up to the first line of n8n's own code. */
async function prepare() {
  const heap = heaps(Number(process.env.OPENFLOW_MEMORY_MB) || 0);
  if (heap) limitHeap(heap.main);
  const options = readOptions();
  let openflow;
  try {
    openflow = takeEnvironment(process.env, ['OPENFLOW_MAGIC_TOKEN']);
  } catch (error) {
    throw new CannotStart(`${error.message}.`);
  }
  const { file, key } = findKey(openflow.secretsDir);
  const seed = path.join(options.app, 'seed');
  const { version } = JSON.parse(fs.readFileSync(path.join(options.app, 'node_modules/n8n/package.json'), 'utf8'));
  const postgres = await prepareData(path.join(options.data, '.n8n'), { key, dir: openflow.secretsDir }, { app: options.app, version });
  setEnvironment(process.env, openflow, {
    data: options.data, host: options.host, port: options.port, brokerPort: options['broker-port'],
    hooks: path.join(__dirname, 'hooks.js'), keyFile: file, runnerHeapMb: heap?.runner, postgres,
  });
  return { options, openflow, seed };
}

function raiseGate(openflow) {
  const ask = createManager(openflow.managerUrl, openflow.magic);
  state.deployed = createDeployNotice(ask);
  guardNextServer(createGate({
    settings: openflow,
    policy: createPolicy(() => state.session(), openflow.n8nSignIn),
    redeem: createRedeemer(ask),
    snapshots: createSnapshots(ask),
    deployed: state.deployed,
    health: () => ({ ready: state.isReady(), flows: state.isReady() && state.running }),
    inside,
  }));
}

/**
 * n8n puts its addresses into its editor's files and writes all 30 MB of them anew at each start. In the image that is done
 * already; what is left is the types of the nodes, which depend on the packages that are installed.
 */
function placeEditorFiles(need, { cache }, seed) {
  const folder = path.join(cache, 'public');
  fs.mkdirSync(folder, { recursive: true });
  need('@n8n/di').Container.get(need('n8n-core').InstanceSettings).staticCacheDir = folder;
  const page = path.join(seed, 'index.html');
  if (!fs.existsSync(page)) return;
  fs.copyFileSync(page, path.join(folder, 'index.html'));
  need('../dist/command-registry.js'); // what the commands expect to be loaded before them
  need('../dist/commands/start.js').Start.prototype.generateStaticAssets = async () => {};
}

function startN8n({ options, openflow, seed }) {
  const bin = path.join(options.app, 'node_modules/n8n/bin/n8n');
  process.argv = [process.execPath, bin, 'start'];
  process.chdir('/'); // n8n reads an .env file of the folder that it is started in; a flow may have written one
  require(bin);
  process.chdir(options.data);
  const need = createRequire(bin);
  placeEditorFiles(need, options, seed);
  // n8n would wait two seconds and end with 1.
  need('../dist/commands/base-command.js').BaseCommand.prototype.exitWithCrash = async (message, error) => {
    console.error(`${message}\n${error?.stack ?? error}`);
    giveUp(error);
  };
  console.log(`[openflow] n8n starts as ${openflow.name || openflow.subdomain || 'an instance'}`);
}

/**
 * isolated-vm destroys n8n's isolates on threads of its own, while Node.js takes apart what they need: one stop in eight ended with
 * SIGSEGV. A process that becomes another program, which ends with the status, takes nothing apart.
 */
function endWithoutCleanup() {
  process.reallyExit = (status) => process.execve('/bin/sh', ['/bin/sh', '-c', `exit ${Number(status)}`], {});
}

async function main() {
  endWithoutCleanup();
  const fail = (error) => {
    if (!(error instanceof CannotStart)) console.error(error);
    giveUp(error);
  };
  // Once n8n listens for such failures itself (it only logs them), what its start fails with comes by exitWithCrash; what nobody looks
  // at is a community package's.
  const stray = (error) => {
    if (process.listenerCount('uncaughtException') === 1) fail(error);
    console.error('[openflow] a promise failed and nobody looks at it:', error);
  };
  process.on('uncaughtException', fail).on('unhandledRejection', stray).on('exit', tellOfEnd);
  state.started = () => process.off('uncaughtException', fail).off('unhandledRejection', stray).off('exit', tellOfEnd);
  try {
    const prepared = await prepare();
    raiseGate(prepared.openflow);
    startN8n(prepared);
  } catch (error) {
    fail(error);
  }
}

main();
