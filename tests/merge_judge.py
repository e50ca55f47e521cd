#!/usr/bin/env python3
"""merge_judge.py - judges merges of `strata merge-driver` without any of its code.

  merge_judge.py STRATA DIRECTORY      all NN.{base,ours,theirs}.jsonl.gz of the directory
  merge_judge.py STRATA --random N     N random merges, seed in MERGE_SEED
  merge_judge.py STRATA --markdown DIRECTORY    all NN.{base,ours,theirs}.md of the directory

Compares base, ours, theirs and the result record by record and field by field: lost additions, lost
updates, deleted records that are back, ids twice; prints what was listed. Of Markdown: is it Git's result
where Git merges cleanly, and else, has it every line that a side added? Exit status 1 for any loss.
"""
import collections
import glob
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import datetime


def records(data):
    """id -> [record]; lines without id are under the line itself."""
    out = collections.OrderedDict()
    for line in data.split(b"\n"):
        line = line.rstrip(b"\r")
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            key = record.get("id") if isinstance(record, dict) else None
        except ValueError:
            record, key = None, None
        key = ("id", json.dumps(key)) if key is not None else ("line", line)
        out.setdefault(key, []).append(record if key[0] == "id" else line)
    return out


def instant(text):
    try:
        t = text[:-1] + "+00:00" if text.endswith("Z") else text
        head, zone = t[:-6], t[-6:]
        whole, _, part = head.partition(".")
        base = datetime.fromisoformat(whole + zone).timestamp()
        return (base, int((part + "0" * 9)[:9]))
    except (ValueError, AttributeError, TypeError):
        return None


def freeze(value):
    return json.dumps(value, sort_keys=True)


ABSENT = object()


class Judge:
    def __init__(self):
        self.losses = collections.Counter()
        self.examples = []
        self.listed = 0
        self.kinds = collections.Counter()
        self.marks_only = 0  # kept, and changed in nothing but its time and its hash
        self.differences = 0

    def lose(self, what, *where):
        self.losses[what] += 1
        if len(self.examples) < 10:
            self.examples.append((what,) + where)

    def field(self, key, name, b, o, t, r, listed):
        same = lambda x, y: (x is ABSENT) == (y is ABSENT) and (x is ABSENT or freeze(x) == freeze(y))
        if same(o, t):
            wanted = o
        elif same(o, b):
            wanted = t
        elif same(t, b):
            wanted = o
        else:
            self.differences += 1
            self.both(key, name, b, o, t, r, listed)
            return
        if not same(wanted, r):
            self.lose("update", key, name, wanted, r)

    def both(self, key, name, b, o, t, r, listed):
        if name.endswith("_at") and instant(o) and instant(t):
            if instant(r) != max(instant(o), instant(t)):
                self.lose("update", key, name, "not the later time")
        elif isinstance(o, list) and isinstance(t, list):
            old = {freeze(x) for x in b} if isinstance(b, list) else set()
            o, t, r = ({freeze(x) for x in v} for v in (o, t, r))
            if r != ((o | t) - old) | (o & t & old):
                self.lose("update", key, name, "list")
        elif name == "content_hash":
            if r not in (o, t):
                self.lose("update", key, name, "hash")
        else:
            values = {freeze(v) for v in (o, t) if v is not ABSENT}
            have = {freeze(v) for v in listed.get((key[1], name), [])}
            if r is not ABSENT:
                have.add(freeze(r))
            if not values <= have:
                self.lose("update", key, name, o, t, r)

    def record(self, key, b, o, t, r, listed, kept):
        names = dict.fromkeys(list(o) + list(t) + list(r))
        for name in names:
            get = lambda x: x.get(name, ABSENT) if x is not None else ABSENT
            self.field(key, name, get(b), get(o), get(t), get(r), listed)

    def merge(self, base, ours, theirs, result, report):
        b, o, t, r = (records(x) for x in (base, ours, theirs, result))
        listed, kept = collections.defaultdict(list), {}
        for n in report["listed"]:
            self.listed += 1
            self.kinds[n["what"]] += 1
            if n["what"] == "field":
                listed[(json.dumps(n["id"]), n["field"])] += [n["shown"], n["other"]]
            if n["what"] == "kept":
                kept[json.dumps(n["id"])] = n["fields"]
                self.marks_only += set(n["fields"]) <= {"updated_at", "content_hash"}
        for key in list(dict.fromkeys(list(b) + list(o) + list(t) + list(r))):
            lists = [x.get(key, []) for x in (b, o, t, r)]
            count = [len(x) for x in lists]
            if key[0] == "line" or max(count[1:3]) > 1:
                self.several(key, lists)
                continue
            one = [x[0] if x else None for x in lists]
            if count[3] > 1:
                self.lose("duplicate", key)
            if one[1] is not None and one[2] is not None:
                if one[3] is None:
                    self.lose("record", key)
                else:
                    self.record(key, *one, listed, kept)
            elif one[1] is None and one[2] is None:
                if one[3] is not None:
                    self.lose("resurrected", key)
            else:
                there = one[1] if one[1] is not None else one[2]
                if one[0] is None or freeze(one[0]) != freeze(there):
                    if one[3] is None:
                        self.lose("addition" if one[0] is None else "update", key)
                    elif freeze(one[3]) != freeze(there):
                        self.lose("update", key)
                    if one[0] is not None:
                        changed = {f for f in {**one[0], **there}
                                   if freeze(one[0].get(f, "\0")) != freeze(there.get(f, "\0"))}
                        if set(kept.get(key[1], ())) != changed:
                            self.lose("not listed", key, changed)
                elif one[3] is not None:
                    self.lose("resurrected", key)

    def several(self, key, lists):
        """Lines known by their bytes: each as often as a merge of the numbers says."""
        sets = [collections.Counter(x if key[0] == "line" else freeze(x) for x in l) for l in lists]
        for x in set().union(*sets):
            b, o, t, r = (s[x] for s in sets)
            wanted = t if o == b else o if t == b else max(o, t)
            if r < wanted:
                self.lose("line", key, x)
            elif r > wanted:
                self.lose("resurrected", key, x)


