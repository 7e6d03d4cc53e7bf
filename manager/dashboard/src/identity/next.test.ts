import { describe, expect, it } from 'vitest'
import { safeNext } from './next'

describe('safeNext', () => {
  it.each(['/', '/projects/1', '/launch/wf1?next=%2Fapi%2Fhook', '/instances/1/logs?tail=500#end', '/a//b', '/%2fevil.example'])(
    'keeps the path %s',
    (path) => expect(safeNext(path)).toBe(path),
  )

  it.each([
    ['another host', '//evil.example'],
    ['three slashes', '///evil.example'],
    ['a backslash', '/\\evil.example'],
    ['two backslashes', '\\\\evil.example'],
    ['a backslash further on', '/ok\\..\\..\\evil'],
    ['a tab that browsers drop', '/\t/evil.example'],
    ['a newline that browsers drop', '/\n/evil.example'],
    ['a dot segment that hides two slashes', '/.//evil.example'],
    ['parent segments that hide two slashes', '/a/..//evil.example'],
    ['an address', 'https://evil.example/'],
    ['a script', 'javascript:alert(1)'],
    ['a relative path', 'projects'],
    ['nothing', ''],
    ['no string', ['/a', '/b']],
    ['no value', undefined],
  ])('falls back to the start page for %s', (_what, value) => expect(safeNext(value)).toBe('/'))
})
