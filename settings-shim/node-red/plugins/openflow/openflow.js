'use strict';
const flows = require('../../flows');

module.exports = function openflowPlugin(RED) {
  RED.events.on('flows:started', () => { flows.running = true; });
  RED.events.on('flows:stopping', () => { flows.running = false; });
};
