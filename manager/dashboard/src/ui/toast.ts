import { ref } from 'vue'
import type { Problem } from '@/api/problem'

export interface Toast {
  id: number
  tone: 'ok' | 'bad'
  message: string
  requestId: string
}

const MAX_TOASTS = 4
const OK_MS = 5_000
const BAD_MS = 15_000

export const toasts = ref<Toast[]>([])
let lastId = 0

export function toast(message: string): void {
  show({ tone: 'ok', message, requestId: '' })
}

/** For what went wrong without anybody having pressed a button just now. */
export function toastBad(message: string): void {
  show({ tone: 'bad', message, requestId: '' })
}

/** For a refusal that has no better place, such as the one of a button in a list. */
export function toastProblem(problem: Problem): void {
  const message = problem.detail ? `${problem.title}. ${problem.detail}` : problem.title
  show({ tone: 'bad', message, requestId: problem.requestId })
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id)
}

function show(content: Omit<Toast, 'id'>): void {
  const id = (lastId += 1)
  toasts.value = [...toasts.value, { id, ...content }].slice(-MAX_TOASTS)
  setTimeout(() => dismiss(id), content.tone === 'ok' ? OK_MS : BAD_MS)
}
