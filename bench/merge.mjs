// merge.mjs - the same merge as `bench-state merge`, in memory, by two CRDT libraries: two replicas
// write RECORDS values each over the same KEYS, apart from each other; then one takes in the other's
// changes. Prints the library's name, its version and the median milliseconds of RUNS merges.
//
//   node merge.mjs yjs|loro MODULES RECORDS KEYS RUNS
//
// MODULES is a directory with node_modules in it. "-each": the changes come one by one, as they
// would over a network; without it as one update, as small as the library can make it.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const [, , name, modules, records, keys, runs] = process.argv;
const load = createRequire(modules + '/x.js');
const version = (module) =>
  JSON.parse(readFileSync(`${modules}/node_modules/${module}/package.json`)).version;
const value = (n) => `revision ${n} was deployed by the night shift`;
const key = (n) => 'service-' + String((n * 2654435761) % Number(keys)).padStart(7, '0');
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

function yjs(each) {
  const Y = load('yjs');
  const a = new Y.Doc(), b = new Y.Doc(), updates = [];
  b.on('update', (u) => updates.push(u));
  for (let i = 0; i < records; i++) {
    a.getMap('facts').set(key(i), value(i));
    b.getMap('facts').set(key(i), value(i + Number(records)));
  }
  const all = each ? updates : [Y.encodeStateAsUpdate(b)];
  const start = process.hrtime.bigint();
  for (const u of all) Y.applyUpdate(a, u);
  const end = process.hrtime.bigint();
  if (a.getMap('facts').size !== Number(keys)) throw new Error('not merged');
  return Number(end - start) / 1e6;
}

function loro(each) {
  const { LoroDoc } = load('loro-crdt');
  const a = new LoroDoc(), b = new LoroDoc(), updates = [];
  a.setPeerId('1');
  b.setPeerId('2');
  for (let i = 0; i < records; i++) {
    a.getMap('facts').set(key(i), value(i));
    a.commit();
    const from = each ? b.version() : null;
    b.getMap('facts').set(key(i), value(i + Number(records)));
    b.commit();
    if (each) updates.push(b.export({ mode: 'update', from }));
  }
  const all = each ? updates : [b.export({ mode: 'update' })];
  const start = process.hrtime.bigint();
  for (const u of all) a.import(u);
  const end = process.hrtime.bigint();
  if (a.getMap('facts').size !== Number(keys)) throw new Error('not merged');
  return Number(end - start) / 1e6;
}

const kinds = { yjs: [yjs, false, 'yjs'], 'yjs-each': [yjs, true, 'yjs'],
                loro: [loro, false, 'loro-crdt'], 'loro-each': [loro, true, 'loro-crdt'] };
const [merge, each, module] = kinds[name];
const times = [];
for (let i = 0; i < Number(runs); i++) times.push(merge(each));
console.log(`${module} ${version(module)} ${median(times).toFixed(1)}`);
