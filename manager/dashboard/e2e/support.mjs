// A mock API and a page of it per test, for the end-to-end tests.
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { launchBrowser } from '../mock/browser.mjs'
import { startMock } from '../mock/server.mjs'

const WAIT_MS = 30_000
let browser
let context
export let mock
export let page
/** Script errors and refused resources; a test that expects none of them fails on any. */
let complaints

before(async () => {
  browser = await launchBrowser()
})
after(async () => {
  await browser?.close()
})

export async function begin(options = {}) {
  mock = await startMock(options)
  context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] })
  context.setDefaultTimeout(WAIT_MS)
  page = await context.newPage()
  complaints = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => /Content Security Policy|Unhandled/i.test(message.text()) && complaints.push(message.text()))
}
export async function finish() {
  await context?.close()
  await mock?.close()
  assert.deepEqual(complaints, [])
}
export const visible = (locator) => locator.waitFor({ state: 'visible' })
export const button = (name, scope = page) => scope.getByRole('button', { name, exact: true })
export const go = (path) => page.goto(mock.origin + path)