def files_of(d, **texts):
    names = []
    for name, data in texts.items():
        names.append(os.path.join(d, name))
        with open(names[-1], "wb") as f:
            f.write(data)
    return names


def driver(strata, base, ours, theirs, path="x.jsonl"):
    with tempfile.TemporaryDirectory() as d:
        names = files_of(d, base=base, ours=ours, theirs=theirs)
        p = subprocess.run([strata, "--json", "merge-driver"] + names + ["7", path],
                           stderr=subprocess.PIPE, cwd=d)
        if p.returncode != 0:
            sys.exit("merge-driver: exit %d: %s" % (p.returncode, p.stderr.decode()))
        with open(names[1], "rb") as f:
            return f.read(), json.loads(p.stderr)["data"]


def git_merges(base, ours, theirs):
    """What git makes of it; None: a conflict."""
    with tempfile.TemporaryDirectory() as d:
        files_of(d, base=base, ours=ours, theirs=theirs)
        p = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=d,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return p.stdout if p.returncode == 0 else None


def markdown(strata, directory):
    judge, clean, kept = Judge(), 0, 0
    for path in sorted(glob.glob(os.path.join(directory, "*.base.md"))):
        texts = [open(path.replace(".base.", ".%s." % s), "rb").read() for s in ("base", "ours", "theirs")]
        result, _ = driver(strata, *texts, path="x.md")
        wanted = git_merges(*texts)
        if wanted is not None:
            clean += 1
            if result != wanted:
                judge.lose("not as git", path)
            continue
        kept += 1
        base, ours, theirs, got = (collections.Counter(t.split(b"\n")) for t in texts + [result])
        for side, other in ((ours, theirs), (theirs, ours)):
            added = side - base
            for line in added:
                if got[line] < side[line] - (base - other)[line]:
                    judge.lose("line", path, line)
    print("%d as Git, %d with both versions" % (clean, kept))
    if clean + kept <= 10:
        sys.exit("too few merges in " + directory)
    return judge


