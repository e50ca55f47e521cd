#!/usr/bin/env python3
"""soak.py - everything at once, for as long as one likes: two copies of a workspace (one with two work
trees), six agents that write facts, count, append to and edit tracked files and QUEUE.md, add, take and
finish tasks and run once-only operations; now and then one of them is killed with everything that it
started, and a sync is, too. Each agent notes what was acknowledged, in a file that Strata never reads; in
the end it has to be there.

    tests/soak.py [SECONDS [SEED]]      STRATA: the program (build/strata); DIR: where (a temporary one)

No part of `make check`: what it finds depends on chance, and says so with the seed.
"""
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

STRATA = os.path.abspath(os.environ.get("STRATA", "build/strata"))
AGENTS = 6
TREES = ("desk", "desk-branch", "box")  # agent i works in tree i % 3; the first two are one copy
DECIDES = ("desk", "desk-branch")
WAIT = 300


class Workspace:
    def __init__(self, home):
        self.home = home
        self.effects = home + "/effects"

    def path(self, *names):
        return "/".join((self.home,) + names)

    def run(self, tree, *command, env=None):
        return subprocess.run(
            command, cwd=self.path(tree), text=True, capture_output=True, timeout=WAIT, env=env)

    def must(self, tree, *command):
        done = self.run(tree, *command)
        if done.returncode != 0:
            sys.exit(f"soak: {command} in {tree}: {done.stdout}{done.stderr}")
        return done.stdout

    def read(self, tree, name):
        with open(self.path(tree, name), encoding="utf-8") as f:
            return f.read()

    def make(self):
        self.must("", "git", "init", "-q", "--bare", "hub")
        self.must("", "git", "clone", "-q", "hub", "desk")
        for name in ("MEMORY.md", "QUEUE.md", "HEARTBEAT.md"):
            with open(self.path("desk", name), "w", encoding="utf-8") as f:
                f.write("# " + name + "\n")
        git = ("git", "-c", "user.name=soak", "-c", "user.email=soak@localhost")
        self.must("desk", "git", "add", ".")
        self.must("desk", *git, "commit", "-qm", "begin")
        self.must("desk", "git", "push", "-q", "origin", "HEAD")
        self.must("desk", "git", "worktree", "add", "-q", "../desk-branch")
        self.must("", "git", "clone", "-q", "hub", "box")
        for tree in ("desk", "box"):
            self.must(tree, STRATA, "init", "--name", tree)
            self.must(tree, STRATA, "sync", "--yes", "../hub")
        for tree in TREES:
            self.must(tree, STRATA, "track", "MEMORY.md")
            self.must(tree, STRATA, "view", "add", "queue")
            self.must(tree, STRATA, "view", "add", "heartbeat")
        open(self.effects, "w", encoding="utf-8").close()


# --- an agent: a process of its own, killed at any moment ----------------------------------------------


class Agent:
    def __init__(self, workspace, number, seed):
        self.w = workspace
        self.tree = TREES[number % 3]
        self.name = f"agent-{number}"
        self.random = random.Random(seed)
        self.steps = 0
        self.log = open(workspace.path(f"noted-{number}"), "a", encoding="utf-8")

    def strata(self, *args, accept=(0,)):
        done = self.w.run(self.tree, STRATA, *args, "--agent", self.name)
        if done.returncode not in accept:
            self.note("refused", list(args), done.returncode, done.stderr)
        return done

    def note(self, *what):
        self.log.write(json.dumps(what) + "\n")
        self.log.flush()

    def noted(self, kind, text, *args):
        if self.strata(*args).returncode == 0:
            self.note(kind, text)

    def task(self, text):
        done = self.strata("next", "--json", accept=(0, 5) if self.tree in DECIDES else (5, 6))
        if done.returncode != 0:
            return
        number = str(json.loads(done.stdout)["data"]["seq"])
        self.noted("checkpoint", text, "checkpoint", number, "--data", "reached " + text)
        if self.strata("done", number, "--result", "made " + text).returncode == 0:
            self.note("done", number)

    def operation(self, text):
        key = f"key-{self.random.randrange(200)}"
        effect = f"echo {key} >>{self.w.effects}; echo did {key}"
        # 113: in doubt, 116: not here
        done = self.strata("once", "--key", key, "--", "sh", "-c", effect, accept=(0, 113, 116))
        if done.returncode == 0 and done.stdout != f"did {key}\n":
            self.note("wrong", key, done.stdout)

    def edit(self, name, line, before=None):
        """As an editor does it: read, think, write."""
        old = self.w.read(self.tree, name)
        time.sleep(0.01)
        at = old.find(before) if before else len(old)
        if at >= 0:
            with open(self.w.path(self.tree, name), "w", encoding="utf-8") as f:
                f.write(old[:at] + line + "\n" + old[at:])

    def step(self):
        self.steps += 1
        text = f"{self.name}-{os.getpid()}-{self.steps}"
        kind = self.random.random()
        if kind < 0.25:
            entity, attribute = f"e{self.random.randrange(20)}", f"a{self.random.randrange(3)}"
            self.noted("fact", text, "fact", "set", entity, attribute, text)
        elif kind < 0.35:
            self.noted("count", text, "count", "steps", "+1")
        elif kind < 0.45:
            self.noted("line", text, "append", "MEMORY.md", "- " + text)
        elif kind < 0.5:
            self.strata("beat", "at " + text)
        elif kind < 0.6:
            self.noted("task", text, "add", "new " + text)
        elif kind < 0.75:
            self.operation(text)
        elif kind < 0.95:
            self.task(text)
        elif kind < 0.975:
            self.edit("MEMORY.md", "- edited " + text)
        else:
            self.edit("QUEUE.md", "- [ ] queued " + text, before="<!-- strata:end")


