// Starts the real program on ports and a data folder of its own, and talks to it.
import { spawn, spawnSync, execFileSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
export const OUT = path.join(ROOT, 'build', 'e2e')
const START_MS = 120_000
const STOP_MS = 60_000

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Until `look` returns something true; fails with what it was told last. */
export async function until(what, look, limitMs = 90_000, pauseMs = 100) {
  const end = Date.now() + limitMs
  let last
  do {
    try {
      last = await look()
      if (last) return last
    } catch (error) {
      last = error
    }
    await sleep(pauseMs)
  } while (Date.now() < end)
  throw new Error(`waited ${limitMs / 1000} s for ${what}; last: ${last instanceof Error ? last.stack : JSON.stringify(last)}`)
}

const PORT_TRIES = 100

/** Below those that the kernel gives to connections, which would take it again before the program listens. */
export async function freePort() {
  for (let tries = 0; tries < PORT_TRIES; tries += 1) {
    const port = 15_000 + Math.floor(Math.random() * 15_000)
    const server = net.createServer()
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
  throw new Error('no free port was found')
}

/** One installation: `start` and `stop` it as often as needed. */
export class Openflow {
  static async create(name) {
    fs.mkdirSync(OUT, { recursive: true })
    const it = new Openflow()
    it.name = name
    it.data = fs.mkdtempSync(path.join(os.tmpdir(), `openflow-e2e-${name}-`))
    fs.chmodSync(it.data, 0o755) // the unprivileged PostgreSQL passes through
    it.managerPort = await freePort()
    it.proxyPort = await freePort()
    it.mqttPort = await freePort()
    it.mqttWsPort = await freePort()
    it.log = path.join(OUT, `${name}.log`)
    fs.writeFileSync(it.log, '')
    it.origin = `http://localhost:${it.proxyPort}`
    return it
  }

  /** Before the first start: a disk of its own for all data, in memory. False: this user may not mount. */
  onSmallDisk(megabytes) {
    const options = `size=${megabytes}m,mode=0755`
    this.mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'openflow-e2e', this.data]).status === 0
    return this.mounted
  }

  /** `openflow up`, until it says that it is up. */
  async start(env = {}) {
    const { DATABASE_URL: _, ...environment } = process.env // its own private cluster
    const out = fs.openSync(this.log, 'a')
    const from = fs.statSync(this.log).size
    this.process = spawn(
      process.env.OPENFLOW_TEST_BIN,
      ['up', `--data-dir=${this.data}`, `--listen=127.0.0.1:${this.managerPort}`, `--proxy-listen=127.0.0.1:${this.proxyPort}`,
        `--mqtt-listen=127.0.0.1:${this.mqttPort}`, `--mqtt-listen-ws=127.0.0.1:${this.mqttWsPort}`],
      { stdio: ['ignore', out, out], env: { ...environment, ...env } },
    )
    fs.closeSync(out)
    this.exited = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve({ code, signal })))
    const said = () => fs.readFileSync(this.log, 'utf8').slice(from)
    await until('openflow up', () => {
      return this.process.exitCode !== null || said().includes('Openflow is up')
    }, START_MS)
    if (this.process.exitCode !== null) throw new Error(`openflow ended: ${said()}`)
    this.setupUrl = /http:\S+\/setup\?token=\S+/.exec(said())?.[0]
  }

  async stop(signal = 'SIGTERM') {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return
    this.process.kill(signal)
    const ended = await Promise.race([this.exited, new Promise((resolve) => setTimeout(resolve, STOP_MS).unref())])
    if (!ended) {
      this.process.kill('SIGKILL')
      throw new Error(`openflow did not end within ${STOP_MS / 1000} s of ${signal}`)
    }
    return ended
  }

  /** Ends everything, also what a killed program left behind. */
  async destroy() {
    await this.stop().catch((error) => console.error(error))
    for (const id of this.containers ?? []) {
      docker('rm', '-f', id)
    }
    stopPostgres(path.join(this.data, 'postgres'))
    if (this.mounted) execFileSync('umount', ['--lazy', this.data])
    fs.rmSync(this.data, { recursive: true, force: true })
  }

  /** A call with the token of `signInForToken`. */
  async api(method, address, body, token = this.token) {
    const response = await fetch(`${this.origin}/api/v1${address}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${address}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : null
  }

  /** A personal access token for a script, by password. */
  async signInForToken(email, password) {
    const signIn = await fetch(`${this.origin}/api/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password }),
    })
    const cookie = signIn.headers.get('set-cookie').split(';')[0]
    const made = await fetch(`${this.origin}/api/v1/me/tokens`, {
      method: 'POST',
      headers: { cookie, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'e2e', scopes: ['read', 'write'] }),
    })
    return (await made.json()).token
  }

  host(name) {
    return `http://${name}.localhost:${this.proxyPort}`
  }

  async instance(id) {
    return this.api('GET', `/instances/${id}`)
  }

  async running(id) {
    return until(`instance ${id} to run`, async () => {
      const it = await this.instance(id)
      return it.status === 'running' && it
    })
  }

  async gone(id) {
    return until(`instance ${id} to be gone`, async () => {
      const response = await fetch(`${this.origin}/api/v1/instances/${id}`, { headers: { authorization: `Bearer ${this.token}` } })
      return response.status === 404
    })
  }
}

