'use strict';
// The settings that n8n takes from its environment (https://docs.n8n.io/hosting/configuration/environment-variables/).
const { createHmac } = require('node:crypto');

const JWT_LABEL = 'openflow-n8n-jwt-v1';
const OWNER_EMAIL = 'owner@openflow.invalid';
// Of the right form, but no password has this hash: nobody signs in by password.
const NO_PASSWORD_HASH = `$2b$10$${'x'.repeat(53)}`;
// What needs a licence or a cloud, or asks the outside world; each costs time and memory at the start.
const DISABLED_MODULES = ['instance-ai', 'agents', 'mcp-registry', 'chat-hub', 'insights', 'quick-connect', 'token-exchange', 'otel', 'ldap',
  'sso-saml', 'sso-oidc', 'source-control', 'external-secrets', 'log-streaming', 'provisioning', 'dynamic-credentials', 'workflow-reviews', 'workflow-builder'];

// An instance's own variables win over these.
const DEFAULTS = {
  N8N_AI_ENABLED: 'false',
  N8N_DIAGNOSTICS_ENABLED: 'false',
  N8N_GRACEFUL_SHUTDOWN_TIMEOUT: '20', // seconds for executions to end; less than the container is given
  N8N_HIRING_BANNER_ENABLED: 'false',
  N8N_PERSONALIZATION_ENABLED: 'false',
  N8N_TEMPLATES_ENABLED: 'false',
  N8N_VERIFIED_PACKAGES_ENABLED: 'false', // asks n8n's servers for a list; packages can be installed by name all the same
  N8N_VERSION_NOTIFICATIONS_ENABLED: 'false',
  NPM_CONFIG_AUDIT: 'false',
  NPM_CONFIG_FUND: 'false',
  NPM_CONFIG_UPDATE_NOTIFIER: 'false',
};
const OWNER = {
  N8N_INSTANCE_OWNER_MANAGED_BY_ENV: 'true',
  N8N_INSTANCE_OWNER_EMAIL: OWNER_EMAIL,
  N8N_INSTANCE_OWNER_FIRST_NAME: 'Openflow',
  N8N_INSTANCE_OWNER_LAST_NAME: 'Owner',
  N8N_INSTANCE_OWNER_PASSWORD_HASH: NO_PASSWORD_HASH,
};
// Would send n8n elsewhere, or open what the gate closes.
const REMOVED = ['N8N_ENCRYPTION_KEY', 'N8N_PATH', 'N8N_SSL_KEY', 'N8N_SSL_CERT', 'N8N_CONFIG_FILES', 'N8N_PREVIEW_MODE', 'N8N_PUSH_BACKEND',
  'N8N_DEV_RELOAD', 'E2E_TESTS', 'EXTERNAL_HOOK_FILES_SEPARATOR', 'EXTERNAL_FRONTEND_HOOKS_URLS_FILE', 'WEBHOOK_URL', 'EXECUTIONS_MODE',
  'N8N_ENDPOINT_REST', 'N8N_ENDPOINT_WEBHOOK', 'N8N_ENDPOINT_WEBHOOK_TEST', 'N8N_ENDPOINT_WEBHOOK_WAIT', 'N8N_ENDPOINT_FORM',
  'N8N_ENDPOINT_FORM_TEST', 'N8N_ENDPOINT_FORM_WAIT', 'N8N_ENDPOINT_MCP', 'N8N_ENDPOINT_MCP_TEST', 'N8N_ENDPOINT_HEALTH',
  'N8N_PUBLIC_API_ENDPOINT', 'N8N_DISABLE_UI', 'CREDENTIALS_OVERWRITE_ENDPOINT', 'DB_TYPE', 'DB_SQLITE_DATABASE', 'DB_TABLE_PREFIX',
  // PostgreSQL's client takes these where nothing else is said.
  'PGOPTIONS', 'PGBINARY', 'PGREPLICATION', 'PGCLIENTENCODING', 'PGSSLMODE', 'NODE_PG_FORCE_NATIVE',
  // Credentials under keys that are in the database could not be carried to another instance, and content/ publishes by that service.
  'N8N_ENV_FEAT_ENCRYPTION_KEY_ROTATION', 'N8N_USE_WORKFLOW_PUBLICATION_SERVICE'];
