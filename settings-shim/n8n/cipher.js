'use strict';
// Credentials as n8n keeps them: OpenSSL's "Salted__" format in base64, AES-256-CBC, key and IV made of the encryption key and
// the salt by MD5; inside is a JSON object (docs/wire.md).
const { createCipheriv, createDecipheriv, createHash, randomBytes } = require('node:crypto');

const MAGIC = Buffer.from('Salted__');
const SALT_BYTES = 8;
const [HEAD, FROM] = [MAGIC.length, MAGIC.length + SALT_BYTES];

function keyAndIv(key, salt) {
  const parts = [Buffer.alloc(0)];
  while (parts.length < 4) parts.push(createHash('md5').update(Buffer.concat([parts.at(-1), Buffer.from(key, 'latin1'), salt])).digest());
  return [Buffer.concat([parts[1], parts[2]]), parts[3]];
}

/** The text of the JSON object, as it was put in. Throws when the key does not open it. */
function decrypt(data, key) {
  const input = Buffer.from(data, 'base64');
  const decipher = createDecipheriv('aes-256-cbc', ...keyAndIv(key, input.subarray(HEAD, FROM)));
  const text = decipher.update(input.subarray(FROM), undefined, 'utf8') + decipher.final('utf8');
  const value = JSON.parse(text); // a wrong key can give a valid padding by chance
  if (typeof value !== 'object' || value === null) throw new Error('no object');
  return text;
}

function encrypt(text, key) {
  const salt = randomBytes(SALT_BYTES);
  const cipher = createCipheriv('aes-256-cbc', ...keyAndIv(key, salt));
  return Buffer.concat([MAGIC, salt, cipher.update(text, 'utf8'), cipher.final()]).toString('base64');
}

function isReadable(data, key) {
  try {
    decrypt(data, key);
    return true;
  } catch {
    return false;
  }
}

/** Whether n8n's own key rotation encrypted it: under a key that is in its database, whose id stands before the text. */
const isRotated = (data) => data.includes(':');

module.exports = { decrypt, encrypt, isReadable, isRotated };
