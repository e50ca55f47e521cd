// conformance.mjs - the protocol core before the conformance suite, which speaks HTTP only: this file
// carries what is said between HTTP and a server on pipes, and looks at what the suite found.
//   node conformance.mjs MODULES FIXTURE REVISION
// FIXTURE (fixture.c) is started for every session (2026-07-28: one for all). Every check has to
// succeed that is not about something which Strata does not serve; what is said here not to be served
// has to fail.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [modules, fixture, revision] = process.argv.slice(2)
const suite = join(modules, 'node_modules/@modelcontextprotocol/conformance/dist/index.js')
const out = mkdtempSync(join(tmpdir(), 'strata-conformance-'))
process.on('exit', () => rmSync(out, { recursive: true, force: true }))

// Scenarios about what is not served: HTTP itself, prompts, completion, content that is no text, logging,
// questions to the client, tasks of the protocol, schemas that we do not write.
const notServed = /^(dns-rebinding|http-|server-session-lifecycle|server-sse|prompts-|completion-|tools-call-(image|audio|embedded|mixed|with-logging|sampling|elicitation)|resources-read-binary|logging-|elicitation-|input-required-result|tasks-|json-schema-2020-12|sep-2640)/
// Single checks of the other scenarios.
const failing = {
  '2025-11-25': [],
  '2026-07-28': ['sep-2575-http-server-header-mismatch-400', 'sep-2575-server-rejects-undeclared-capability',
    'sep-2575-missing-capability-http-400', 'sep-2575-http-server-no-independent-requests-on-stream',
    'sep-2575-server-no-log-without-loglevel', 'sep-2549-prompts-list-caching-hints'],
}[revision]
// What has to be among them.
const scenarios = {
  '2025-11-25': ['server-initialize', 'ping', 'tools-list', 'tools-call-simple-text', 'tools-call-error',
    'tools-call-with-progress', 'resources-list', 'resources-read-text', 'resources-templates-read',
    'resources-subscribe', 'resources-unsubscribe'],
  '2026-07-28': ['server-stateless', 'tools-list', 'tools-call-simple-text', 'tools-call-error',
    'tools-call-with-progress', 'resources-list', 'resources-read-text', 'resources-templates-read',
    'sep-2164-resource-not-found', 'caching'],
}[revision]

const STATELESS = '2026-07-28'
const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId'
const statusOf = { [-32601]: 404, [-32602]: 400, [-32022]: 400, [-32700]: 400, [-32600]: 400 }

class Pipe {
  constructor() {
    this.child = spawn(fixture, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.open = new Map() // our id: the exchange that waits
    this.next = 1
    let rest = ''
    this.child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()
      for (const line of lines) this.take(JSON.parse(line))
    })
  }

  take(message) {
    if (message.id !== undefined && message.id !== null) {
      const exchange = this.open.get(message.id)
      this.open.delete(message.id)
      exchange?.end({ ...message, id: exchange.id })
      return
    }
    const of = message.params?._meta?.[SUBSCRIPTION]
    for (const [ours, exchange] of this.open) {
      if (of !== undefined && of !== ours) continue
      if (of !== undefined) message.params._meta[SUBSCRIPTION] = exchange.id
      exchange.tell(message)
    }
  }

  send(message) {
    this.child.stdin.write(JSON.stringify(message) + '\n')
  }

  request(message, exchange) {
    const ours = this.next++
    this.open.set(ours, exchange)
    this.send({ ...message, id: ours })
    return ours
  }

  notify(message) {
    const asked = message.params?.requestId
    for (const [ours, exchange] of this.open)
      if (exchange.id === asked && asked !== undefined) message.params.requestId = ours
    this.send(message)
  }
}

const sessions = new Map()
let shared

function pipeOf(message, headers) {
  if (headers['mcp-protocol-version'] === STATELESS || message.params?._meta?.['io.modelcontextprotocol/protocolVersion'])
    return [(shared ??= new Pipe())]
  let name = headers['mcp-session-id']
  if (!sessions.has(name)) sessions.set(name = randomUUID(), new Pipe())
  return [sessions.get(name), name]
}

const server = createServer((request, response) => {
  if (request.method === 'DELETE') {
    sessions.get(request.headers['mcp-session-id'])?.child.stdin.end()
    sessions.delete(request.headers['mcp-session-id'])
  }
  if (request.method !== 'POST') return response.writeHead(request.method === 'DELETE' ? 200 : 405).end()
  let body = ''
  request.setEncoding('utf8').on('data', (text) => { body += text }).on('end', () => {
    const message = JSON.parse(body)
    const [pipe, session] = pipeOf(message, request.headers)
    if (session !== undefined) response.setHeader('mcp-session-id', session)
    if (message.id === undefined) {
      pipe.notify(message)
      return response.writeHead(202).end()
    }
    const streaming = () => {
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' })
    }
    const ours = pipe.request(message, {
      id: message.id,
      tell(x) {
        streaming()
        response.write(`data: ${JSON.stringify(x)}\n\n`)
      },
      end(x) {
        if (response.headersSent) return response.end(`data: ${JSON.stringify(x)}\n\n`)
        const status = session === undefined && x.error ? statusOf[x.error.code] ?? 200 : 200
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(x))
      },
    })
    response.on('close', () => {
      if (pipe.open.delete(ours)) pipe.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: ours } })
    })
  })
})

function judge() {
  const seen = new Set()
  const failed = new Set()
  let succeeded = 0
  for (const name of readdirSync(out)) {
    const scenario = name.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '')
    if (notServed.test(scenario)) continue
    seen.add(scenario)
    for (const check of JSON.parse(readFileSync(join(out, name, 'checks.json'), 'utf8'))) {
      if (check.status === 'SUCCESS') succeeded++
      if (check.status !== 'FAILURE' && check.status !== 'WARNING') continue
      failed.add(check.id)
      assert.ok(failing.includes(check.id), `${scenario}: ${check.id}: ${check.errorMessage}`)
    }
  }
  assert.deepEqual([...failed].sort(), [...failing].sort())
  for (const scenario of scenarios) assert.ok(seen.has(scenario), `${scenario} was not run`)
  console.log(`ok: conformance with ${revision}: ${succeeded} checks of ${seen.size} scenarios`)
}

server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}/mcp`
  const run = spawn(process.execPath, [suite, 'server', '--url', url, '--requirements', revision, '-o', out],
    { stdio: 'ignore' })
  run.on('exit', () => {
    for (const pipe of [shared, ...sessions.values()]) pipe?.child.kill()
    judge()
    process.exit(0)
  })
})