def line_of(record):
    return json.dumps(record, separators=(",", ":")).encode()


def vary(rng, lines, mark):
    out = []
    for record in lines:
        what = rng.randrange(10)
        if what == 0:
            continue
        record = json.loads(json.dumps(record))
        if what in (1, 2):
            name = rng.choice(["title", "status", "labels", "closed_at", "new" + mark, "content_hash"])
            if name == "labels":
                labels = record.setdefault("labels", [])
                if labels and rng.randrange(2):
                    labels.pop(rng.randrange(len(labels)))
                labels.append(mark + str(rng.randrange(9)))
            elif name.endswith("_at"):
                record[name] = "2026-01-%02dT00:00:00%s" % (rng.randrange(1, 28), rng.choice(["Z", "+05:00", ".5-08:00"]))
            elif rng.randrange(4) == 0:
                record.pop(name, None)
            else:
                record[name] = mark + str(rng.randrange(3))
            record["updated_at"] = "2026-02-%02dT00:00:00Z" % rng.randrange(1, 28)
        out.append(record)
        if rng.randrange(8) == 0:
            out.append({"id": rng.choice([mark, "both"]) + str(rng.randrange(10 ** 6)), "title": mark})
    if rng.randrange(2):
        out.append({"id": "same", "title": mark if rng.randrange(2) else "same"})
    return out


def one_id_once(lines):
    return list({r["id"]: r for r in lines}.values())


def random_merges(strata, n):
    seed = int(os.environ.get("MERGE_SEED", "1"))
    rng, judge = random.Random(seed), Judge()
    for _ in range(n):
        base = [{"id": "b%d" % i, "title": "t", "status": "open", "labels": ["x", "y"],
                 "updated_at": "2026-01-01T00:00:00Z"} for i in range(rng.randrange(30))]
        sides = [base] + [one_id_once(vary(rng, base, m)) for m in "ot"]
        end = rng.choice([b"\n", b"\n", b"\r\n"])
        texts = [end.join(line_of(r) for r in s) + (end if s and rng.randrange(3) else b"") for s in sides]
        before = sum(judge.losses.values())
        result, report = driver(strata, *texts)
        judge.merge(*texts, result, report)
        other, report = driver(strata, texts[0], texts[2], texts[1])
        judge.merge(texts[0], texts[2], texts[1], other, report)
        for a, b, c, wanted in ((0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 1)):
            if driver(strata, texts[a], texts[b], texts[c])[0] != texts[wanted]:
                judge.lose("not the only change")
        if sum(judge.losses.values()) > before:
            print("seed", seed, *[t.decode() for t in texts], result.decode(), sep="\n----\n")
            break
    return judge


def main():
    strata = os.path.abspath(sys.argv[1])
    if sys.argv[2] == "--random":
        judge = random_merges(strata, int(sys.argv[3]))
    elif sys.argv[2] == "--markdown":
        judge = markdown(strata, sys.argv[3])
    else:
        judge = Judge()
        paths = sorted(glob.glob(os.path.join(sys.argv[2], "*.base.jsonl.gz")))
        if not paths:
            sys.exit("no merges in " + sys.argv[2])
        for path in paths:
            texts = [gzip.open(path.replace(".base.", ".%s." % s)).read() for s in ("base", "ours", "theirs")]
            result, report = driver(strata, *texts)
            judge.merge(*texts, result, report)
    if judge.kinds:
        print("fields that both changed differently: %d; listed: %d (%s)" % (
            judge.differences, judge.listed, ", ".join("%s %d" % k for k in sorted(judge.kinds.items()))))
        print("kept, and changed in time and hash only: %d" % judge.marks_only)
    print("losses: %d" % sum(judge.losses.values()), dict(judge.losses))
    for e in judge.examples:
        print("  ", *(str(x)[:200] for x in e))
    sys.exit(1 if judge.losses else 0)


main()
