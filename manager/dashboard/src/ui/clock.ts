import { ref } from 'vue'

const TICK_MS = 15_000

/** The current time, coarse: one timer moves every relative time on the page. */
export const now = ref(new Date())
setInterval(() => (now.value = new Date()), TICK_MS)
