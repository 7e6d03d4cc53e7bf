'use strict';
// Whether flows run. Node-RED listens a few milliseconds before they do, and a webhook that comes in between finds
// nothing; whoever wakes an instance waits for this. Written by the plugin, read by the health answer.
module.exports = { running: false };
