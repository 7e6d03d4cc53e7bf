import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

/** A query parameter as a writable ref, so that a reload or a shared address shows the same page. Empty removes it. */
export function useQueryParam(name: string, fallback = ''): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get() {
      const value = route.query[name]
      return (Array.isArray(value) ? value[0] : value) ?? fallback
    },
    set(value) {
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