export function docker(...args) {
  try {
    return execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  } catch (error) {
    return `error: ${error.stderr}`
  }
}

/** Status code and body, as curl sees it (it resolves *.localhost by itself). */
export function curl(url, ...args) {
  const out = execFileSync('curl', ['-sS', '--max-time', '20', '-w', '\n%{http_code}', ...args, url], { encoding: 'utf8' })
  const at = out.lastIndexOf('\n')
  return { status: Number(out.slice(at + 1)), body: out.slice(0, at) }
}

/** Of the private server of `data/postgres`; null: it does not run. */
export function postgresPid(folder) {
  try {
    const pid = Number(fs.readFileSync(path.join(folder, 'cluster', 'postmaster.pid'), 'utf8').split('\n')[0])
    return pid > 1 ? pid : null
  } catch {
    return null
  }
}

function stopPostgres(folder) {
  try {
    const pid = postgresPid(folder)
    if (pid) process.kill(pid, 'SIGQUIT')
  } catch {
    // Not running: that is what is wanted.
  }
}

export async function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  })
}

/** A fresh profile; what the page complains of is collected. */
export async function newPerson(browser) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } })
  context.setDefaultTimeout(90_000)
  return { context, page: await context.newPage() }
}

/**
 * Opens an address; not all of the page is there when it resolves. Again, where something came between: the page before went
 * elsewhere just then, or Chrome dropped what it was loading because a container came or went.
 */
export const visit = (page, url) => until(`${url} to open`, () => page.goto(url, { waitUntil: 'commit' }), 90_000, 500)

export const reload = (page) => until('the page to load again', () => page.reload({ waitUntil: 'commit' }), 90_000, 500)

/** Until the page is where it is sent to, over however many addresses. Playwright's waitForURL takes one that another overtakes for a failure. */
export const arrives = (page, address) => until(`the page to come to ${address}`, () => {
  if (address.test(page.url())) return true
  throw new Error(`it is at ${page.url()}`)
})

/** Until `sign` is on the page, which is loaded again when something of it did not come. */
export async function loaded(page, sign, name) {
  for (let left = 2; ; left -= 1) {
    try {
      return await page.waitForSelector(sign, { timeout: 60_000 })
    } catch (error) {
      await shot(page, `${name}-not-ready`)
      const text = await page.evaluate(() => document.body.innerText.slice(0, 500)).catch((it) => it.message)
      if (left === 0) throw new Error(`${error.message}\nat ${page.url()}: ${text}`)
      await page.reload({ waitUntil: 'commit' }).catch(() => {})
    }
  }
}

/** The editor as it is used: palette and flows there, no sign-in form, socket connected. */
export async function editorReady(page) {
  await loaded(page, '.red-ui-palette-node', 'editor')
  await page.waitForSelector('#red-ui-loading-progress', { state: 'hidden' })
  await until('the editor socket', () => page.evaluate(() => RED.comms !== undefined && !document.querySelector('#node-dialog-login')))
}

export async function shot(page, name) {
  await page.screenshot({ path: path.join(OUT, `${name}.png`) })
}
