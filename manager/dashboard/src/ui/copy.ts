/**
 * Copies text. The clipboard API exists only on secure origins, and a first installation is often
 * reached by plain http under its host name: there the old command still works.
 */
export async function copyText(text: string, near: HTMLElement): Promise<boolean> {
  if (window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text)
      return true
    } catch {
      // Refused by the browser's permissions: try the old way.
    }
  }
  const area = document.createElement('textarea')
  area.value = text
  area.readOnly = true
  area.className = 'visually-hidden'
  // Inside the button's parent, since nothing outside an open modal dialog can be focused.
  near.parentElement?.append(area)
  area.select()
  const copied = document.execCommand('copy')
  area.remove()
  near.focus()
  return copied
}
