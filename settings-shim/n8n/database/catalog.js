'use strict';
// What a schema consists of, as statements that make it anew: out of PostgreSQL's catalogue, so that tables that n8n makes
// at run time and those of later versions need nothing here. The search path is the schema alone when this is asked, so
// that the server writes the names of what is in it without the schema: it may have another name where it is loaded.
const { quoted } = require('./connection');

const NOT_OF_AN_EXTENSION = (catalog, oid) => `NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '${catalog}'::regclass AND d.objid = ${oid} AND d.deptype = 'e')`;
// Tables that can be made and filled each by itself.
const PLAIN = `c.relkind = 'r' AND c.relpersistence IN ('p', 'u') AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) AND ${NOT_OF_AN_EXTENSION('pg_class', 'c.oid')}`;
const TABLES = `SELECT c.oid, c.relname AS name FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND ${PLAIN} ORDER BY c.relname`;

const ENUMS = `SELECT format('CREATE TYPE %I AS ENUM (%s)', t.typname,
    (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)) AS sql
  FROM pg_type t WHERE t.typnamespace = $1::regnamespace AND t.typtype = 'e' AND ${NOT_OF_AN_EXTENSION('pg_type', 't.oid')} ORDER BY t.typname`;

// Whose column a sequence is, if any; 'i' for an identity column, 'a' for a serial one.
const SEQUENCES = `SELECT c.relname AS name, d.deptype AS kind, t.relname AS "table", a.attname AS "column", a.attidentity AS identity,
    CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END AS persistence, format_type(s.seqtypid, NULL) AS type,
    format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
      CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END) AS options
  FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_class t ON t.oid = d.refobjid AND t.oid = ANY($2::oid[])
  LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE c.relnamespace = $1::regnamespace AND (d.objid IS NULL OR t.oid IS NOT NULL) AND ${NOT_OF_AN_EXTENSION('pg_class', 'c.oid')} ORDER BY c.relname`;

// Only those that need no table to be there first. The server always writes the schema into their name.
const CARRIED_FUNCTION = `p.prokind IN ('f', 'p') AND l.lanname IN ('plpgsql', 'sql') AND to_jsonb(p) ->> 'prosqlbody' IS NULL
  AND NOT EXISTS (SELECT FROM unnest(p.prorettype || p.proargtypes::oid[] || coalesce(p.proallargtypes, '{}')) AS used JOIN pg_type t ON t.oid = used
    LEFT JOIN pg_type e ON e.oid = t.typelem
    WHERE t.typnamespace <> 'pg_catalog'::regnamespace AND t.typtype <> 'e' AND coalesce(e.typtype, '') <> 'e')`;
const FUNCTIONS = `SELECT format('CREATE %s %I', k.kind, p.proname) || substr(pg_get_functiondef(p.oid), length(format('CREATE OR REPLACE %s %I.%I', k.kind, n.nspname, p.proname)) + 1) AS sql
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  CROSS JOIN LATERAL (SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind) k
  WHERE p.pronamespace = $1::regnamespace AND ${CARRIED_FUNCTION} AND ${NOT_OF_AN_EXTENSION('pg_proc', 'p.oid')} ORDER BY p.proname, p.oid`;

const COLUMNS = `SELECT c.relname AS "table", c.relpersistence = 'u' AS "isUnlogged", a.attname AS name, a.attgenerated AS generated,
    concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
      CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || a.attcollation::regcollation END,
      CASE a.attgenerated WHEN 's' THEN format('GENERATED ALWAYS AS (%s) STORED', e.text) WHEN 'v' THEN format('GENERATED ALWAYS AS (%s) VIRTUAL', e.text)
        ELSE 'DEFAULT ' || e.text END,
      CASE WHEN a.attnotnull THEN 'NOT NULL' END) AS sql
  FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum LEFT JOIN LATERAL (SELECT pg_get_expr(d.adbin, d.adrelid, true) AS text) e ON true
  WHERE c.oid = ANY($1::oid[]) ORDER BY c.relname, a.attnum`;

// Keys first: foreign keys need them.
const CONSTRAINTS = `SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, o.conname, pg_get_constraintdef(o.oid, true)) AS sql
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
  WHERE o.conrelid = ANY($1::oid[]) AND (o.contype IN ('p', 'u', 'x', 'c') OR (o.contype = 'f' AND o.confrelid = ANY($1::oid[])))
  ORDER BY position(o.contype::text IN 'puxcf'), c.relname, o.conname`;
const INDEXES = `SELECT pg_get_indexdef(i.indexrelid, 0, true) AS sql FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE i.indrelid = ANY($1::oid[]) AND i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x')) ORDER BY c.relname`;
const TRIGGERS = `SELECT pg_get_triggerdef(g.oid, true) AS sql, CASE g.tgenabled WHEN 'O' THEN NULL ELSE
    format('ALTER TABLE %I %s TRIGGER %I', c.relname, CASE g.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, g.tgname) END AS switch
  FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
  WHERE g.tgrelid = ANY($1::oid[]) AND NOT g.tgisinternal ORDER BY c.relname, g.tgname`;

