// judge.mjs - the MCP server, judged by the clients of others:
//   node judge.mjs MODULES STRATA
// MODULES is where judges.sh has installed them. Each check says what it is; the first that fails ends
// the run.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [modules, strata] = process.argv.slice(2)
const require = createRequire(join(modules, 'node_modules', 'x.js'))
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { Client: OldClient } = await load('@modelcontextprotocol/sdk/client/index.js')
const { StdioClientTransport: OldTransport } = await load('@modelcontextprotocol/sdk/client/stdio.js')
const { Client } = await load('@modelcontextprotocol/client')
const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio')

const work = mkdtempSync(join(tmpdir(), 'strata-judge-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
const environment = { ...process.env, STRATA_AGENT: 'judge' }
delete environment.STRATA_DIR
delete environment.STRATA_STATE_DIR

function place(name) {
  const dir = join(work, name)
  mkdirSync(dir)
  execFileSync(strata, ['init', '--name', 'judge', dir], { env: environment, stdio: 'pipe' })
  return dir
}

const info = { name: 'judge', version: '1' }

async function connect(kind, args) {
  const spec = { command: strata, args: ['mcp', ...args], env: environment, stderr: 'pipe' }
  const client = kind === 'sdk-1'
    ? new OldClient(info)
    : new Client(info, { versionNegotiation: { mode: kind } })
  await client.connect(kind === 'sdk-1' ? new OldTransport(spec) : new StdioClientTransport(spec))
  return client
}

// What every client has to find, whatever revision it speaks.
async function look(client, tools) {
  const list = (await client.listTools()).tools
  assert.deepEqual(list.map((t) => t.name), tools)
  for (const tool of list) {
    assert.match(tool.name, /^[A-Za-z0-9_.-]+$/)
    assert.ok(tool.description.length > 10, tool.name)
    for (const hint of ['readOnlyHint', 'destructiveHint', 'idempotentHint', 'openWorldHint'])
      assert.equal(typeof tool.annotations[hint], 'boolean', `${tool.name} ${hint}`)
    assert.equal(tool.inputSchema.type, 'object')
    assert.equal(tool.outputSchema.type, 'object')
  }
}

const memoryTools = ['create_entities', 'create_relations', 'add_observations', 'delete_entities',
  'delete_observations', 'delete_relations', 'read_graph', 'search_nodes', 'open_nodes']

const mainTools = ['prime', 'add', 'next', 'update', 'fact_set', 'fact_search', 'message', 'once_begin',
  'once_report', 'reserve']

const kinds = ['sdk-1', 'legacy', 'auto', { pin: '2026-07-28' }]

async function memory(kind) {
  const dir = place(`memory-${JSON.stringify(kind).replace(/\W/g, '')}`)
  const client = await connect(kind, ['--memory', '--dir', dir])
  await look(client, memoryTools)
  const made = await client.callTool({
    name: 'create_entities',
    arguments: { entities: [{ name: 'ann', entityType: 'person', observations: ['likes tea'] }] },
  })
  assert.deepEqual(made.structuredContent.entities[0].observations, ['likes tea'])
  assert.deepEqual(JSON.parse(made.content[0].text), made.structuredContent.entities)
  const wrong = await client.callTool({ name: 'create_entities', arguments: { entities: 1 } })
  assert.equal(wrong.isError, true)
  await assert.rejects(client.callTool({ name: 'none', arguments: {} }), /Unknown tool/)
  const resource = await client.readResource({ uri: 'memory://knowledge-graph' })
  assert.equal(JSON.parse(resource.contents[0].text).entities.length, 1)
  await client.close()
}

for (const kind of kinds) {
  await memory(kind)
  console.log(`ok: the memory server for the SDK client: ${JSON.stringify(kind)}`)
}

// The tools of agents that work together. The clients check each result against its output schema.
async function main(kind) {
  const dir = place(`main-${JSON.stringify(kind).replace(/\W/g, '')}`)
  const client = await connect(kind, ['--dir', dir])
  await look(client, mainTools)
  const call = (name, args) => client.callTool({ name, arguments: args })
  assert.match((await call('prime', {})).structuredContent.answer, /you are judge/)
  assert.match((await call('fact_set', { entity: 'api', attribute: 'port', value: '1' })).content[0].text, /api port = 1/)
  assert.equal((await call('fact_search', { entity: 'api' })).structuredContent.count, 1)
  const { id } = (await call('add', { title: 'build' })).structuredContent
  assert.equal((await call('next', {})).structuredContent.id, id)
  assert.match((await call('update', { id, action: 'done', text: 'built' })).structuredContent.answer, /done/)
  assert.match((await call('next', { wait_ms: 100 })).structuredContent.answer, /nothing ready/)
  assert.equal((await call('once_begin', { key: 'k', what: 'mail' })).structuredContent.go, true)
  assert.match((await call('once_report', { key: 'k', outcome: 'done' })).structuredContent.answer, /done/)
  assert.match((await call('reserve', { path: 'a.c' })).structuredContent.answer, /yours/)
  assert.equal((await client.listResources()).resources.length, 3)
  assert.equal((await client.listResourceTemplates()).resourceTemplates.length, 2)
  assert.match((await client.readResource({ uri: 'strata://entity/api' })).contents[0].text, /port = 1/)
  await client.close()
}

for (const kind of kinds) {
  await main(kind)
  console.log(`ok: the main server for the SDK client: ${JSON.stringify(kind)}`)
}

// --- the Inspector -------------------------------------------------------------------------------

function inspect(era, args, ...more) {
  const config = join(work, `${era}.json`)
  writeFileSync(config, JSON.stringify({
    mcpServers: { strata: { command: strata, args: ['mcp', ...args], env: environment, protocolEra: era } },
  }))
  const launcher = require.resolve('@modelcontextprotocol/inspector/package.json')
    .replace('package.json', 'clients/launcher/build/index.js')
  const out = execFileSync(process.execPath, [launcher, '--cli', '--config', config, '--server', 'strata',
    '--format', 'json', ...more], { env: { ...environment, HOME: work, MCP_INSPECTOR_SECRET_STORE: 'memory' }, stdio: ['ignore', 'pipe', 'inherit'] })
  return JSON.parse(out)
}

const namesIn = (answer) => (answer.tools ?? answer.result.tools).map((t) => t.name)

for (const era of ['legacy', 'auto', 'modern']) {
  const dir = place(`inspector-${era}`)
  assert.deepEqual(namesIn(inspect(era, ['--dir', dir], '--strict', '--method', 'tools/list')), mainTools)
  console.log(`ok: the main server for the Inspector, ${era}`)
}

// A process of Node for each question is dear: what does not depend on the mode is asked once.
const dir = place('inspector')
assert.deepEqual(namesIn(inspect('auto', ['--memory', '--dir', dir], '--strict', '--method', 'tools/list')), memoryTools)
const called = inspect('auto', ['--dir', dir], '--method', 'tools/call', '--tool-name', 'fact_set',
  '--tool-arg', 'entity=api', '--tool-arg', 'attribute=port', '--tool-arg', 'value=x')
assert.match(JSON.stringify(called), /api port = x/)
console.log('ok: the memory server, and a call, for the Inspector')
