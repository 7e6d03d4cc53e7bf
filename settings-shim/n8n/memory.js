'use strict';
// How an instance's memory is shared out. n8n is two processes: n8n itself and the runner of Code nodes. V8 must know its
// part, or it takes more before it collects garbage, and the kernel ends the instance.
const { CannotStart } = require('./failures');

const FLOOR_MB = 640; // below it n8n is ended while it starts
const RUNNER_SHARE = 0.15;
const RUNNER_HEAP_MB = [96, 512];
const RUNNER_BASE_MB = 48; // what the runner needs beside its heap
const MAIN_BASE_MB = 160; // code, buffers and the files in /tmp

/**
 * @param {number} memoryMb the container's limit, 0 for none
 * @returns {{main: number, runner: number} | null} largest heaps (old space) in MB; null leaves them to V8
 * @throws {CannotStart} when it is too little for n8n
 */
function heaps(memoryMb) {
  if (memoryMb === 0) return null;
  if (memoryMb < FLOOR_MB) {
    throw new CannotStart(`n8n needs at least ${FLOOR_MB} MB of memory and this instance has ${memoryMb} MB. Give it more in its settings.`);
  }
  const [least, most] = RUNNER_HEAP_MB;
  const runner = Math.min(most, Math.max(least, Math.floor(memoryMb * RUNNER_SHARE)));
  return { runner, main: memoryMb - runner - RUNNER_BASE_MB - MAIN_BASE_MB };
}

module.exports = { FLOOR_MB, heaps };
