import { useQueryClient } from '@tanstack/vue-query'
import type { Instance, PatchInstance } from '@/api/types'
import { useAction, type Action } from '@/ui/action'
import { toast } from '@/ui/toast'
import { patchInstance, putInstance } from './api'

/** Saves a part of an instance's settings; `body` is asked for when the form is sent. */
export function usePatch(instance: () => Instance, body: () => PatchInstance): Action<[]> {
  const client = useQueryClient()
  return useAction(async () => {
    const patched = await patchInstance(instance().id, body())
    putInstance(client, patched)
    toast(patched.restartNeeded ? 'Saved. Restart the instance to apply it.' : 'Saved.')
  })
}
