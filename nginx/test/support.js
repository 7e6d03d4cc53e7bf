'use strict';
// A private nginx with the configuration under test: only its ports, log files and temporary folders are changed.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { until } = require('../../settings-shim/test/support');

const NGINX = path.join(__dirname, '..');

/**
 * @param {string} site alone.conf or edge.conf
 * @param {Record<string, string>} files what stands in place of files in openflow/
 * @param {(text: string) => string} change applied to the site's file
 */
async function startNginx(site, files, change = (text) => text) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-nginx-'));
  fs.cpSync(path.join(NGINX, 'openflow'), path.join(dir, 'openflow'), { recursive: true });
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(dir, 'openflow', name), text);
  const server = path.join(dir, 'openflow/server.conf');
  fs.writeFileSync(server, fs.readFileSync(server, 'utf8').replaceAll('/var/log/nginx', dir));
  fs.writeFileSync(path.join(dir, 'site.conf'), change(fs.readFileSync(path.join(NGINX, site), 'utf8')));
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`).join('\n');
  fs.writeFileSync(path.join(dir, 'nginx.conf'), `daemon off; worker_processes 2; pid ${dir}/nginx.pid; error_log ${dir}/main.log;
events { worker_connections 512; }
http { access_log off; ${temp} include site.conf; }`);
  fs.chmodSync(dir, 0o755);
  const child = spawn('nginx', ['-p', dir, '-c', path.join(dir, 'nginx.conf')], { stdio: ['ignore', 'inherit', 'inherit'] });
  const exited = new Promise((resolve) => { child.once('exit', resolve); });
  await until(() => {
    if (child.exitCode !== null) throw new Error('nginx did not start; its reason is above');
    return fs.existsSync(path.join(dir, 'nginx.pid'));
  });
  return {
    dir,
    reload: `nginx -p ${dir} -c ${dir}/nginx.conf -s reload`,
    log: () => fs.readFileSync(path.join(dir, 'openflow.log'), 'utf8') + fs.readFileSync(path.join(dir, 'openflow-error.log'), 'utf8'),
    async stop() {
      child.kill('SIGQUIT');
      const hard = setTimeout(() => child.kill('SIGTERM'), 3000);
      await exited;
      clearTimeout(hard);
    },
  };
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

module.exports = { NGINX, freePort, startNginx };
