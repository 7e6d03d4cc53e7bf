/** One polite live region for the whole application, shown by App.vue to screen readers only. */
import { nextTick, ref } from 'vue'

export const announcement = ref('')

export async function announce(message: string): Promise<void> {
  // The same words twice are spoken twice only if the region changed in between.
  announcement.value = ''
  await nextTick()
  announcement.value = message
}
