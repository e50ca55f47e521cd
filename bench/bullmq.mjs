// bullmq.mjs - what bench-tasks does, done by BullMQ: jobs added, or taken and finished, a second.
//
//   node bullmq.mjs add|next CLIENTS MS SOCKET MODULES [JOBS [PROCESSES]]
//
// Each client has its own queue or worker. All are in one process, as BullMQ is used, or in so many as PROCESSES
// says, as agents are. Finishing a job gives a worker its next one in the same step. SOCKET: of a Redis that keeps
// nothing else (it is emptied).
import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const args = process.argv.slice(2);
const [kind, clients, ms, socket, modules, jobs = '20000', processes = '1'] = args;
const { Queue, Worker } = createRequire(`${modules}/`)('bullmq');
const connection = { path: socket, maxRetriesPerRequest: null };
const list = (n) => [...Array(Number(n)).keys()];
const name = 'bench';
const data = { title: 'build the frontend with the new interface' };
const sleep = (n) => new Promise((done) => setTimeout(done, n));
const message = (from) => new Promise((done) => from.once('message', done));

async function fill() {
    const first = new Queue(name, { connection });
    await first.obliterate({ force: true });
    for (let left = kind === 'next' ? Number(jobs) : 0; left > 0; left -= 1000)
        await first.addBulk(list(Math.min(left, 1000)).map(() => ({ name: 'task', data })));
}

// Each: how many a second, in `ms` from when `begin` has come to pass.
async function add(begin) {
    const queues = list(clients).map(() => new Queue(name, { connection }));
    await Promise.all(queues.map((queue) => queue.waitUntilReady()));
    await begin();
    let count = 0;
    let over = false;
    const start = performance.now();
    const all = queues.map(async (queue) => {
        while (!over) {
            await queue.add('task', data);
            if (!over) count++;
        }
    });
    await sleep(Number(ms));
    over = true;
    const spent = performance.now() - start;
    await Promise.all(all);
    return count * 1000 / spent;
}

async function next(begin) {
    const workers = list(clients).map(
        () => new Worker(name, async () => 'ok', { connection, concurrency: 1, autorun: false }));
    await Promise.all(workers.map((worker) => worker.waitUntilReady()));
    let count = 0;
    for (const worker of workers) worker.on('completed', () => count++);
    await begin();
    const start = performance.now();
    for (const worker of workers) worker.run();
    await sleep(Number(ms));
    return count * 1000 / (performance.now() - start);
}

const rate = kind === 'add' ? add : next;

// Each child says when it is ready, begins when all are, and says its rate.
async function shared() {
    const share = [kind, String(clients / processes), ms, socket, modules];
    const children = list(processes).map(() => fork(fileURLToPath(import.meta.url), share));
    await Promise.all(children.map(message));
    const rates = children.map(message);
    for (const child of children) child.send('begin');
    return (await Promise.all(rates)).reduce((sum, one) => sum + one, 0);
}

if (process.send) {
    const all = await rate(async () => {
        process.send('ready');
        await message(process);
    });
    process.send(all, () => process.exit(0));
} else {
    await fill();
    console.log(Math.round(Number(processes) > 1 ? await shared() : await rate(async () => {})));
    process.exit(0);
}
