'use strict';
// Credentials as n8n stores them: OpenSSL's "Salted__" format in base64, AES-256-CBC, key and IV made of n8n's encryption key
// and the salt by EVP_BytesToKey with MD5 and one round; inside is a JSON object. Secrets of second factors are texts instead.
const { createCipheriv, createDecipheriv, createHash, randomBytes } = require('node:crypto');

const HEADER = Buffer.from('Salted__');
const SALT_END = 16;

function keyAndIv(key, salt) {
  const password = Buffer.concat([Buffer.from(key, 'latin1'), salt]);
  const md5 = (...parts) => createHash('md5').update(Buffer.concat(parts)).digest();
  const first = md5(password);
  const second = md5(first, password);
  return [Buffer.concat([first, second]), md5(second, password)];
}

function decrypt(data, key) {
  const input = Buffer.from(data, 'base64');
  if (!input.subarray(0, HEADER.length).equals(HEADER)) throw new Error('unknown format');
  const decipher = createDecipheriv('aes-256-cbc', ...keyAndIv(key, input.subarray(HEADER.length, SALT_END)));
  return Buffer.concat([decipher.update(input.subarray(SALT_END)), decipher.final()]).toString();
}

// A wrong key passes the padding once in 256 times, so what comes out is looked at.

/** @returns {string} the JSON of the credential's fields; throws where the key is another one or the data damaged */
function open(data, key) {
  const text = decrypt(data, key);
  const value = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error('not an object');
  return text;
}

/** The same for a text of plain letters, as the secrets of second factors are. */
function openText(data, key) {
  const text = decrypt(data, key);
  if (!/^[\x20-\x7e]+$/.test(text)) throw new Error('not a text');
  return text;
}

function seal(text, key) {
  const salt = randomBytes(SALT_END - HEADER.length);
  const cipher = createCipheriv('aes-256-cbc', ...keyAndIv(key, salt));
  return Buffer.concat([HEADER, salt, cipher.update(text), cipher.final()]).toString('base64');
}

module.exports = { open, openText, seal };