# --- the run -----------------------------------------------------------------------------------------


class Soak:
    def __init__(self, home, seed):
        self.w = Workspace(home)
        self.random = random.Random(seed)
        self.agents = {}
        self.kills = self.syncs = self.killed_syncs = 0
        self.faults = []

    def start(self, number):
        child = os.fork()
        if child == 0:
            os.setsid()
            agent = Agent(self.w, number, self.random.random())
            while True:
                agent.step()
        self.random.random()
        self.agents[number] = child

    def kill(self, number):
        child = self.agents.pop(number)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            self.faults.append(f"agent {number} ended by itself")

    def sync(self):
        tree = self.random.choice(("desk", "box"))
        p = subprocess.Popen([STRATA, "sync", "--yes", "../hub"], cwd=self.w.path(tree), text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.5)
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
                self.killed_syncs += 1
            p.communicate()
            return
        _, error = p.communicate(timeout=WAIT)
        self.syncs += 1
        if p.returncode != 0:
            self.faults.append(f"sync in {tree}: {error}")

    def run(self, seconds):
        for number in range(AGENTS):
            self.start(number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.random.random() * 2)
            if self.random.random() < 0.6:
                number = self.random.randrange(AGENTS)
                self.kill(number)
                self.kills += 1
                self.start(number)
            else:
                self.sync()
        for number in list(self.agents):
            self.kill(number)

    # --- what has to hold ---

    def settle(self):
        """Syncs until both copies show the same, which has to come within a few rounds."""
        for _ in range(8):
            digests = set()
            for tree in ("desk", "box"):
                self.w.must(tree, STRATA, "sync", "--yes", "../hub")
            for tree in TREES:
                status = json.loads(self.w.must(tree, STRATA, "status", "--json"))["data"]
                digests.add(status["digest"])
            if len(digests) == 1:
                return
        self.faults.append("the copies do not come to show the same")

    def notes(self):
        for number in range(AGENTS):
            with open(self.w.path(f"noted-{number}"), encoding="utf-8") as f:
                for line in f:
                    if line.endswith("\n"):
                        yield json.loads(line)

    def check(self):
        log = self.w.must("desk", STRATA, "log", "--limit", "0", "--json")
        files = {tree: self.w.read(tree, "MEMORY.md") for tree in TREES}
        seen, finished, refused = collections.Counter(), collections.Counter(), collections.Counter()
        for kind, what, *rest in self.notes():
            seen[kind] += 1
            if kind in ("fact", "task", "checkpoint", "line") and what not in log:
                self.faults.append(f"lost: {kind} {what}")
            elif kind == "done":
                finished[what] += 1
            elif kind == "wrong":
                self.faults.append(f"replay of {what}: {rest[0]}")
            elif kind == "refused":
                refused[f"{what[0]}: exit {rest[0]}: {rest[1][:200]}"] += 1
        self.faults += [f"{n} was finished {k} times" for n, k in finished.items() if k > 1]
        with open(self.w.effects, encoding="utf-8") as f:
            effects = collections.Counter(f.read().split())
        self.faults += [f"{key} had {k} effects" for key, k in effects.items() if k > 1]
        for tree, text in files.items():
            lines = collections.Counter(text.splitlines())
            self.faults += [f"{tree}: {k} times {line}" for line, k in lines.items() if k > 1]
        for tree in ("desk", "box"):
            counted = int(self.w.must(tree, STRATA, "count", "steps"))
            if counted < seen["count"]:
                self.faults.append(f"{tree} counts {counted}, {seen['count']} were acknowledged")
            doctor = self.w.run(tree, STRATA, "doctor")
            if doctor.returncode != 0:
                self.faults.append(f"doctor in {tree}: {doctor.stdout}{doctor.stderr}")
        print(f"{self.kills} kills, {self.syncs} syncs, {self.killed_syncs} syncs killed; "
              f"{len(effects)} effects; acknowledged: {dict(seen)}")
        for text, k in refused.most_common(10):
            print(f"refused {k} times: {text.strip()}")


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    home = os.environ.get("DIR") or tempfile.mkdtemp(prefix="strata-soak-")
    os.makedirs(home, exist_ok=True)
    for name in ("STRATA_AGENT", "STRATA_DIR", "STRATA_STATE_DIR"):
        os.environ.pop(name, None)
    soak = Soak(home, seed)
    soak.w.make()
    print(f"soak: {seconds:g} s, seed {seed}, in {home}", flush=True)
    soak.run(seconds)
    soak.settle()
    soak.check()
    for fault in soak.faults[:40]:
        print("FAULT", fault)
    if soak.faults:
        sys.exit(f"soak: {len(soak.faults)} faults with seed {seed}; what was is in {home}")
    shutil.rmtree(home)
    print("soak: nothing lost, nothing twice")


main()
