'use strict';
// Node-RED takes the frames of the editor's WebSocket on trust: `null`, `{"subscribe":1}` or a broken pattern end the
// process, and so a person who may only look could stop everybody's flows. Such frames are dropped here.
const COMMS = Symbol.for('openflow.comms'); // put on the socket by the policy
const MAX_FRAME_BYTES = 64 * 1024;
const TOPIC = /^[\w/#+.:@ -]{1,256}$/;

/**
 * @param {object} ws the module `ws` that Node-RED's editor API uses
 */
function guardComms(ws) {
  const { prototype } = ws.WebSocket ?? ws; // version 8 names the class, in version 7 it is the module
  const { emit } = prototype;
  prototype.emit = function guardedEmit(event, ...args) {
    const person = event === 'message' ? this._socket?.[COMMS] : undefined;
    if (person && !isSound(args[0], person)) return true;
    return emit.call(this, event, ...args);
  };
}

/** True for the frames that the editor sends; `topic` frames reach modules in the runtime and are not for viewers. */
function isSound(data, person) {
  if (data.length > MAX_FRAME_BYTES) return false;
  let frame;
  try {
    frame = JSON.parse(data);
  } catch {
    return false;
  }
  if (typeof frame !== 'object' || frame === null) return false;
  if (frame.auth !== undefined) return typeof frame.auth === 'string' && frame.auth.length <= 4096;
  if (frame.subscribe !== undefined) return typeof frame.subscribe === 'string' && TOPIC.test(frame.subscribe);
  return typeof frame.topic === 'string' && TOPIC.test(frame.topic) && person.role !== 'viewer';
}

module.exports = { guardComms, isSound };
