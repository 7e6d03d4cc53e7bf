import type { Directive } from 'vue'

/** Focuses the first control of a form that appears after its dialog did. */
export const vFocusFirst: Directive<HTMLElement> = {
  mounted: (element) => element.querySelector<HTMLElement>('input, select, textarea')?.focus(),
}
