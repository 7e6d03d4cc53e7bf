'use strict';
// Installs a community package by n8n's own service, which fetches it with npm into /data/.n8n/nodes and loads its nodes.
const { need, service } = require('./engine');
const { Refused } = require('./content/check');

const NAME = /^(@[a-z0-9~-][a-z0-9._~-]*\/)?n8n-nodes-[a-z0-9._~-]+$/;
const VERSION = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const MAX_NAME = 214;

/**
 * @param {{name: string, version?: string}} sent
 * @returns {Promise<{name: string, version: string, installed: boolean}>} `installed` is false when it was there already
 * @throws {Refused}
 */
async function installModule({ name, version } = {}) {
  if (typeof name !== 'string' || name.length > MAX_NAME || !NAME.test(name)) throw new Refused(422, 'A package of n8n nodes has a name like "n8n-nodes-example".');
  if (version !== undefined && !(typeof version === 'string' && VERSION.test(version))) throw new Refused(422, 'A version has the form 1.2.3.');
  if (!service('./modules/community-packages/community-packages.config', 'CommunityPackagesConfig').enabled) {
    throw new Refused(409, 'Community packages are switched off in this instance.');
  }
  const packages = service('./modules/community-packages/community-packages.service', 'CommunityPackagesService');
  const known = await packages.findInstalledPackage(name);
  if (known && packages.isPackageLoaded(known)) {
    if (version === undefined || known.installedVersion === version) return { name, version: known.installedVersion, installed: false };
    throw new Refused(409, `${name} is installed in version ${known.installedVersion}. It is updated in n8n's settings.`);
  }
  try {
    const installed = known ? await packages.updatePackage(name, known, version) : await packages.installPackage(name, version);
    return { name, version: installed.installedVersion, installed: true };
  } catch (error) {
    const { ensureError } = need('@n8n/utils/errors/ensure-error');
    throw new Refused(422, `n8n could not install ${name}: ${[error, error.cause].filter(Boolean).map((it) => ensureError(it).message).join(': ')}`);
  }
}

module.exports = { installModule };
