// bullmq.mjs - what bench-tasks does, done by BullMQ: jobs added, or taken and finished, a second.
//
//   node bullmq.mjs add|next CLIENTS MS SOCKET MODULES [JOBS]
//
// All clients are in this process, as BullMQ is used; each has its own queue or worker. Finishing a job
// gives a worker its next one in the same step. SOCKET: of a Redis that keeps nothing else (it is emptied).
import { createRequire } from 'node:module';

const [, , kind, clients, ms, socket, modules, jobs = '20000'] = process.argv;
const { Queue, Worker } = createRequire(`${modules}/`)('bullmq');
const connection = { path: socket, maxRetriesPerRequest: null };
const list = (n) => [...Array(Number(n)).keys()];
const name = 'bench';
const data = { title: 'build the frontend with the new interface' };
const sleep = (n) => new Promise((done) => setTimeout(done, n));

let count = 0;
const first = new Queue(name, { connection });
await first.obliterate({ force: true });

async function add() {
    const queues = list(clients).map(() => new Queue(name, { connection }));
    await Promise.all(queues.map((queue) => queue.waitUntilReady()));
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
    return spent;
}

async function next() {
    for (let left = Number(jobs); left > 0; left -= 1000)
        await first.addBulk(list(Math.min(left, 1000)).map(() => ({ name: 'task', data })));
    const workers = list(clients).map(
        () => new Worker(name, async () => 'ok', { connection, concurrency: 1, autorun: false }));
    await Promise.all(workers.map((worker) => worker.waitUntilReady()));
    for (const worker of workers) worker.on('completed', () => count++);
    const start = performance.now();
    for (const worker of workers) worker.run();
    await sleep(Number(ms));
    return performance.now() - start;
}

const spent = await (kind === 'add' ? add() : next());
console.log(Math.round((count * 1000) / spent));
process.exit(0);
