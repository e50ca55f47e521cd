// memory.mjs - `strata mcp --memory` beside the reference memory server:
//   node memory.mjs MODULES STRATA
// One scripted session, the same results (order aside). What eight clients lose: session.py; how fast they
// are beside the reference: bench/run.sh.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [modules, strata] = process.argv.slice(2)
const work = mkdtempSync(join(tmpdir(), 'strata-memory-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
const reference = join(modules, 'node_modules/@modelcontextprotocol/server-memory/dist/index.js')

// The least that a client is, so that the servers are measured and not the client.
class Server {
  constructor(command, args, file) {
    this.child = spawn(command, args, {
      env: { ...process.env, MEMORY_FILE_PATH: file, STRATA_AGENT: 'judge' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.waiting = new Map()
    this.next = 1
    let rest = ''
    this.child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()
      for (const line of lines) {
        const message = JSON.parse(line)
        this.waiting.get(message.id)?.(message)
        this.waiting.delete(message.id)
      }
    })
  }

  request(method, params) {
    const id = this.next++
    this.child.stdin.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }) + '\n')
    return new Promise((resolve) => this.waiting.set(id, resolve))
  }

  async start() {
    await this.request('initialize', {
      protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'judge', version: '1' },
    })
    this.child.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    return this
  }

  async call(name, args) {
    return (await this.request('tools/call', { name, arguments: args })).result
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.on('exit', resolve))
    this.child.stdin.end()
    await ended
  }
}

const kinds = {
  reference: (file) => new Server(process.execPath, [reference], file).start(),
  strata: (file) => new Server(strata, ['mcp', '--memory'], file).start(),
}

const fileOf = (kind, name) => {
  const dir = join(work, `${kind}-${name}`)
  mkdirSync(dir)
  return join(dir, 'memory.jsonl')
}

// --- the same results ----------------------------------------------------------------------------

// Arrays without their order.
function sorted(value) {
  if (Array.isArray(value))
    return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.keys(value).sort().map((k) => [k, sorted(value[k])]))
  return value
}

const entity = (name, entityType, ...observations) => ({ name, entityType, observations })
const relation = (from, to, relationType) => ({ from, to, relationType })

const session = [
  ['read_graph', {}],
  ['create_entities', { entities: [entity('ann', 'person', 'likes tea', 'lives in Köln'), entity('api', '', 'port 9090')] }],
  ['create_entities', { entities: [entity('ann', 'robot', 'other'), entity('bare', 'thing')] }],
  ['create_entities', { entities: [{ ...entity('extra', 'thing', 'x'), more: 1 }] }],
  ['create_entities', { entities: [] }],
  ['create_entities', { entities: [entity('line\ttab', 'thing', 'two\nlines', 'a "quote" \\ back', '')] }],
  ['create_entities', { entities: [{ name: 'half' }] }],
  ['create_entities', {}],
  ['create_entities', { entities: [entity('file:a.c', 'file', 'long'), entity('#12', 'issue'), entity('entity:#12', 'issue', 'x')] }],
  ['create_entities', { entities: [entity('#12', 'issue', 'again')] }],
  ['add_observations', { observations: [{ entityName: '#12', contents: ['open'] }, { entityName: 'file:a.c', contents: ['long', 'old'] }] }],
  ['create_relations', { relations: [relation('#12', 'file:a.c', 'about'), relation('ann', '#12', 'owns'), relation('ann', 'file:a.c', 'owns')] }],
  ['create_relations', { relations: [relation('#12', 'file:a.c', 'about')] }],
  ['open_nodes', { names: ['#12', 'entity:#12'] }],
  ['search_nodes', { query: 'file:a' }],
  ['delete_observations', { deletions: [{ entityName: 'file:a.c', observations: ['old'] }] }],
  ['delete_relations', { relations: [relation('ann', 'file:a.c', 'owns')] }],
  ['delete_entities', { entityNames: ['entity:#12', 'file:a.c'] }],
  ['read_graph', {}],
  ['delete_entities', { entityNames: ['#12'] }],
  ['create_relations', { relations: [relation('ann', 'api', 'owns'), relation('ann', 'nobody', 'type'), relation('api', 'ann', 'relation:type')] }],
  ['create_relations', { relations: [relation('ann', 'api', 'owns'), relation('ann', 'api', 'observation')] }],
  ['add_observations', { observations: [{ entityName: 'ann', contents: ['likes tea', 'sings'] }, { entityName: 'ann', contents: ['sings', 'runs'] }] }],
  ['add_observations', { observations: [{ entityName: 'api', contents: ['up'] }, { entityName: 'nobody', contents: ['x'] }] }],
  ['read_graph', {}],
  ['search_nodes', { query: 'KÖLN' }],
  ['search_nodes', { query: 'person' }],
  ['search_nodes', { query: '' }],
  ['search_nodes', { query: 'nothing has this' }],
  ['search_nodes', { query: 'two\nlines' }],
  ['open_nodes', { names: ['ann'] }],
  ['open_nodes', { names: ['api', 'none'] }],
  ['open_nodes', { names: [] }],
  ['delete_observations', { deletions: [{ entityName: 'ann', observations: ['sings', 'never said'] }, { entityName: 'none', observations: ['x'] }] }],
  ['delete_relations', { relations: [relation('ann', 'nobody', 'type'), relation('ann', 'none', 'x')] }],
  ['read_graph', {}],
  ['delete_entities', { entityNames: ['api', 'none'] }],
  ['read_graph', {}],
  ['add_observations', { observations: [{ entityName: 'api', contents: ['x'] }] }],
  ['create_entities', { entities: [entity('api', 'service', 'port 9090')] }],
  ['delete_observations', { deletions: [{ entityName: 'bare', observations: [] }] }],
  ['open_nodes', { names: ['bare', 'api', 'extra'] }],
  ['delete_entities', { entityNames: ['ann', 'api', 'bare', 'extra', 'line\ttab'] }],
  ['read_graph', {}],
]
// A tab in a name is a control character: refused here, and told (docs/mcp.md).
const forbidden = 'line\ttab'

