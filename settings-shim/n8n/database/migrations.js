'use strict';
// Migrations go forward only: n8n would run on a newer database and break it.
const fs = require('node:fs');
const path = require('node:path');
const { CannotStart } = require('../failures');

const LIST = 'node_modules/@n8n/db/dist/migrations/postgresdb/index.js';
const NAME = /\.(\w+\d{13})\b/g; // a class for each, and its name is what is noted in the table

/** @returns {string[] | undefined} those for PostgreSQL that the n8n below `app` has */
function postgresMigrations(app) {
  const file = path.join(app, LIST);
  return fs.existsSync(file) ? [...new Set([...fs.readFileSync(file, 'utf8').matchAll(NAME)].map(([, name]) => name))] : undefined;
}

/**
 * @param {string[]} ran the migrations that made the database what it is
 * @param {string[] | undefined} known those that this n8n has
 * @param {string} version of this n8n
 * @throws {CannotStart}
 */
function checkMigrations(ran, known, version) {
  if (!known || ran.every((name) => known.includes(name))) return;
  throw new CannotStart(`The data of this instance was used by a newer n8n than the ${version} of this image. n8n cannot go back. Nothing was changed. `
    + 'Go back to the newer image, or restore a backup from before the upgrade.');
}

module.exports = { checkMigrations, postgresMigrations };
