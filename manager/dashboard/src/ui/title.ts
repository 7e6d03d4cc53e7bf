import { toValue, watchEffect, type MaybeRefOrGetter } from 'vue'

/** Names the page in the browser's tab, and so for screen readers on navigation. */
export function setPageTitle(title: MaybeRefOrGetter<string | undefined>): void {
  watchEffect(() => {
    const value = toValue(title)
    document.title = value ? `${value} · Openflow` : 'Openflow'
  })
}