async function run(kind, file, steps = session) {
  const server = await kinds[kind](file)
  const results = []
  for (const [name, args] of steps) {
    const spaced = JSON.parse(JSON.stringify(args).replaceAll(JSON.stringify(forbidden), '"line tab"'))
    const { isError, structuredContent, content } = await server.call(name, spaced)
    let text = content[0].text
    try { text = JSON.parse(text) } catch { /* a sentence */ }
    // In what words bad arguments are refused is not part of it.
    const refused = isError === true && !/^Entity with name/.test(text)
    results.push(sorted({ name, args, isError: isError === true, structuredContent, text: refused ? 'refused' : text }))
  }
  await server.stop()
  return results
}

// What is on disk when the server starts for the first time.
const before = [
  '{"type":"entity","name":"old","entityType":"file","observations":["was here","twice"]}',
  '{"type":"relation","from":"old","to":"ann","relationType":"knows"}',
].join('\n')

// A file of a relative of the reference server, whose lines have "_type" and whose observations may have a
// time, as the reference server would have written it. An entity that is there twice is there once.
function referenceFile(text) {
  const entities = new Map()
  const relations = []
  for (const line of text.split('\n').filter((l) => l.trim() !== '')) {
    const { _type, name, entityType, observations, from, to, relationType } = JSON.parse(line)
    if (_type === 'relation') {
      relations.push({ type: 'relation', from, to, relationType })
      continue
    }
    const texts = observations.map((o) => o.text ?? o)
    const all = [...(entities.get(name)?.observations ?? []), ...texts]
    entities.set(name, { type: 'entity', name, entityType, observations: [...new Set(all)] })
  }
  return [...entities.values(), ...relations].map((o) => JSON.stringify(o)).join('\n')
}

// Each tool on what a file has, and on what it has not.
function sessionOn(text) {
  const { entities, relations } = Object.groupBy(text.split('\n').map((l) => JSON.parse(l)), (o) =>
    o.type === 'entity' ? 'entities' : 'relations')
  const [first, second, third, ...others] = entities
  const words = [...new Set(entities.flatMap((e) => [e.entityType, e.name, ...e.observations.join(' ').split(' ')]))]
  return [
    ['read_graph', {}],
    ...entities.map((e) => ['open_nodes', { names: [e.name, first.name] }]),
    ...words.filter((_, i) => i % 7 === 0).map((query) => ['search_nodes', { query }]),
    ['create_entities', { entities: [first, { ...second, observations: ['another'] }, entity('new', 'thing', 'x')].map(({ type, ...e }) => e) }],
    ['add_observations', { observations: [{ entityName: second.name, contents: [second.observations[0], 'added'] }] }],
    ['create_relations', { relations: [relation(first.name, 'new', 'has'), ...(relations ?? []).slice(0, 2).map(({ type, ...r }) => r)] }],
    ['delete_observations', { deletions: [{ entityName: third.name, observations: third.observations.slice(0, 2) }] }],
    ['delete_relations', { relations: (relations ?? []).slice(1, 3).map(({ type, ...r }) => r) }],
    ['delete_entities', { entityNames: [first.name, ...others.slice(0, 2).map((e) => e.name)] }],
    ['search_nodes', { query: 'a' }],
    ['read_graph', {}],
  ]
}

async function sameOnFiles() {
  const files = process.env.SAMPLES ?? join(import.meta.dirname, '../../../shared/data/knowledge-graph')
  for (const number of (process.env.FILES ?? '08 15').split(' ')) {
    const name = join(files, `think-tank.memory.${number}.jsonl`)
    if (!existsSync(name)) {
      console.log(`left out: there is no ${name}`)
      return
    }
    const theirs = referenceFile(readFileSync(name, 'utf8'))
    const steps = sessionOn(theirs)
    const results = {}
    for (const kind of Object.keys(kinds)) {
      const file = fileOf(kind, `sample-${number}`)
      writeFileSync(file, kind === 'strata' ? readFileSync(name) : theirs)
      results[kind] = await run(kind, file, steps)
    }
    for (let i = 0; i < steps.length; i++)
      assert.deepEqual(results.strata[i], results.reference[i], `${name}, step ${i}: ${JSON.stringify(steps[i])}`)
    console.log(`ok: ${steps.length} calls on ${theirs.split('\n').length} lines of a real file, the same results`)
  }
}

async function same() {
  for (const start of ['', before]) {
    const results = {}
    for (const kind of Object.keys(kinds)) {
      const file = fileOf(kind, start === '' ? 'empty' : 'file')
      if (start !== '') writeFileSync(file, start)
      results[kind] = await run(kind, file)
    }
    for (let i = 0; i < session.length; i++)
      assert.deepEqual(results.strata[i], results.reference[i], `step ${i}: ${JSON.stringify(session[i])}`)
    console.log(`ok: ${session.length} calls, the same results, ${start === '' ? 'from nothing' : 'with its file'}`)
  }
  // What was deleted does not come back with the next start.
  const file = fileOf('strata', 'again')
  writeFileSync(file, before)
  let server = await kinds.strata(file)
  await server.call('delete_entities', { entityNames: ['old'] })
  await server.stop()
  server = await kinds.strata(file)
  assert.deepEqual((await server.call('read_graph', {})).structuredContent, { entities: [], relations: [] })
  await server.stop()
  console.log('ok: the file is taken in once')
}

await same()
await sameOnFiles()
