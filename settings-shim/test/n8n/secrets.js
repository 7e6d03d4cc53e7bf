'use strict';
// Credentials as n8n keeps them: OpenSSL's "Salted__" format, written here anew so that n8n's own code is what it is tested against.
const { createCipheriv, createDecipheriv, createHash, randomBytes } = require('node:crypto');

function keyAndIv(key, salt) {
  const parts = [Buffer.alloc(0)];
  while (parts.length < 4) parts.push(createHash('md5').update(Buffer.concat([parts.at(-1), Buffer.from(key, 'latin1'), salt])).digest());
  return [Buffer.concat([parts[1], parts[2]]), parts[3]];
}

function encryptText(text, key) {
  const salt = randomBytes(8);
  const cipher = createCipheriv('aes-256-cbc', ...keyAndIv(key, salt));
  return Buffer.concat([Buffer.from('Salted__'), salt, cipher.update(text), cipher.final()]).toString('base64');
}

function decryptText(data, key) {
  const input = Buffer.from(data, 'base64');
  const decipher = createDecipheriv('aes-256-cbc', ...keyAndIv(key, input.subarray(8, 16)));
  return Buffer.concat([decipher.update(input.subarray(16)), decipher.final()]).toString();
}

const encrypt = (value, key) => encryptText(JSON.stringify(value), key);
const decrypt = (data, key) => JSON.parse(decryptText(data, key));

/** The content with its credentials under another key, as the manager does it when it promotes. */
function resealed(content, from, to) {
  return { ...content, credentials: content.credentials.map((it) => ({ ...it, data: encrypt(decrypt(it.data, from), to) })) };
}

module.exports = { decrypt, decryptText, encrypt, encryptText, resealed };
