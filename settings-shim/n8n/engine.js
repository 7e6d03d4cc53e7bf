'use strict';
// The way to the n8n that runs in this process: its own modules and services. They are n8n's inside, not its API, so that
// each use is covered by a test against the real n8n, and an upgrade of n8n begins with those tests.
const { createRequire } = require('node:module');

const LOADED_BY_N8N = /[\\/]n8n[\\/]dist[\\/]external-hooks\.js$/;
let n8nRequire;

/** Loads a module as n8n itself does: `need('@n8n/db')`, `need('./workflows/workflow.service')` (below n8n's dist). */
function need(name) {
  if (!n8nRequire) {
    const file = Object.keys(require.cache).find((it) => LOADED_BY_N8N.test(it));
    if (!file) throw new Error('n8n does not run in this process');
    n8nRequire = createRequire(file);
  }
  return n8nRequire(name);
}

/** The one instance of a class of n8n's, for example `service('@n8n/db', 'UserRepository')`. */
const service = (module, name) => need('@n8n/di').Container.get(need(module)[name]);

const dataSource = () => service('@n8n/typeorm', 'DataSource');

/** n8n's owner, with role, and the owner's personal project. The owner is there from the first start on. */
async function findOwner() {
  const user = await service('@n8n/db', 'UserRepository').findOne({ where: { role: { slug: 'global:owner' } }, relations: ['role'] });
  if (!user) throw new Error('n8n has no owner yet');
  const project = await service('@n8n/db', 'ProjectRepository').getPersonalProjectForUserOrFail(user.id);
  return { user, project };
}

module.exports = { need, service, dataSource, findOwner };
