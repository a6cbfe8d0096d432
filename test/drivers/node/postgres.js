// A session of postgres.js. See package drivers.
'use strict'
const fs = require('node:fs')
const postgres = require('postgres')

async function report (name, step) {
  let value
  try {
    value = await step()
  } catch (e) {
    value = e.code ? e.code : 'failed: ' + e.message
    if (e.detail && e.code !== '42501') value += '|' + e.detail
  }
  console.log(`${name}: ${String(value).replaceAll('\n', ' ')}`)
}

const text = v => Buffer.isBuffer(v) ? v.toString('hex') : v instanceof Date ? v.toISOString() : typeof v === 'object' ? JSON.stringify(v) : String(v)

async function main () {
  for (const [mode, ssl] of Object.entries({ disable: false, prefer: 'prefer', require: 'require' })) {
    await report('connect-' + mode, async () => {
      const sql = postgres({ ssl, max: 1, onnotice: () => {} })
      await sql`SELECT 1`
      await sql.end()
      return 'ok'
    })
  }
  const verify = { 'verify-full': ['127.0.0.1', 'TRUSTED_CA'], 'verify-full-name': ['localhost', 'TRUSTED_CA'], 'verify-untrusted': ['127.0.0.1', 'UNTRUSTED_CA'] }
  for (const [step, [host, root]] of Object.entries(verify)) {
    await report(step, async () => {
      const sql = postgres({ host, ssl: { ca: fs.readFileSync(process.env[root]), rejectUnauthorized: true }, max: 1, onnotice: () => {} })
      try {
        await sql`SELECT 1`
      } finally {
        await sql.end()
      }
      return 'ok'
    })
  }
  const sql = postgres({ max: 3, onnotice: () => {} })
  const one = (query, values = []) => async () => (await sql.unsafe(query, values).values()).flat().map(text).join('|')
  const count = async s => (await s`SELECT count(*)::int AS n FROM app.orders`)[0].n
  const steps = {
    select: one('SELECT 1+1'),
    prepared: async () => Object.values((await sql`SELECT id, name FROM app.customers WHERE id = ${1}`)[0]).join('|'),
    masked: one('SELECT ssn, card, email FROM app.customers WHERE id = $1', [1]),
    transaction: async () => {
      const before = await count(sql)
      let inside
      await sql.begin(async tx => {
        await tx`INSERT INTO app.orders VALUES (${999}, 1, 1)`
        inside = await count(tx)
        throw new Error('roll back')
      }).catch(e => { if (e.message !== 'roll back') throw e })
      return [before, inside, await count(sql)].join(',')
    },
    batch: async () => (await sql.begin(tx => [1, 2, 3].map(n => tx`SELECT ${n}::int AS n`))).map(r => r[0].n).join(','),
    'copy-out': async () => {
      let out = ''
      for await (const chunk of await sql`COPY app.orders TO STDOUT (FORMAT csv)`.readable()) out += chunk
      return out.trim().split('\n').length
    },
    'copy-in': async () => {
      const w = await sql`COPY app.orders FROM STDIN (FORMAT csv)`.writable()
      await new Promise((resolve, reject) => {
        w.on('error', reject)
        w.on('finish', resolve)
        w.end('1001,1,5\n1002,1,6\n')
      })
      return (await sql`DELETE FROM app.orders WHERE id > 1000`).count
    },
    listen: async () => {
      let deliver
      const got = new Promise((resolve, reject) => {
        deliver = resolve
        setTimeout(() => reject(new Error('no notification')), 5000).unref()
      })
      got.catch(() => {})
      await sql.listen('ch', deliver)
      await sql.unsafe("NOTIFY ch, 'hello'")
      return got
    },
    'error-column': one('SELECT nope FROM app.orders'),
    'error-unique': one('INSERT INTO app.orders VALUES (1, 1, 1)'),
    'error-syntax': one('SELEC 1'),
    denied: one('SELECT v FROM app.secrets'),
    cancel: async () => {
      const q = sql`SELECT count(*) FROM generate_series(1, 100000000000) g`
      setTimeout(() => q.cancel(), 300)
      await q
    },
    large: async () => {
      const rows = await sql`SELECT g, repeat('x', 100) AS x FROM generate_series(1, 100000) g`
      return rows.length + '|' + rows.reduce((s, r) => s + r.g, 0)
    },
    cursor: async () => {
      let n = 0
      for await (const rows of sql`SELECT g FROM generate_series(1, 5000) g`.cursor(100)) n += rows.length
      return n
    },
    types: one(`SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\\x0001ff'::bytea,
      '2026-01-02 03:04:05+00'::timestamptz, '{"a": 1}'::jsonb, ARRAY[1,2,3], NULL`),
    'select-after': one('SELECT 3')
  }
  for (const [name, step] of Object.entries(steps)) await report(name, step)
  await sql.end({ timeout: 2 })
}

main().catch(e => { console.error(e); process.exit(1) })
