'use strict';
// Node-RED's settings file in the image. It lies outside /data, so that a flow cannot change it.
const { createRequire } = require('node:module');
const path = require('node:path');
const { createDeployNotice } = require('../common/deployed');
const { takeEnvironment } = require('../common/environment');
const { createGate, guardNextServer } = require('../common/gate');
const { createManager } = require('../common/manager');
const { createRedeemer } = require('../common/redeem');
const { createSnapshots } = require('../common/snapshots');
const { guardComms } = require('./comms');
const flows = require('./flows');
const { policy, userOfToken, FLOW_ROOT, SESSION_HEADER } = require('./policy');

const openflow = takeEnvironment(process.env);
const ask = createManager(openflow.managerUrl, openflow.magic);
guardNextServer(createGate({
  settings: openflow,
  policy,
  redeem: createRedeemer(ask),
  snapshots: createSnapshots(ask),
  deployed: createDeployNotice(ask),
  health: () => ({ flows: flows.running }),
}));

// The very module that the editor's API uses: found the way Node-RED itself finds it.
const editorApi = createRequire(require.main.filename).resolve('@node-red/editor-api');
guardComms(createRequire(editorApi)('ws'));

const title = openflow.name || openflow.subdomain || 'Node-RED';

module.exports = {
  uiHost: '0.0.0.0',
  uiPort: 1880,
  httpAdminRoot: '/',
  httpNodeRoot: FLOW_ROOT,
  nodesDir: path.join(__dirname, 'plugins'),
  safeMode: openflow.safeMode,

  // No "type": no password form and no way to get a token by password. The gate has found out who asks.
  adminAuth: {
    tokenHeader: SESSION_HEADER,
    tokens: userOfToken,
    users: async () => null,
    default: async () => null,
  },

  flowFile: 'flows.json',
  flowFilePretty: false, // then the revision that the API tells is the file's SHA-256
  credentialSecret: openflow.credentialSecret,
  // Instances are put to sleep, moved and restarted when nobody expects it: context that lived in memory alone would be
  // lost each time. Reads and writes are still served from memory; the file follows.
  contextStorage: {
    default: { module: 'localfilesystem', config: { flushInterval: 10 } },
    memory: { module: 'memory' },
  },

  runtimeState: { enabled: true, ui: true },
  diagnostics: { enabled: true, ui: false },
  telemetry: { enabled: false, updateNotification: false },
  logging: { console: { level: openflow.logLevel, metrics: false, audit: false } },
  exportGlobalContextKeys: false,
  externalModules: { palette: { allowInstall: true, allowUpload: true }, modules: { allowInstall: true } },
  functionExternalModules: true,

  editorTheme: {
    page: { title: `${title} · Openflow`, scripts: [path.join(__dirname, 'editor/before.js'), path.join(__dirname, '../common/browser/snapshots.js')] },
    header: { title },
    userMenu: true,
    logout: { redirect: '/openflow/logout' },
    tours: false,
    projects: { enabled: false },
    codeEditor: { lib: 'monaco' },
  },
};
