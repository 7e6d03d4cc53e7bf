'use strict';
// Why n8n cannot start, said to a person. The manager shows the last line on stderr and does not try again for as long as
// nothing changes; so that it knows, the process ends with a status of its own (EX_CONFIG of sysexits.h).
const STATUS = 78;

/** A reason that is known. The message is a sentence for a person: what is wrong and what to do. */
class CannotStart extends Error {}

/** A reason outside of the instance, which may pass by itself: the next try may do. The message is such a sentence, too. */
class TryAgain extends Error {}

const HOOK_FAILED = 'The part of Openflow that runs inside n8n failed, so nobody could sign in. It does not fit this n8n: '
  + "use the image as Openflow's images/build.sh makes it.";
const KNOWN = [
  [/SQLITE_(CORRUPT|NOTADB)|database disk image is malformed|file is not a database/,
    'The database of n8n (.n8n/database.sqlite) is damaged. Nothing was changed. Restore a backup of this instance.'],
  [/SQLITE_FULL|ENOSPC|database or disk is full/,
    'There is no space left on the disk for the data of n8n. Free some space on the machine, then start the instance again.'],
  [/SQLITE_READONLY|SQLITE_CANTOPEN|EACCES|EPERM|EROFS|attempt to write a readonly database/,
    'n8n may not write to its data folder. Check the owner and the rights of the files in it, then start the instance again.'],
  [/Mismatching encryption keys/,
    'The encryption key of this instance is not the one that its data was made with, so n8n could not read its credentials. '
    + 'Nothing was changed. Restore a backup of this instance, or give back the key that belongs to the data.'],
  [/external hook/i, HOOK_FAILED],
];

/** The sentence for an error that n8n's start ended with, whatever it was. */
function sentenceFor(error) {
  if (error instanceof CannotStart || error instanceof TryAgain) return error.message;
  const told = messages(error);
  const known = KNOWN.find(([pattern]) => pattern.test(told));
  return known?.[1] ?? `n8n did not start: ${error?.message ?? error}. The log of the instance says more.`;
}

const isKnown = (error) => error instanceof CannotStart || (!(error instanceof TryAgain) && KNOWN.some(([pattern]) => pattern.test(messages(error))));

// What is said of a database that is busy, damaged or away, and of a disk or a network: by SQLite, by PostgreSQL (five characters, see
// https://www.postgresql.org/docs/current/errcodes-appendix.html; 42 is a question that makes no sense), by the system, and in words.
const NOT_OURS = /^(SQLITE_(?!ERROR|CONSTRAINT|MISMATCH|RANGE|MISUSE)\w+|(?!42)[0-9A-Z]{5}|E[A-Z]+)$/;
const IN_WORDS = /SQLITE_(BUSY|LOCKED|IOERR|NOMEM)|database (table )?is locked|database connection|connection (is )?(terminated|not established|timed? ?out)|timeout exceeded/i;

/** Whether the database, the disk or the network is at fault, and no program that does not fit. It may be over at the next try. */
const isFromOutside = (error) => chain(error).some((it) => NOT_OURS.test(it.code ?? '') || IN_WORDS.test(it.message ?? it));

/** All that the error and what caused it say. */
const messages = (error) => chain(error).map((it) => `${it.code ?? ''} ${it.message ?? it}`).join('\n');

/** The error and what caused it; causes can be a ring. */
function chain(error) {
  const errors = [];
  for (let it = error; it && errors.length < 8; it = it.cause ?? it.driverError) errors.push(it);
  return errors;
}

const MAX_SENTENCE = 2000;

/** On one line, and without what would mislead whoever reads it: parts of a message are what a tenant wrote. */
const plain = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim().slice(0, MAX_SENTENCE);

/** How the programs that run once say that they could not do it. */
function giveUpOnce(what, error) {
  process.exitCode = 1;
  process.stderr.write(`openflow: ${plain(`${what}: ${error.message}`)}\n`);
}

let isTold = false;

/** Ends the process with one line for the manager; 78 for what will be the same at the next try, otherwise 1. */
function giveUp(error) {
  isTold = true;
  process.stderr.write(`openflow: ${plain(sentenceFor(error))}\n`);
  process.exit(isKnown(error) ? STATUS : 1);
}

/** For an end that came another way: where its port is taken, or a setting is wrong, n8n logs that and ends the process itself. */
function tellOfEnd(status) {
  if (status !== 0 && !isTold) process.stderr.write('openflow: n8n ended while it started. The log of the instance says why.\n');
}

module.exports = { CannotStart, TryAgain, HOOK_FAILED, STATUS, giveUp, giveUpOnce, isFromOutside, isKnown, plain, sentenceFor, tellOfEnd };
