// A way to the Docker Engine that a test can cut: for the manager it is as if the engine was killed, and for everybody else
// nothing happens.
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

const ENGINE = (process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock').replace('unix://', '')

export class Relay {
  static async open() {
    const it = new Relay()
    it.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-e2e-engine-'))
    it.socket = path.join(it.folder, 'docker.sock')
    it.host = `unix://${it.socket}`
    await it.mend()
    return it
  }

  /** Breaks all connections and refuses new ones. */
  cut() {
    this.trap = null
    this.server?.close()
    this.server = null
    fs.rmSync(this.socket, { force: true })
    for (const it of this.open) it.destroy()
    this.open.clear()
  }

  /** Takes connections again. */
  async mend() {
    this.open = new Set()
    this.server = net.createServer((near) => this.#connect(near))
    await new Promise((resolve) => this.server.listen(this.socket, resolve))
  }

  /**
   * Cuts in the middle of the next request that looks like this: `asked`, before the engine gets it, or `answered`, when the
   * engine has done it and the manager does not know. Resolves when it is cut.
   */
  cutWhen(request, moment) {
    return new Promise((resolve) => {
      this.trap = { request, moment, resolve }
    })
  }

  close() {
    this.cut()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }

  #connect(near) {
    const far = net.connect(ENGINE)
    let caught = false // the trap's request was passed on
    const sprung = () => {
      const { resolve } = this.trap
      this.cut()
      resolve()
    }
    for (const [one, other] of [[near, far], [far, near]]) {
      this.open.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.open.delete(one)
        other.destroy()
      })
      one.on('end', () => other.end())
    }
    near.on('data', (bytes) => {
      if (this.trap?.request.test(bytes.toString('latin1'))) {
        if (this.trap.moment === 'asked') return sprung()
        caught = true
      }
      far.write(bytes)
    })
    far.on('data', (bytes) => {
      if (caught && this.trap) return sprung()
      near.write(bytes)
    })
  }
}
