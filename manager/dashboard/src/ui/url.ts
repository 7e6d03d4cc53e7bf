import { computed, ref, watch, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

/**
 * A query parameter as a writable ref, so that a reload or a shared address shows the same page. Empty removes it.
 * The value holds at once, the address follows: a text field must not wait for the router.
 */
export function useQueryParam(name: string, fallback = ''): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  const read = (): string => {
    const value = route.query[name]
    return (Array.isArray(value) ? value[0] : value) ?? fallback
  }
  const current = ref(read())
  watch(read, (value) => (current.value = value), { flush: 'sync' })
  return computed({
    get: () => current.value,
    set(value) {
      current.value = value || fallback
      const query = { ...route.query }
      if (value === fallback || value === '') delete query[name]
      else query[name] = value
      void router.replace({ query, hash: route.hash })
    },
  })
}

/** A dialog that is open while its query parameter is set. */
export function useQueryFlag(name: string): WritableComputedRef<boolean> {
  const param = useQueryParam(name)
  return computed({
    get: () => param.value !== '',
    set: (open) => {
      param.value = open ? '1' : ''
    },
  })
}
