'use strict';
// Loads every node and credential that n8n brings, so that nothing was left out that one of them needs.
//   node images/n8n/check.js FOLDER
const { createRequire } = require('node:module');
const fs = require('node:fs');
const path = require('node:path');

const modules = path.join(path.resolve(process.argv[2]), 'node_modules');
createRequire(path.join(modules, 'n8n/bin/n8n'))('reflect-metadata');
let loaded = 0;
const failed = [];
for (const name of ['n8n-nodes-base', '@n8n/n8n-nodes-langchain']) {
  const { n8n } = JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'), 'utf8'));
  for (const file of [...n8n.nodes, ...n8n.credentials]) {
    try {
      require(path.join(modules, name, file));
      loaded += 1;
    } catch (error) {
      failed.push(`${name}/${file}: ${error.message.split('\n')[0]}`);
    }
  }
}
if (loaded === 0 || failed.length > 0) {
  console.error(`${failed.length} files do not load, for example:\n${failed.slice(0, 10).join('\n')}`);
  process.exit(1);
}
console.log(`${loaded} nodes and credentials load`);
process.exit(0);
