'use strict';
// Whether a content that was sent can be written. Pure: what needs n8n to be judged is judged in write.js.
const { FORMAT } = require('./read');

const MAX_WORKFLOWS = 10_000;
const MAX_NODES = 100_000;
const MAX_CREDENTIALS = 10_000;
const MAX_SMALL = 10_000; // tags, variables
// Lengths of n8n's own columns.
const ID = /^[A-Za-z0-9_-]{1,36}$/;
const MAX_NAME = 128;
const MAX_TAG = 24;

/** What was sent is wrong: `status` and `message` are for whoever sent it. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value, max, min = 1) => typeof value === 'string' && value.length >= min && value.length <= max;
const isOptionalObject = (value) => value === undefined || value === null || isObject(value);

/**
 * @param {unknown} sent the parsed body of PUT /openflow/content
 * @returns {{workflows: object[], credentials: object[], tags: object[], variables: object[], options: {active: 'keep' | 'clear'}}}
 * @throws {Refused} 422, with the place that is wrong
 */
function checkContent(sent) {
  if (!isObject(sent) || sent.format !== FORMAT) refuse(`"format" must be ${FORMAT}`);
  const options = { active: 'keep', ...(isObject(sent.options) && sent.options) };
  if (!['keep', 'clear'].includes(options.active)) refuse('"options.active" must be "keep" or "clear"');
  const workflows = list(sent, 'workflows', MAX_WORKFLOWS, checkWorkflow);
  const credentials = list(sent, 'credentials', MAX_CREDENTIALS, checkCredential);
  const tags = list(sent, 'tags', MAX_SMALL, (tag) => isText(tag.name, MAX_TAG) || `a name has 1 to ${MAX_TAG} characters`);
  const variables = list(sent, 'variables', MAX_SMALL, checkVariable, 'key');
  const nodes = workflows.reduce((sum, it) => sum + it.nodes.length + (it.published?.nodes.length ?? 0), 0);
  if (nodes > MAX_NODES) refuse(`there are ${nodes} nodes, more than ${MAX_NODES}`);
  const known = new Set(tags.map(({ id }) => id));
  for (const { id, tags: own } of workflows) {
    const unknown = own.find((tag) => !known.has(tag));
    if (unknown !== undefined) refuse(`workflow ${id} has the tag ${unknown}, which is not in "tags"`);
  }
  return { workflows, credentials, tags, variables, options };
}

/** The list `name` of `sent`; `check` says true, or what is wrong with an item. */
function list(sent, name, max, check, key = 'id') {
  const items = sent[name] ?? [];
  if (!Array.isArray(items)) refuse(`"${name}" must be a list`);
  if (items.length > max) refuse(`"${name}" has more than ${max} items`);
  const seen = new Set();
  items.forEach((item, at) => {
    const where = `${name}[${at}]`;
    if (!isObject(item)) refuse(`${where} must be an object`);
    if (key === 'id' && !(typeof item.id === 'string' && ID.test(item.id))) refuse(`${where} has no id of n8n's form`);
    const says = check(item);
    if (says !== true) refuse(`${where}${key === 'id' ? ` (${item.id})` : ''}: ${says}`);
    if (seen.has(item[key])) refuse(`${where}: ${item[key]} is there twice`);
    seen.add(item[key]);
  });
  return items;
}

function checkWorkflow(it) {
  if (!isText(it.name, MAX_NAME)) return `a name has 1 to ${MAX_NAME} characters`;
  if (!['active', 'isArchived'].every((field) => ['boolean', 'undefined'].includes(typeof it[field]))) return 'active and isArchived are true or false';
  if (!['settings', 'pinData', 'meta', 'published'].every((field) => isOptionalObject(it[field]))) return 'settings, pinData, meta and published are objects';
  if (!(it.description === undefined || it.description === null || typeof it.description === 'string')) return 'a description is a text';
  it.tags ??= [];
  if (!Array.isArray(it.tags) || !it.tags.every((tag) => typeof tag === 'string')) return 'tags are a list of ids';
  const graph = checkGraph(it);
  return graph === true && it.published ? checkGraph(it.published) : graph;
}

function checkGraph(it) {
  if (!Array.isArray(it.nodes) || !it.nodes.every((node) => isObject(node) && isText(node.name, 1000) && isText(node.type, 1000))) {
    return 'nodes are a list of objects with name and type';
  }
  if (new Set(it.nodes.map(({ name }) => name)).size < it.nodes.length) return 'two nodes have the same name';
  if (!isObject(it.connections)) return 'connections are an object';
  it.nodeGroups ??= [];
  return Array.isArray(it.nodeGroups) || 'nodeGroups are a list';
}

function checkCredential(it) {
  if (!isText(it.name, MAX_NAME) || !isText(it.type, MAX_NAME)) return `name and type have 1 to ${MAX_NAME} characters`;
  return typeof it.data === 'string' || 'data is what n8n stores: an encrypted text';
}

function checkVariable(it) {
  if (!isText(it.key, 50)) return 'a key has 1 to 50 characters';
  it.type ??= 'string';
  return (isText(it.type, 50) && isText(it.value, 100_000, 0)) || 'type and value are texts';
}

function refuse(message) {
  throw new Refused(422, `The content cannot be written: ${message}.`);
}

module.exports = { checkContent, Refused };
