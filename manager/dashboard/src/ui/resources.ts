/** The limits as number inputs give them: a number, or an empty string when nothing was entered. */
export function resourcesFromInputs(memoryMb: string | number, cpus: string | number): { memoryMb?: number; cpus?: number } | undefined {
  const resources = {
    ...(memoryMb === '' ? {} : { memoryMb: Number(memoryMb) }),
    ...(cpus === '' ? {} : { cpus: Number(cpus) }),
  }
  return Object.keys(resources).length > 0 ? resources : undefined
}
