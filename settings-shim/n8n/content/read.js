'use strict';
// What an instance consists of for a snapshot, out of n8n's tables. The running n8n and content.js read the same way; they
// differ in how a query is asked. Both of n8n's databases understand these queries, and columns that an older n8n lacks
// are simply absent.
//
// Left out on purpose: static data (where a poll got to, which registrations a trigger holds elsewhere: another instance
// must never take those over), executions, data tables, folders, users and settings.

const { isDeepStrictEqual } = require('node:util');

const FORMAT = 1;
const QUERIES = {
  workflows: 'SELECT * FROM "workflow_entity"',
  published: 'SELECT h.* FROM "workflow_history" h JOIN "workflow_entity" w ON w."activeVersionId" = h."versionId"',
  taggings: 'SELECT "workflowId", "tagId" FROM "workflows_tags"',
  credentials: 'SELECT * FROM "credentials_entity"',
  tags: 'SELECT "id", "name" FROM "tag_entity"',
  variables: 'SELECT * FROM "variables"',
  modules: 'SELECT "packageName", "installedVersion" FROM "installed_packages"',
  versions: 'SELECT "major", "minor", "patch" FROM "instance_version_history" ORDER BY "id" DESC LIMIT 1',
};
// Put in order here: a database would do it by the rules of some language.
const ORDER = { workflows: 'id', taggings: 'tagId', credentials: 'id', tags: 'id', variables: 'key', modules: 'packageName' };

/**
 * @param {(sql: string) => object[] | Promise<object[]>} query must see one state of the database all along
 * @returns {Promise<object>} the content as docs/wire.md describes it; equal databases give equal texts
 * @throws {Error} when a row holds no JSON where n8n keeps JSON; the message names the row, not what is in it
 */
async function readContent(query) {
  const rows = {};
  for (const [name, sql] of Object.entries(QUERIES)) rows[name] = await query(sql);
  for (const [name, key] of Object.entries(ORDER)) rows[name].sort((a, b) => Number(a[key] > b[key]) - Number(a[key] < b[key]));
  const published = new Map(rows.published.map((row) => [row.workflowId, row]));
  const tags = new Map();
  for (const { workflowId, tagId } of rows.taggings) tags.set(workflowId, [...(tags.get(workflowId) ?? []), tagId]);
  const [version] = rows.versions;
  return {
    format: FORMAT,
    version: version ? `${version.major}.${version.minor}.${version.patch}` : null,
    workflows: rows.workflows.map((row) => workflowOf(row, published.get(row.id), tags.get(row.id) ?? [])),
    credentials: rows.credentials.filter((row) => (row.usageScope ?? 'project') === 'project' && !row.isManaged)
      .map(credentialOf),
    tags: rows.tags.map(({ id, name }) => ({ id, name })),
    variables: rows.variables.filter((row) => !row.projectId).map(({ key, type, value }) => ({ key, type, value })),
    modules: rows.modules.map(({ packageName, installedVersion }) => ({ name: packageName, version: installedVersion })),
  };
}

function credentialOf({ id, name, type, data }) {
  // n8n's own key rotation, off by default, puts the id of a key that is in its database before the text.
  if (data.includes(':')) throw new Error(`credential ${id} is encrypted by n8n's key rotation (N8N_ENV_FEAT_ENCRYPTION_KEY_ROTATION), which cannot be carried elsewhere`);
  return { id, name, type, data };
}

/** `published` is there when what runs is not what the editor shows: somebody edited on and has not published that. */
function workflowOf(row, active, tags) {
  const draft = graphOf(row, `workflow ${row.id}`);
  const running = active && !row.isArchived ? graphOf(active, `the published version of workflow ${row.id}`) : null;
  const json = (field) => parse(row[field], null, `workflow ${row.id}: ${field}`);
  return {
    id: row.id,
    name: row.name,
    description: row.description ?? null,
    active: running !== null,
    isArchived: Boolean(row.isArchived),
    ...draft,
    settings: json('settings') ?? {},
    pinData: json('pinData'),
    meta: json('meta'),
    tags,
    published: running && !isDeepStrictEqual(running, draft) ? running : null,
  };
}

/** The fields that n8n keeps a history of. */
function graphOf(row, what) {
  return {
    nodes: parse(row.nodes, [], `${what}: nodes`),
    connections: parse(row.connections, {}, `${what}: connections`),
    nodeGroups: parse(row.nodeGroups, [], `${what}: nodeGroups`),
  };
}

/** SQLite gives texts, PostgreSQL gives what they mean. JSON.parse's own message would quote the text. */
function parse(value, otherwise, what) {
  if (value === null || value === undefined || value === '') return otherwise;
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) ?? otherwise;
  } catch {
    throw new Error(`${what} is not JSON`);
  }
}

module.exports = { readContent, FORMAT };