// n8n has read them when it is up. No flow and no program that one starts needs to find them.
const SECRET = ['N8N_USER_MANAGEMENT_JWT_SECRET', 'N8N_ENCRYPTION_KEY_FILE', 'N8N_INSTANCE_OWNER_PASSWORD_HASH', 'DB_POSTGRESDB_PASSWORD'];

/**
 * Puts n8n's settings into `env`.
 * @param {Record<string, string | undefined>} env process.env, after takeEnvironment
 * @param {object} openflow what takeEnvironment returned
 * @param {{data: string, port: string, brokerPort: string, host: string, hooks: string, keyFile: string, runnerHeapMb?: number,
 *   postgres?: object}} options `postgres` is what prepareData returned
 */
function setEnvironment(env, openflow, { data, port, brokerPort, host, hooks, keyFile, runnerHeapMb, postgres }) {
  for (const name of [...REMOVED, ...Object.keys(env).filter((it) => it.startsWith('DB_POSTGRESDB_'))]) {
    delete env[name];
    delete env[`${name}_FILE`];
  }
  const fixed = {
    NODE_ENV: 'production',
    HOME: data,
    N8N_USER_FOLDER: data,
    N8N_PORT: port,
    N8N_LISTEN_ADDRESS: host,
    N8N_PROTOCOL: 'http',
    N8N_PROXY_HOPS: '1',
    N8N_RUNNERS_MODE: 'internal',
    N8N_RUNNERS_BROKER_PORT: brokerPort,
    N8N_SECURE_COOKIE: String(openflow.url.startsWith('https:')),
    N8N_USER_MANAGEMENT_JWT_SECRET: createHmac('sha256', openflow.magic).update(JWT_LABEL).digest('base64url'),
    N8N_ENCRYPTION_KEY_FILE: keyFile,
    N8N_DISABLED_MODULES: DISABLED_MODULES.join(','),
    EXTERNAL_HOOK_FILES: hooks,
    EXTERNAL_FRONTEND_HOOKS_URLS: '/openflow/editor.js',
    ...(openflow.url && { N8N_EDITOR_BASE_URL: openflow.url, N8N_WEBHOOK_URL: `${openflow.url.replace(/\/+$/, '')}/` }),
    ...(runnerHeapMb && { N8N_RUNNERS_MAX_OLD_SPACE_SIZE: String(runnerHeapMb) }),
  };
  if (!openflow.n8nSignIn) Object.assign(fixed, OWNER);
  if (postgres) Object.assign(fixed, postgresSettings(postgres));
  const defaults = { ...DEFAULTS, NPM_CONFIG_CACHE: `${data}/.npm`, N8N_LOG_LEVEL: logLevel(openflow.logLevel), ...(openflow.n8nSignIn && OWNER) };
  for (const [name, value] of Object.entries(defaults)) env[name] ??= value;
  Object.assign(env, fixed); // n8n reads NAME_FILE only where NAME is absent
}

function postgresSettings({ host, port, user, password, database, schema, isEncrypted }) {
  return {
    DB_TYPE: 'postgresdb',
    DB_POSTGRESDB_HOST: host,
    DB_POSTGRESDB_PORT: String(port),
    DB_POSTGRESDB_USER: user,
    DB_POSTGRESDB_PASSWORD: password,
    DB_POSTGRESDB_DATABASE: database,
    DB_POSTGRESDB_SCHEMA: schema,
    ...(isEncrypted && { DB_POSTGRESDB_SSL_ENABLED: 'true', DB_POSTGRESDB_SSL_REJECT_UNAUTHORIZED: 'false' }),
  };
}

/** n8n has four of the levels. */
const logLevel = (level) => ({ fatal: 'error', trace: 'debug' })[level] ?? level;

function removeSecrets(env) {
  for (const name of SECRET) delete env[name];
}

module.exports = { setEnvironment, removeSecrets };