// n8n makes the extension uuid-ossp by itself.
const LEFT_OUT = `SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' WHEN 'S' THEN 'sequence' ELSE 'partitioned or inheriting table' END AS kind, c.relname AS name
    FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND (c.relkind IN ('v', 'm', 'f', 'c', 'p') OR (c.relkind = 'r' AND NOT (${PLAIN}))) AND ${NOT_OF_AN_EXTENSION('pg_class', 'c.oid')}
  UNION ALL SELECT 'type', t.typname FROM pg_type t WHERE t.typnamespace = $1::regnamespace AND t.typtype IN ('d', 'r') AND ${NOT_OF_AN_EXTENSION('pg_type', 't.oid')}
  UNION ALL SELECT 'function', p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = $1::regnamespace AND NOT (${CARRIED_FUNCTION}) AND ${NOT_OF_AN_EXTENSION('pg_proc', 'p.oid')}
  UNION ALL SELECT 'rule', r.rulename FROM pg_rewrite r WHERE r.ev_class = ANY($2::oid[])
  UNION ALL SELECT 'policy', y.polname FROM pg_policy y WHERE y.polrelid = ANY($2::oid[])
  UNION ALL SELECT 'statistics', s.stxname FROM pg_statistic_ext s WHERE s.stxrelid = ANY($2::oid[])
  UNION ALL SELECT 'foreign key', o.conname FROM pg_constraint o WHERE o.contype = 'f' AND o.conrelid = ANY($2::oid[]) AND NOT o.confrelid = ANY($2::oid[])
  UNION ALL SELECT 'extension', e.extname FROM pg_extension e WHERE e.extname NOT IN ('plpgsql', 'uuid-ossp')
  UNION ALL SELECT 'schema', n.nspname FROM pg_namespace n WHERE n.nspname !~ '^(pg_|n8n_[0-9]{14}_[0-9a-f]{8}$|information_schema$)' AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)
  ORDER BY 1, 2 LIMIT 50`;

/** @returns {Promise<{oid: number, name: string}[]>} the tables whose rows are carried */
const tablesOf = (database, schema) => database.query(TABLES, [schema]);

/**
 * @param {Database} database in a transaction, its search path the schema alone
 * @returns {Promise<{before: string[], after: string[], tables: {name: string, columns: string[]}[], sequences: string[],
 *   leftOut: {kind: string, name: string}[]}>} statements for before and after the rows, what has rows, and what is not carried
 */
async function readCatalog(database, schema) {
  const oids = (await tablesOf(database, schema)).map(({ oid }) => oid);
  const statements = async (sql, values) => (await database.query(sql, values)).map((row) => row.sql);
  const sequences = await database.query(SEQUENCES, [schema, oids]);
  const columns = await database.query(COLUMNS, [oids]);
  const triggers = await database.query(TRIGGERS, [oids]);
  const free = sequences.filter(({ kind }) => kind !== 'i');
  return {
    before: [
      ...await statements(ENUMS, [schema]),
      ...free.map(({ name, persistence, type, options }) => `CREATE ${persistence}SEQUENCE ${quoted(name)} AS ${type} ${options}`),
      ...await statements(FUNCTIONS, [schema]),
      ...tableStatements(columns),
      ...sequences.filter(({ kind }) => kind !== null).map(ownership),
    ],
    after: [
      ...await statements(CONSTRAINTS, [oids]), ...await statements(INDEXES, [oids]),
      ...triggers.map(({ sql }) => sql), ...triggers.map((it) => it.switch).filter(Boolean),
    ],
    tables: tablesWithColumns(columns),
    sequences: sequences.map(({ name }) => name),
    leftOut: await database.query(LEFT_OUT, [schema, oids]),
  };
}

const byTable = (columns) => Map.groupBy(columns, (it) => it.table);

function tableStatements(columns) {
  return [...byTable(columns)].map(([name, own]) => {
    const lines = own.filter((it) => it.name !== null).map(({ sql }) => sql);
    return `CREATE ${own[0].isUnlogged ? 'UNLOGGED ' : ''}TABLE ${quoted(name)} (${lines.join(', ')})`;
  });
}

/** The server computes generated columns by itself. */
function tablesWithColumns(columns) {
  const isCarried = (it) => it.name !== null && it.generated === '';
  return [...byTable(columns)].map(([name, own]) => ({ name, columns: own.filter(isCarried).map((it) => it.name) })).filter((it) => it.columns.length > 0);
}

function ownership({ name, kind, table, column, identity, options }) {
  if (kind === 'a') return `ALTER SEQUENCE ${quoted(name)} OWNED BY ${quoted(table)}.${quoted(column)}`;
  const way = identity === 'a' ? 'ALWAYS' : 'BY DEFAULT';
  return `ALTER TABLE ${quoted(table)} ALTER COLUMN ${quoted(column)} ADD GENERATED ${way} AS IDENTITY (SEQUENCE NAME ${quoted(name)} ${options})`;
}

module.exports = { readCatalog, tablesOf };
