'use strict';
// Where an instance's PostgreSQL is: the secret file database_url, which the manager puts beside the encryption key
// (docs/wire.md). Without it the instance keeps its data in SQLite.
const path = require('node:path');
const { CannotStart } = require('../failures');
const { readText } = require('../files');

const FILE = 'database_url';
const MAX_BYTES = 4096;
const DEFAULT_PORT = 5432;

/**
 * @param {string} secrets the folder of the secret files
 * @returns {{host: string, port: number, user: string, password: string, database: string, isEncrypted: boolean} | undefined}
 *   `host` is a name, an address, or the folder of a Unix socket
 * @throws {CannotStart} its message does not hold the password
 */
function readAddress(secrets) {
  const file = path.join(secrets, FILE);
  const text = readText(file, MAX_BYTES);
  if (text === undefined) return undefined;
  const address = parseAddress(text.trim());
  if (!address) throw new CannotStart(`The address of the database in ${file} cannot be understood. The manager puts it there when it makes the container: recreate the container.`);
  return address;
}

/** `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require`, or without a host and with `host=FOLDER&port=PORT`. */
function parseAddress(text) {
  const found = /^postgres(?:ql)?:\/\/([^:@/?#]+):([^:@/?#]+)@([^@/?#]*)\/([^/?#]+)(?:\?([^#]*))?$/.exec(text);
  if (!found) return null;
  try {
    const [user, password, place, database] = found.slice(1, 5).map(decodeURIComponent);
    const more = new URLSearchParams(found[5] ?? '');
    const [, name, number] = /^(\[[^\]]+\]|[^:]*)(?::(\d+))?$/.exec(place) ?? [];
    const host = more.get('host') ?? name?.replace(/^\[(.*)\]$/, '$1');
    const port = Number(more.get('port') ?? number ?? DEFAULT_PORT);
    const mode = more.get('sslmode') ?? 'disable';
    if (!host || !(port > 0 && port < 65536) || !['disable', 'prefer', 'require'].includes(mode)) return null;
    return { host, port, user, password, database, isEncrypted: mode === 'require' };
  } catch {
    return null; // it is not encoded as an address is
  }
}

module.exports = { readAddress, parseAddress };
