'use strict';
// What the browser gets for EXTERNAL_FRONTEND_HOOKS_URLS=/openflow/editor.js: the parts that all editors share, then n8n's.
const fs = require('node:fs');
const path = require('node:path');

const FILES = ['../common/browser/snapshots.js', 'editor.js'];

const editorScript = FILES.map((file) => fs.readFileSync(path.join(__dirname, file), 'utf8')).join('\n');

module.exports = { editorScript };
