'use strict';
// What only one program at a time may do in an instance's database. The server keeps the locks, so the end of a program, whatever
// it dies of, is the end of its turn.
const CLASS = 0x6f66; // theirs among the locks of this database; n8n's own have no class

/** Numbers of the locks. */
const ARRIVAL = 1; // which schema is the data folder's own is being found out
const DUMP = 2;

/** Waits for its turn, at most as long as for any lock. */
async function inTurn(database, number, work) {
  await database.query('SELECT pg_advisory_lock($1::int, $2::int)', [CLASS, number]);
  return finishing(database, number, work);
}

/** @throws {Error} `refusal` when somebody else is at it */
async function alone(database, number, refusal, work) {
  const [{ mine }] = await database.query('SELECT pg_try_advisory_lock($1::int, $2::int) AS mine', [CLASS, number]);
  if (!mine) throw new Error(refusal);
  return finishing(database, number, work);
}

async function finishing(database, number, work) {
  try {
    return await work();
  } finally {
    // In the middle of a COPY nothing can be asked; the connection ends then, and the lock with it.
    if (!database.isCopying) await database.query('SELECT pg_advisory_unlock($1::int, $2::int)', [CLASS, number]).catch(() => {});
  }
}

module.exports = { ARRIVAL, DUMP, alone, inTurn };
