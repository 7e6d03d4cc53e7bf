/** A bounded buffer of log lines. Pure. */

export interface LogLine {
  /** Grows by one with each line, also over lines that were dropped. */
  id: number
  text: string
}

export const MAX_LINES = 2_000
const MAX_LINE_LENGTH = 8_192

// ECMA-48 control sequences: colours, cursor moves. Shown as text they would be noise.
// The escape character is the point of this pattern.
const ANSI = new RegExp('\\u001b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?|[@-_])', 'g')

/** Cuts chunks of text into lines and keeps the last `MAX_LINES`. */
export class LogBuffer {
  #lines: LogLine[] = []
  #rest = ''
  #lastId = 0

  push(chunk: string): void {
    const parts = (this.#rest + chunk).split('\n')
    this.#rest = (parts.pop() ?? '').slice(0, MAX_LINE_LENGTH)
    for (const part of parts.slice(-MAX_LINES)) this.#add(part)
    if (this.#lines.length > MAX_LINES) this.#lines = this.#lines.slice(-MAX_LINES)
  }

  /** A line without its newline at the end of the stream. */
  end(): void {
    if (this.#rest) this.push('\n')
  }

  /** A new array each time, so that it can be handed to a shallow ref. */
  lines(): LogLine[] {
    return [...this.#lines]
  }

  #add(text: string): void {
    this.#lastId += 1
    this.#lines.push({ id: this.#lastId, text: text.replace(/\r$/, '').replace(ANSI, '').slice(0, MAX_LINE_LENGTH) })
  }
}
