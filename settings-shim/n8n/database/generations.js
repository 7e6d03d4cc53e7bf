'use strict';
// The schemas of an instance's database. Each restore makes a new one; which one counts, the data folder says (pointer.js).
const fs = require('node:fs');
const { quoted } = require('./connection');
const { findDump } = require('./dump');
const { load } = require('./load');
const { madeAt, newSchema, readPointer, writePointer } = require('./pointer');
const { ARRIVAL, inTurn } = require('./turns');

const KEPT_MS = 24 * 60 * 60_000;

async function exists(database, schema) {
  return (await database.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema])).length > 0;
}

/** A new, empty schema, which is the folder's own from now on. */
async function begin(database, folder) {
  const schema = newSchema();
  await database.query(`CREATE SCHEMA ${quoted(schema)}`);
  writePointer(folder, schema);
  return schema;
}

/**
 * Loads the dump in the folder into a new schema, which is the folder's own from then on, and removes the dump. When that is
 * cut off, the next try does it again, in another schema.
 * @returns {Promise<{tables: number, rows: number}>}
 */
async function bringIn(database, folder) {
  const schema = newSchema();
  const counts = await load(database, findDump(folder), schema);
  writePointer(folder, schema);
  fs.rmSync(findDump(folder), { force: true });
  return counts;
}

/**
 * The schema of a data folder that names none yet: its dump is loaded where there is one (the folder was put back, on a machine that
 * may never have known it), and otherwise an empty schema is begun. A start and a backup may both come to that at once; only one does it.
 * @returns {Promise<{schema: string, loaded?: {tables: number, rows: number}}>}
 */
function settle(database, folder) {
  return inTurn(database, ARRIVAL, async () => {
    const already = readPointer(folder);
    if (already !== undefined) return { schema: already };
    if (!findDump(folder)) return { schema: await begin(database, folder) };
    const loaded = await bringIn(database, folder);
    return { schema: readPointer(folder), loaded };
  });
}

/**
 * Drops the schemas that no data folder needs any more: older than a day, and not `own`. While `own` is younger than that, it
 * may be on trial still, and what was there before would be needed again.
 * @returns {Promise<string[]>} what was dropped
 */
async function sweep(database, own, now = Date.now()) {
  if (now - madeAt(own) < KEPT_MS) return [];
  const dropped = [];
  for (const { name } of await database.query('SELECT nspname AS name FROM pg_namespace WHERE nspowner = current_user::regrole ORDER BY nspname')) {
    if (name === own || !(now - madeAt(name) > KEPT_MS)) continue;
    if (await drop(database, name, own)) dropped.push(name);
  }
  return dropped;
}

// How much there is in a schema that could depend on another one.
const WEIGHT = `SELECT (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid) AS relations, (SELECT count(*) FROM pg_proc p WHERE p.pronamespace = n.oid) AS functions,
    (SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = n.oid AND NOT a.attisdropped) AS columns,
    (SELECT count(*) FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid WHERE c.relnamespace = n.oid) AS defaults,
    (SELECT count(*) FROM pg_constraint o WHERE o.connamespace = n.oid) AS constraints,
    (SELECT count(*) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid WHERE c.relnamespace = n.oid) AS triggers
  FROM pg_namespace n WHERE n.nspname = $1`;

/** @returns {Promise<boolean>} false when something in `own` depends on it: it stays then */
async function drop(database, name, own) {
  const kept = new Error();
  try {
    await database.transaction('BEGIN', async () => {
      const [before] = await database.query(WEIGHT, [own]);
      await database.query(`DROP SCHEMA ${quoted(name)} CASCADE`);
      const [after] = await database.query(WEIGHT, [own]);
      if (JSON.stringify(after) !== JSON.stringify(before)) throw kept;
    });
    return true;
  } catch (error) {
    if (error === kept) return false;
    throw error;
  }
}

module.exports = { bringIn, exists, settle, sweep };
