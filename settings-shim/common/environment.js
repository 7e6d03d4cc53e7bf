'use strict';
// What the manager gives an instance. Read once, and the shim's own part is taken out of process.env, so that
// no flow, exec node or child process finds it there.

// Stays for flows: OPENFLOW_INSTANCE_ID, _SUBDOMAIN, _NAME, _URL and _MQTT_*.
const TAKEN = [
  'OPENFLOW_MAGIC_TOKEN', 'OPENFLOW_CREDENTIAL_SECRET', 'OPENFLOW_LAUNCH_URL', 'OPENFLOW_MANAGER_URL',
  'OPENFLOW_SAFE_MODE', 'OPENFLOW_LOG_LEVEL', 'OPENFLOW_SECRETS_DIR', 'OPENFLOW_MEMORY_MB', 'OPENFLOW_N8N_SIGN_IN',
];
const MIN_SECRET_LENGTH = 16;
const SECRETS = [['magic', 'OPENFLOW_MAGIC_TOKEN'], ['credentialSecret', 'OPENFLOW_CREDENTIAL_SECRET']];
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];

/**
 * Reads the settings out of `env` (and removes the private ones from it).
 * @param {Record<string, string | undefined>} env usually process.env
 * @param {string[]} needed the secrets without which the engine does not start
 * @returns {{magic: string, credentialSecret: string, instanceId: string, subdomain: string, name: string, url: string,
 *   launchUrl: string, managerUrl: string, safeMode: boolean, logLevel: string, secretsDir: string, memoryMb: number,
 *   n8nSignIn: boolean}} absent strings are '', `memoryMb` is 0 when there is no limit
 * @throws {Error} when a secret is missing; the message names the variable
 */
function takeEnvironment(env, needed = SECRETS.map(([, name]) => name)) {
  const value = (name) => env[name] ?? '';
  const settings = {
    magic: value('OPENFLOW_MAGIC_TOKEN'),
    credentialSecret: value('OPENFLOW_CREDENTIAL_SECRET'),
    instanceId: value('OPENFLOW_INSTANCE_ID'),
    subdomain: value('OPENFLOW_SUBDOMAIN'),
    name: value('OPENFLOW_NAME'),
    url: httpUrl(value('OPENFLOW_URL')),
    launchUrl: httpUrl(value('OPENFLOW_LAUNCH_URL')),
    managerUrl: httpUrl(value('OPENFLOW_MANAGER_URL')).replace(/\/+$/, ''),
    safeMode: value('OPENFLOW_SAFE_MODE').toLowerCase() === 'true',
    logLevel: LOG_LEVELS.includes(value('OPENFLOW_LOG_LEVEL')) ? value('OPENFLOW_LOG_LEVEL') : 'info',
    secretsDir: value('OPENFLOW_SECRETS_DIR') || '/run/openflow',
    memoryMb: /^\d{1,7}$/.test(value('OPENFLOW_MEMORY_MB')) ? Number(value('OPENFLOW_MEMORY_MB')) : 0,
    n8nSignIn: value('OPENFLOW_N8N_SIGN_IN').toLowerCase() === 'true',
  };
  for (const name of TAKEN) delete env[name];
  for (const [field, name] of SECRETS) {
    if (needed.includes(name) && settings[field].length < MIN_SECRET_LENGTH) {
      throw new Error(`${name} must be set to at least ${MIN_SECRET_LENGTH} characters; the manager does this when it creates the container`);
    }
  }
  return settings;
}

/** The address if it is http or https, otherwise ''. What ends up in a redirect or a request must be one of the two. */
function httpUrl(text) {
  return /^https?:\/\/[^\s"'<>\\]+$/i.test(text) ? text : '';
}

module.exports = { takeEnvironment };
