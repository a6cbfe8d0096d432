// A session of node-postgres. See package drivers.
'use strict'
const fs = require('node:fs')
const { Client } = require('pg')
const Cursor = require('pg-cursor')
const copy = require('pg-copy-streams')
const { pipeline } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')

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

async function main () {
  const modes = { disable: false, require: { rejectUnauthorized: false } }
  for (const [mode, ssl] of Object.entries(modes)) {
    await report('connect-' + mode, async () => {
      const c = new Client({ ssl })
      await c.connect()
      await c.end()
      return 'ok'
    })
  }
  const verify = { 'verify-full': ['127.0.0.1', 'TRUSTED_CA'], 'verify-full-name': ['localhost', 'TRUSTED_CA'], 'verify-untrusted': ['127.0.0.1', 'UNTRUSTED_CA'] }
  for (const [step, [host, root]] of Object.entries(verify)) {
    await report(step, async () => {
      const c = new Client({ host, ssl: { ca: fs.readFileSync(process.env[root]) } })
      await c.connect()
      await c.end()
      return 'ok'
    })
  }
  const client = new Client()
  client.on('error', () => {})
  await client.connect()
  const one = (text, values) => async () =>
    (await client.query({ text, values, rowMode: 'array' })).rows.flat().map(v => Buffer.isBuffer(v) ? v.toString('hex') : v instanceof Date ? v.toISOString() : typeof v === 'object' ? JSON.stringify(v) : String(v)).join('|')
  const count = async () => (await client.query('SELECT count(*)::int AS n FROM app.orders')).rows[0].n

  const steps = {
    select: one('SELECT 1+1'),
    prepared: async () => {
      const q = { name: 'by-id', text: 'SELECT id, name FROM app.customers WHERE id = $1', values: [1], rowMode: 'array' }
      await client.query(q)
      return (await client.query(q)).rows[0].join('|')
    },
    masked: one('SELECT ssn, card, email FROM app.customers WHERE id = $1', [1]),
    transaction: async () => {
      const before = await count()
      await client.query('BEGIN')
      let inside
      try {
        await client.query('INSERT INTO app.orders VALUES ($1, 1, 1)', [999])
        inside = await count()
      } finally {
        await client.query('ROLLBACK')
      }
      return [before, inside, await count()].join(',')
    },
    batch: async () => (await client.query('SELECT 1 AS n; SELECT 2 AS n; SELECT 3 AS n')).map(r => r.rows[0].n).join(','),
    'copy-out': async () => {
      let text = ''
      const sink = new Writable({ write (chunk, _, done) { text += chunk; done() } })
      await pipeline(client.query(copy.to('COPY app.orders TO STDOUT (FORMAT csv)')), sink)
      return text.trim().split('\n').length
    },
    'copy-in': async () => {
      await pipeline(Readable.from(['1001,1,5\n1002,1,6\n']), client.query(copy.from('COPY app.orders FROM STDIN (FORMAT csv)')))
      return (await client.query('DELETE FROM app.orders WHERE id > 1000')).rowCount
    },
    listen: async () => {
      const got = new Promise((resolve, reject) => {
        client.once('notification', n => resolve(n.payload))
        setTimeout(() => reject(new Error('no notification')), 5000).unref()
      })
      got.catch(() => {})
      await client.query('LISTEN ch')
      await client.query("NOTIFY ch, 'hello'")
      return got
    },
    'error-column': one('SELECT nope FROM app.orders'),
    'error-unique': one('INSERT INTO app.orders VALUES (1, 1, 1)'),
    'error-syntax': one('SELEC 1'),
    denied: one('SELECT v FROM app.secrets'),
    cancel: async () => {
      const c = new Client()
      await c.connect()
      setTimeout(() => {
        const canceller = new Client()
        canceller.connection.on('error', () => {})
        canceller.cancel(c, c.activeQuery || c._activeQuery)
      }, 300)
      try {
        await c.query('SELECT count(*) FROM generate_series(1, 100000000000) g')
      } finally {
        await c.end()
      }
    },
    large: async () => {
      const { rows } = await client.query("SELECT g, repeat('x', 100) AS x FROM generate_series(1, 100000) g")
      return rows.length + '|' + rows.reduce((s, r) => s + r.g, 0)
    },
    cursor: async () => {
      const cursor = client.query(new Cursor('SELECT g FROM generate_series(1, 5000) g'))
      let n = 0
      for (let rows; (rows = await cursor.read(100)).length > 0;) n += rows.length
      await cursor.close()
      return n
    },
    types: one(`SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\\x0001ff'::bytea,
      '2026-01-02 03:04:05+00'::timestamptz, '{"a": 1}'::jsonb, ARRAY[1,2,3], NULL`),
    'select-after': one('SELECT 3')
  }
  for (const [name, step] of Object.entries(steps)) await report(name, step)
  await client.end()
}

main().catch(e => { console.error(e); process.exit(1) })
