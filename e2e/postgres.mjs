// A PostgreSQL server as an operator would have it for instances: it listens beyond the loopback, asks for passwords, and has
// a role that may make databases and roles and no more.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { freePort } from './support.mjs'

const FOLDER = '/usr/lib/postgresql'
const ADMIN = 'openflow_admin'

export class Postgres {
  static async start() {
    const it = new Postgres()
    const newest = fs.readdirSync(FOLDER).sort((a, b) => Number(b) - Number(a))[0]
    it.bin = path.join(FOLDER, newest, 'bin')
    it.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-e2e-postgres-'))
    it.port = await freePort()
    it.password = 'not "quite" plain'
    if (process.getuid() === 0) execFileSync('chown', ['postgres', it.folder]) // it refuses to run as root
    it.run('initdb', '-D', it.data, '-U', 'root', '-A', 'trust', '-N', '--locale=C.UTF-8', '-E', 'UTF8')
    fs.writeFileSync(path.join(it.data, 'pg_hba.conf'), 'local all all trust\nhost all all all scram-sha-256\n')
    it.begin()
    it.sql('postgres', `create role ${ADMIN} login createdb createrole password '${it.password}'`)
    it.sql('postgres', `create database openflow_admin owner ${ADMIN}`)
    return it
  }

  get data() {
    return path.join(this.folder, 'data')
  }

  /** Also after `halt`. */
  begin() {
    this.run('pg_ctl', '-D', this.data, '-w', '-t', '30', '-l', path.join(this.folder, 'log'), 'start', '-o',
      `-k ${this.folder} -p ${this.port} -c listen_addresses=* -c log_statement=ddl -c fsync=off -c full_page_writes=off`)
  }

  /** What it has logged: each statement that makes something, too. */
  log() {
    return fs.readFileSync(path.join(this.folder, 'log'), 'utf8')
  }

  halt() {
    this.run('pg_ctl', '-D', this.data, '-m', 'immediate', '-w', 'stop')
  }

  /** For the manager. */
  get url() {
    return `postgres://${ADMIN}:${encodeURIComponent(this.password)}@localhost:${this.port}/openflow_admin`
  }

  run(program, ...args) {
    const own = [path.join(this.bin, program), ...args]
    const all = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', '--', ...own] : own
    return execFileSync(all[0], all.slice(1), { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  }

  /** What a superuser is told: lines of unaligned columns. */
  sql(database, text) {
    return this.run('psql', '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', this.folder, '-p', String(this.port), '-U', 'root', '-d', database, '-c', text)
  }

  /** Ours, by name. */
  databases() {
    return this.sql('postgres', "select datname from pg_database where datname ~ '^openflow_[0-9a-f]{32}$|^openflow_trial' order by 1").split('\n').filter(Boolean)
  }

  roles() {
    return this.sql('postgres', "select rolname from pg_roles where rolname ~ '^openflow_[0-9a-f]{32}$|^openflow_trial' order by 1").split('\n').filter(Boolean)
  }

  stop() {
    try {
      this.halt()
    } catch {
      // It ended by itself.
    }
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

/** The database of an instance. */
export const databaseOf = (id) => `openflow_${id.replaceAll('-', '')}`
