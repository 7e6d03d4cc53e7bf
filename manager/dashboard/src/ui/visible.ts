import { onBeforeUnmount, ref, type Ref } from 'vue'

/** Whether the page can be seen. */
export function useVisible(): Ref<boolean> {
  const visible = ref(!document.hidden)
  const update = (): void => {
    visible.value = !document.hidden
  }
  document.addEventListener('visibilitychange', update)
  onBeforeUnmount(() => document.removeEventListener('visibilitychange', update))
  return visible
}
