#!/usr/bin/env python3
"""session.py - `strata mcp` as a process, seen from its client's end of the pipes.

    STRATA=build/strata tests/mcp/session.py [TEST ...]

Eras, tools and their answers, hostile input, clients that leave or stop reading. Needs no network.
"""
import datetime
import fcntl
import glob
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import threading
import time
import unittest

STRATA = os.path.abspath(os.environ["STRATA"])
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Server:
    """One server process; with `line` bytes go as they are."""

    def __init__(self, directory, *args, agent="ann", memory_file=None, program=STRATA):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STRATA_") or k == "STRATA_PASSED"}
        environment["STRATA_AGENT"] = agent
        if memory_file is not None:
            environment["MEMORY_FILE_PATH"] = memory_file
        self.process = subprocess.Popen(
            [program, "mcp", *args], cwd=directory, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.next = 0
        self.rest = b""
        self.early = []

    def line(self, data):
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def send(self, method, params=None, meta=META, ident=None):
        self.next += 1
        ident = self.next if ident is None else ident
        params = dict(params or {})
        if meta is not None:
            params["_meta"] = {**meta, **params.get("_meta", {})}
        self.line(json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}).encode())
        return ident

    def notify(self, method, params):
        self.line(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    def receive(self, timeout=10):
        """The next message; None when the server has closed."""
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("no answer")
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def answer(self, ident, timeout=10):
        """The answer to a request; what comes before is kept in `early`."""
        while True:
            message = self.receive(timeout)
            if message is None or message.get("id") == ident:
                return message
            self.early.append(message)

    def request(self, method, params=None, meta=META, timeout=10):
        return self.answer(self.send(method, params, meta), timeout)

    def tool(self, name, timeout=10, **arguments):
        return self.request("tools/call", {"name": name, "arguments": arguments}, timeout=timeout)["result"]

    def text(self, name, **arguments):
        return self.tool(name, **arguments)["content"][0]["text"]

    def memory(self):
        """What the server has of its own. Kilobytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmData:"))

    def close(self, timeout=10):
        self.process.stdin.close()
        status = self.process.wait(timeout)
        self.process.stdout.close()
        return status


class Session(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        subprocess.run([STRATA, "init", "--name", "desk", self.place.name], check=True,
                       stdout=subprocess.DEVNULL)
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
            for pipe in (server.process.stdin, server.process.stdout):
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def start(self, *args, **options):
        server = Server(self.place.name, *args, **options)
        self.servers.append(server)
        return server

    def cli(self, *args, agent="ann"):
        return subprocess.run([STRATA, *args], cwd=self.place.name, check=True, capture_output=True,
                              text=True, env={**os.environ, "STRATA_AGENT": agent}).stdout

    def error(self, message, code):
        self.assertEqual(message["error"]["code"], code, message)
        return message["error"]

    # --- eras -----------------------------------------------------------------------------------

    def test_the_stateless_revision(self):
        s = self.start()
        result = s.request("server/discover")["result"]
        self.assertEqual(result["supportedVersions"], ["2026-07-28"])
        self.assertEqual(result["resultType"], "complete")
        self.assertIsInstance(result["ttlMs"], int)
        self.assertIn(result["cacheScope"], ("public", "private"))
        self.assertEqual(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "strata")
        for method in ("tools/list", "resources/list", "resources/templates/list"):
            result = s.request(method)["result"]
            self.assertEqual(result["resultType"], "complete")
            self.assertIsInstance(result["ttlMs"], int)
            self.assertIn("cacheScope", result)
        self.assertEqual(s.tool("prime")["resultType"], "complete")
        error = self.error(s.request("tools/list", meta={**META, "io.modelcontextprotocol/protocolVersion": "1900-01-01"}), -32022)
        self.assertEqual(error["data"], {"supported": ["2026-07-28"], "requested": "1900-01-01"})
        self.error(s.request("tools/list", meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}), -32602)
        self.error(s.request("tools/list", meta=None), -32602)
        for method in ("ping", "initialize", "resources/subscribe", "logging/setLevel", "none"):
            self.error(s.request(method), -32601)

    def test_the_revisions_with_a_handshake(self):
        for asked, agreed in (("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"),
                              ("2024-11-05", "2025-11-25"), ("9999-01-01", "2025-11-25")):
            s = self.start()
            self.assertEqual(s.request("ping", meta=None)["result"], {})
            result = s.request("initialize", {"protocolVersion": asked, "capabilities": {},
                                              "clientInfo": {"name": "t", "version": "1"}}, meta=None)["result"]
            self.assertEqual(result["protocolVersion"], agreed)
            self.assertNotIn("resultType", result)
            s.notify("notifications/initialized", {})
            result = s.request("tools/list", meta=None)["result"]
            self.assertNotIn("ttlMs", result)
            self.error(s.request("server/discover", meta=None), -32601)
            self.error(s.request("resources/read", {"uri": "strata://none"}, meta=None), -32002)
            # Both eras in one process.
            self.assertIn("resultType", s.request("tools/list")["result"])
            self.assertEqual(s.close(), 0)

    # --- tools ----------------------------------------------------------------------------------

    def test_tools_are_cheap_and_well_described(self):
        s = self.start()
        s.send("tools/list")
        raw = json.dumps(s.receive()["result"]["tools"], separators=(",", ":"))
        # Four bytes a token: 2,000 tokens.
        self.assertLess(len(raw), 8000)
        tools = json.loads(raw)
        self.assertEqual(raw, json.dumps(s.request("tools/list")["result"]["tools"], separators=(",", ":")))
        for tool in tools:
            self.assertRegex(tool["name"], r"^[A-Za-z0-9_.-]+$")
            self.assertEqual(set(tool["annotations"]), {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"})
            for schema in (tool["inputSchema"], tool["outputSchema"]):
                self.assertEqual(schema["type"], "object")
        self.error(s.request("tools/call", {"name": "none", "arguments": {}}), -32602)
        self.error(s.request("tools/list", {"cursor": "x"}), -32602)

    def test_bad_arguments_are_results(self):
        s = self.start()
        for arguments in ({}, {"entity": 1.5, "attribute": "b", "value": "c"},
                          {"entity": "a", "attribute": "b", "value": "c", "valeu": "d"},
                          {"entity": "a", "attribute": "b", "value": "c", "mode": "put"},
                          {"entity": "", "attribute": "b", "value": "c"},
                          {"entity": "a", "attribute": "b", "value": "x" * 70000},
                          {"entity": "a", "attribute": "b", "value": "nul\u0000"},
                          {"entity": "a", "attribute": "b", "value": "c", "agent": "../ann"}):
            result = s.tool("fact_set", **arguments)
            self.assertTrue(result["isError"], arguments)
            self.assertNotIn("structuredContent", result)
        self.assertIn("valeu", s.text("fact_set", entity="a", attribute="b", value="c", valeu="d"))
        self.assertIn("55000", s.text("next", wait_ms=55001))
        self.assertIn("set, add, remove, unset", s.text("fact_set", entity="a", attribute="b", value="c", mode="put"))
        self.assertEqual(json.loads(self.cli("fact", "list", "--json"))["data"]["facts"], [])

    def test_a_whole_number_may_stand_for_a_text(self):
        s = self.start()
        self.assertEqual(s.text("fact_set", entity="api", attribute="port", value=8080), "api port = 8080")
        first = s.tool("add", title="build")["structuredContent"]["id"]
        s.tool("add", title="deploy", after=[int(first)])
        self.assertEqual(s.tool("next")["structuredContent"]["id"], first)
        self.assertIn("nothing ready", s.text("next", agent="bob"))
        self.assertIn("done", s.text("update", id=int(first), action="done"))

    def test_a_write_over_something_unread_is_told(self):
        s = self.start()
        self.assertEqual(s.text("fact_set", entity="api", attribute="port", value="8080"), "api port = 8080")
        self.assertIn("8080", s.text("fact_search", entity="api", agent="bob"))
        self.assertIn("replaced 8080, ann", s.text("fact_set", entity="api", attribute="port", value="9090"))
        told = s.text("fact_set", entity="api", attribute="port", value="7070", agent="bob")
        self.assertIn("replaced 9090, ann", told)
        self.assertIn("had not read", told)
        # Somebody who never read is blind, not surprised; who has read is not told either.
        self.assertNotIn("had not read", s.text("fact_set", entity="api", attribute="port", value="1", agent="cid"))
        s.text("fact_search", words="port", agent="bob")
        self.assertNotIn("had not read", s.text("fact_set", entity="api", attribute="port", value="2", agent="bob"))
        result = s.tool("fact_set", entity="api", attribute="port", value="3", expect="8080")
        self.assertTrue(result["isError"])
        self.assertIn("api port is 2 now", result["content"][0]["text"])
        structured = s.tool("fact_search", entity="api")["structuredContent"]
        self.assertEqual(structured["count"], 1)
        self.assertIn("api port = 2", structured["answer"])

    def test_a_task_from_add_to_done(self):
        s = self.start()
        first = s.tool("add", title="build")["structuredContent"]["id"]
        second = s.tool("add", title="deploy", after=[first])["structuredContent"]["id"]
        taken = s.tool("next")
        self.assertEqual(taken["structuredContent"]["id"], first)
        nothing = s.tool("next", agent="bob")
        self.assertFalse(nothing["isError"])
        self.assertIn("nothing ready", nothing["content"][0]["text"])
        s.text("update", id=first, action="checkpoint", text="half way")
        self.assertIn("half way", s.text("prime"))
        self.assertTrue(s.tool("update", id=first, action="done", agent="bob")["isError"])
        self.assertIn("done", s.text("update", id=first, action="done", text="built"))
        self.assertEqual(s.tool("next", agent="bob")["structuredContent"]["id"], second)

    def test_what_is_held_is_given_back_when_the_client_closes(self):
        s = self.start()
        s.tool("add", title="build")
        s.tool("next")
        s.text("update", id="1", action="checkpoint", text="half way")
        self.assertIn("is yours", s.text("reserve", path="src/a.c"))
        other = self.start(agent="bob")
        self.assertIn("reserved by ann", other.text("reserve", path="./src/a.c"))
        self.assertEqual(s.close(), 0)
        self.assertIn("is yours", other.text("reserve", path="src/a.c"))
        self.assertIn("half way", other.text("next"))

    def test_a_server_gets_ready_while_its_client_thinks(self):
        s = self.start()
        s.request("tools/list")
        end = time.monotonic() + 10
        while not any(os.path.realpath(f).endswith("/index.db") for f in glob.glob(f"/proc/{s.process.pid}/fd/*")):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        # Nobody is told of an agent that has not called yet.
        self.assertEqual(self.cli("agent", "list", agent="bob"), "")
        s.text("prime")
        self.assertIn("ann", self.cli("agent", "list", agent="bob"))

    def test_the_index_is_brought_up_to_date_while_its_client_thinks(self):
        s = self.start()
        s.tool("fact_set", entity="e", attribute="a", value="0")
        self.cli("fact", "get", "e", "a")
        wal = os.path.join(self.place.name, ".strata", "index.db-wal")
        before = os.stat(wal).st_mtime_ns
        for i in range(80):
            s.tool("fact_set", entity="e", attribute="a", value=str(i))
        end = time.monotonic() + 10
        while os.stat(wal).st_mtime_ns == before:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_a_killed_server_holds_no_task(self):
        s = self.start()
        s.tool("add", title="build")
        s.tool("next")
        s.process.kill()
        s.process.wait()
        self.assertIn("build", self.start(agent="bob").text("next"))

    @unittest.skipUnless("STRATA_MORTAL" in os.environ, "no program with another clock")
    def test_what_is_held_is_renewed_and_its_agent_shows_signs_of_life(self):
        passed = os.environ["STRATA_PASSED"] = os.path.join(self.place.name, "passed")
        self.addCleanup(os.environ.pop, "STRATA_PASSED")
        s = self.start(program=os.environ["STRATA_MORTAL"])
        s.tool("add", title="build")
        self.assertIn("build", s.text("next"))
        self.assertIn("is yours", s.text("reserve", path="src/**"))
        beat = json.loads(self.cli("agent", "list", "--json"))["data"]["agents"][0]["beat_at"]

        # Neither is for longer than ten minutes; asking for the list of tools is no sign of the agent.
        for minutes in range(2, 22, 2):
            with open(passed + ".new", "w", encoding="ascii") as f:
                f.write(str(minutes * 60 + minutes))
            os.replace(passed + ".new", passed)  # an empty file would set the clock back
            for _ in range(2):
                s.request("tools/list")
        commands = json.loads(self.cli("log", "--ops", "--json", "--limit", "0"))["data"]["commands"]
        self.assertEqual([c["key"] for c in commands if c["command"] == "lease-renew"], ["#1"] * 10)
        self.assertEqual(len([c for c in commands if c["command"] == "reserve" and c["token"] != 0]), 10)
        self.assertNotIn("lease-lapse", [c["command"] for c in commands])
        self.assertGreater(json.loads(self.cli("agent", "list", "--json"))["data"]["agents"][0]["beat_at"], beat)

    def test_who_holds_something_is_not_forgotten_for_another(self):
        s = self.start()
        for i in range(32):
            self.assertIn("is yours", s.text("reserve", path=f"src/{i}.c", agent=f"a{i}"))
        refused = s.tool("fact_set", entity="e", attribute="a", value="1", agent="b")
        self.assertTrue(refused["isError"])
        self.assertIn("32 agents of this client hold something", refused["content"][0]["text"])
        self.assertIn("is free", s.text("reserve", path="src/0.c", action="release", agent="a0"))
        self.assertFalse(s.tool("fact_set", entity="e", attribute="a", value="1", agent="b")["isError"])

    def reservations(self):
        return json.loads(self.cli("reserve", "list", "--json"))["data"]

    def test_reservations_are_those_of_the_command_line(self):
        token = self.cli("reserve", "src/**", "--reason", "renaming", agent="bob").strip()
        s = self.start()
        for path in ("src/a.c", "./src/deep/down.c", self.place.name + "/src/a.c", "*/a.c"):
            told = s.text("reserve", path=path)
            self.assertIn("src/** is reserved by bob: renaming", told)
            self.assertNotIn("is yours", told)
        self.assertEqual([r["token"] for r in self.reservations()], [int(token)])
        self.assertIn("is yours", s.text("reserve", path="docs/*.md"))
        self.assertIn("is yours", s.text("reserve", path="docs/*.md"))
        self.assertEqual({(r["pattern"], r["holder"], r["here"], r["shared"]) for r in self.reservations()},
                         {("src/**", "bob", True, False), ("docs/*.md", "ann", True, False)})
        with self.assertRaises(subprocess.CalledProcessError) as refused:
            self.cli("reserve", "docs/a.md", agent="bob")
        self.assertIn("docs/*.md is reserved by ann", refused.exception.stderr)
        # What is held by somebody else is not given back by us.
        self.assertIn("do not hold", s.text("reserve", path="src/**", action="release"))
        self.assertIn("is free", s.text("reserve", path="docs/*.md", action="release"))
        self.assertIn("do not hold", s.text("reserve", path="docs/*.md", action="release"))
        self.assertEqual(len(self.reservations()), 1)
        for bad in ("../x", "/etc/passwd", "a//b", "src/**x", "", "k" * 238):
            self.assertTrue(s.tool("reserve", path=bad)["isError"], bad)

    def test_a_shared_reservation(self):
        s = self.start()
        self.assertIn("is yours", s.text("reserve", path="docs/*", shared=True))
        self.assertIn("is yours", s.text("reserve", path="docs/a.md", shared=True, agent="bob"))
        self.assertIn("reserved by", s.text("reserve", path="docs/a.md", agent="cem"))
        self.assertEqual([r["shared"] for r in self.reservations()], [True, True])
        self.assertIn("is free", s.text("reserve", path="docs/*", action="release"))
        self.assertEqual(s.close(), 0)
        self.assertEqual(self.reservations(), [])

    def test_what_is_reserved_in_another_work_tree_is_told(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        git = ["git", "-C", self.place.name, "-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "begin"], check=True)
        subprocess.run([*git, "worktree", "add", "-q", self.place.name + "/tree"], check=True)
        self.cli("init", "--name", "desk")
        self.cli("reserve", "src/**", agent="bob")
        other = Server(self.place.name + "/tree")
        self.servers.append(other)
        told = other.text("reserve", path="src/a.c")
        self.assertIn("is yours", told)
        self.assertIn("src/** is reserved by bob in another work tree", told)

    def test_a_killed_server_s_reservations_end(self):
        s = self.start()
        self.assertIn("is yours", s.text("reserve", path="src/*.c"))
        s.process.kill()
        s.process.wait()
        [left] = self.reservations()
        until = datetime.datetime.fromisoformat(left["until"].replace("Z", "+00:00")).timestamp()
        self.assertLessEqual(until - time.time(), 600)
        self.assertGreater(until - time.time(), 0)
        self.assertRegex(self.start(agent="bob").text("reserve", path="src/a.c"), "for (9|10) min at most")

    def test_full_of_reservations(self):
        s = self.start()
        for i in range(128):
            self.assertIn("is yours", s.text("reserve", path=f"src/{i}.c"))
        self.assertTrue(s.tool("reserve", path="src/more.c")["isError"])
        self.assertIn("is free", s.text("reserve", path="src/7.c", action="release"))
        self.assertIn("is yours", s.text("reserve", path="src/more.c"))

    def test_once(self):
        s = self.start()
        self.assertTrue(s.tool("once_begin", key="k", what="mail")["structuredContent"]["go"])
        self.assertFalse(s.tool("once_begin", key="k", what="mail", agent="bob")["structuredContent"]["go"])
        self.assertTrue(s.tool("once_report", key="k", outcome="done", agent="bob")["isError"])
        self.assertIn("is done", s.text("once_report", key="k", outcome="done", result="sent to ann"))
        again = s.tool("once_begin", key="k", what="mail", agent="bob")
        self.assertFalse(again["structuredContent"]["go"] or again["isError"])
        self.assertIn("sent to ann", again["content"][0]["text"])
        # Who says it in other words must not be told to take another key.
        self.assertIn("in other words, ask with the same words", s.text("once_begin", key="k", what="other"))
        self.assertTrue(s.tool("once_begin", key="twice", what="x")["structuredContent"]["go"])
        self.assertIn("you have begun twice", s.text("once_begin", key="twice", what="x"))
        approval = s.tool("once_begin", key="pay", what="x", needs_approval=True)
        self.assertFalse(approval["isError"] or approval["structuredContent"]["go"])
        self.assertIn("approve", approval["content"][0]["text"])
        # Begun, and the server dies: nobody knows.
        self.assertTrue(s.tool("once_begin", key="lost", what="x")["structuredContent"]["go"])
        s.process.kill()
        s.process.wait()
        doubt = self.start(agent="bob").tool("once_begin", key="lost", what="x")
        self.assertFalse(doubt["isError"] or doubt["structuredContent"]["go"])
        self.assertIn("outcome unknown", doubt["content"][0]["text"])

    def test_a_key_that_cannot_be_one_is_not_asked_for_again(self):
        s = self.start()
        for key in ("", "k" * 300):
            result = s.tool("once_begin", key=key, what="w", **{"class": "keyed"})
            self.assertTrue(result["isError"])
            self.assertNotIn("says later", result["content"][0]["text"])
        # What may be done again is not said to wait for a person.
        s.tool("once_begin", key="k", what="w", **{"class": "keyed"})
        said = s.tool("once_report", key="k", outcome="unknown")["content"][0]["text"]
        self.assertIn("unless once_begin", said)

    def test_a_report_that_is_refused_can_be_made_again(self):
        s = self.start()
        self.assertTrue(s.tool("once_begin", key="k", what="mail")["structuredContent"]["go"])
        for arguments in ({"outcome": "done", "result": "x" * 140000},
                          {"outcome": "nothing_happened", "result": "proof\u0007"},
                          {"outcome": "nothing_happened"}):
            refused = s.tool("once_report", key="k", **arguments)
            self.assertTrue(refused["isError"])
        # Meanwhile it is being done, and not in doubt.
        meanwhile = self.start(agent="bob").text("once_begin", key="k", what="mail")
        self.assertIn("being done by ann", meanwhile)
        self.assertIn("is done", s.text("once_report", key="k", outcome="done", result="sent"))
        self.assertIn("sent", s.text("once_begin", key="k", what="mail"))

    def test_a_report_that_met_a_lock_can_be_made_again(self):
        s = self.start("--wait", "1s")
        self.assertTrue(s.tool("once_begin", key="k", what="mail")["structuredContent"]["go"])
        locks = [open(path, "rb") for path in glob.glob(self.place.name + "/.strata/strong/**/append.lock", recursive=True)]
        self.assertTrue(locks)
        for lock in locks:
            fcntl.flock(lock, fcntl.LOCK_EX)
        told = s.text("once_report", key="k", outcome="done", result="sent")
        self.assertIn("do not do it again, only once_report", told)
        for lock in locks:
            lock.close()
        self.assertIn("being done by ann", self.start(agent="bob").text("once_begin", key="k", what="mail"))
        self.assertIn("is done", s.text("once_report", key="k", outcome="done", result="sent"))

    # Nothing that says no, or that nobody knows, may be taken for "do it again".
    def test_no_answer_invites_to_do_it_again(self):
        s, bob = self.start(), self.start(agent="bob")
        self.assertTrue(s.tool("once_begin", key="k", what="mail")["structuredContent"]["go"])
        told = [bob.text("once_begin", key="k", what="mail"), bob.text("once_begin", key="k", what="other"),
                bob.text("once_report", key="k", outcome="done"),
                s.text("once_report", key="k", outcome="unknown"),
                bob.text("once_begin", key="k", what="mail"), s.text("once_report", key="k", outcome="done"),
                bob.text("prime")]
        for text in told[:2] + told[4:5]:
            self.assertTrue(text.startswith("Do not do it"), text)
        self.assertIn("Do not retry", told[3])
        self.assertIn("do not retry", told[6])
        for text in told:
            self.assertNotRegex(text.lower(), "(?<!not re)try again|(?<!not )retry it")

    def test_what_an_agent_is_told_is_about_its_tools(self):
        s = self.start()
        told = [s.text("update", id="99", action="done"), s.text("add", title="x", after=["99"])]
        s.text("add", title="x")
        told.append(s.text("update", id="1", action="release"))
        for text in told:
            self.assertNotIn("`strata", text)
        self.assertIn("strata://tasks/ready", told[0])
        self.assertIn("next takes tasks", told[2])
        self.assertIn("for anybody", s.text("add", title="x", agent="bob"))
        self.assertIn("for bob", s.text("add", title="x", **{"for": "bob"}))

    def test_tracked_files_and_tasks_are_no_facts_to_be_set_or_listed(self):
        s = self.start()
        s.text("add", title="build", data="d")
        s.text("fact_set", entity="api", attribute="port", value="1")
        refused = s.tool("fact_set", entity="file:MEMORY.md", attribute="text", value="x")
        self.assertTrue(refused["isError"])
        self.assertIn("edit the file", refused["content"][0]["text"])
        self.assertTrue(s.tool("fact_set", entity="#1", attribute="title", value="x")["isError"])
        everything = s.tool("fact_search")
        self.assertEqual(everything["structuredContent"]["count"], 1)
        self.assertIn("api port = 1", everything["content"][0]["text"])
        # Asked for, they are shown.
        self.assertIn("build", s.text("fact_search", words="build"))
        self.assertEqual(s.tool("fact_search", limit=1)["structuredContent"]["count"], 1)

    def test_messages(self):
        s = self.start()
        s.tool("prime", agent="bob")
        self.assertIn("waits for bob", s.text("message", to="bob", text="hello"))
        inbox = s.text("message", agent="bob")
        self.assertIn("from ann", inbox)
        self.assertIn("hello", s.text("prime", agent="bob"))
        s.text("message", agent="bob", read=[inbox.split(",")[0]])
        self.assertEqual(s.text("message", agent="bob"), "No messages.")
        refused = s.tool("message", to="nobody-here", text="x")
        self.assertTrue(refused["isError"])
        told = refused["content"][0]["text"]
        self.assertIn("nobody called nobody-here", told)
        self.assertIn("strata://board", told)
        self.assertNotIn("--", told)

    # --- resources ------------------------------------------------------------------------------

    def test_a_change_of_a_resource_is_told(self):
        s = self.start()
        watched = s.send("subscriptions/listen", {"notifications": {
            "resourceSubscriptions": ["strata://entity/api", "strata://none"], "toolsListChanged": True}})
        told = s.receive()
        self.assertEqual(told["method"], "notifications/subscriptions/acknowledged")
        self.assertEqual(told["params"]["notifications"], {"resourceSubscriptions": ["strata://entity/api"]})
        self.assertEqual(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], watched)
        self.cli("fact", "set", "api", "port", "1", agent="bob")
        told = s.receive()
        self.assertEqual(told["method"], "notifications/resources/updated")
        self.assertEqual(told["params"]["uri"], "strata://entity/api")
        self.assertEqual(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], watched)
        # Another entity is no news of this one.
        self.cli("fact", "set", "web", "port", "1", agent="bob")
        with self.assertRaises(TimeoutError):
            s.receive(timeout=0.5)
        s.notify("notifications/cancelled", {"requestId": watched})
        self.cli("fact", "set", "api", "port", "2", agent="bob")
        with self.assertRaises(TimeoutError):
            s.receive(timeout=0.5)
        result = s.request("resources/read", {"uri": "strata://entity/api"})["result"]
        self.assertIn("api port = 2", result["contents"][0]["text"])

    def test_each_resource_tells_of_what_changes_it(self):
        for uri, change in (("strata://board", ("beat", "thinking")), ("strata://pending", ("fact", "set", "a", "b", "c")),
                            ("strata://tasks/ready", ("add", "build")), ("strata://task/1", ("claim", "1")),
                            ("strata://entity/%C3%BC%20x", ("fact", "set", "ü x", "b", "c"))):
            s = self.start()
            s.request("initialize", {"protocolVersion": "2025-06-18"}, meta=None)
            s.request("resources/subscribe", {"uri": uri}, meta=None)
            self.cli(*change, agent="bob")
            told = s.receive()
            self.assertEqual(told["params"], {"uri": uri})
            text = s.answer(s.send("resources/read", {"uri": uri}, meta=None))["result"]["contents"][0]["text"]
            self.assertTrue(text or uri == "strata://pending", uri)

    def test_a_task_tells_who_has_it_and_what_it_comes_after(self):
        s = self.start()
        for number, after in enumerate(([], ["1"], ["1", "2"]), 1):
            s.tool("add", title=f"task {number}", after=after)
        s.tool("next")
        read = [s.request("resources/read", {"uri": f"strata://task/{n}"})["result"]["contents"][0]["text"] for n in (1, 3)]
        self.assertIn("Claimed by: ann", read[0])
        self.assertIn("After: 1, 2", read[1])
        s.text("update", id="1", action="fail", text="no network")
        self.assertIn("Reason: no network", s.request("resources/read", {"uri": "strata://task/1"})["result"]["contents"][0]["text"])

    def test_what_was_given_up_is_pending(self):
        self.cli("add", "build")
        for _ in range(5):
            self.cli("claim", "1")
            self.cli("fail", "1", "--reason", "no network", "--retry-in", "0s")
        s = self.start()
        s.request("initialize", {"protocolVersion": "2025-06-18"}, meta=None)
        text = s.request("resources/read", {"uri": "strata://pending"}, meta=None)["result"]["contents"][0]["text"]
        self.assertIn("Task 1 failed 5 times: no network (build)", text)
        self.assertIn("strata update 1 --reopen", text)

    def test_subscriptions_of_the_older_revisions(self):
        s = self.start()
        s.request("initialize", {"protocolVersion": "2025-11-25"}, meta=None)
        self.assertEqual(s.request("resources/subscribe", {"uri": "strata://tasks/ready"}, meta=None)["result"], {})
        self.cli("add", "build", agent="bob")
        told = s.receive()
        self.assertEqual(told["params"], {"uri": "strata://tasks/ready"})
        s.request("resources/unsubscribe", {"uri": "strata://tasks/ready"}, meta=None)
        self.error(s.request("resources/subscribe", {"uri": "strata://none"}, meta=None), -32002)

    def test_the_end_of_a_subscription_is_answered(self):
        s = self.start()
        watched = s.send("subscriptions/listen", {"notifications": {}})
        s.receive()
        s.process.stdin.close()
        self.assertEqual(s.receive()["id"], watched)
        self.assertIsNone(s.receive())

    # --- waiting --------------------------------------------------------------------------------

    def test_a_waiting_next_gets_what_comes(self):
        s = self.start()
        waiting = s.send("tools/call", {"name": "next", "arguments": {"wait_ms": 20000}})
        self.assertIn("ann", s.text("prime"))  # meanwhile it works
        self.cli("add", "come", agent="bob")
        self.assertIn("come", s.answer(waiting)["result"]["content"][0]["text"])

    def test_a_waiting_next_ends_in_time(self):
        s = self.start()
        begin = time.monotonic()
        result = s.tool("next", wait_ms=600)
        took = time.monotonic() - begin
        self.assertFalse(result["isError"])
        self.assertGreaterEqual(took, 0.6)
        self.assertLess(took, 3)

    def test_a_next_beside_a_task_that_another_holds_answers_at_once(self):
        s = self.start()
        s.tool("add", title="build")
        s.tool("next")
        took = []
        for _ in range(3):
            begin = time.monotonic()
            self.assertIn("claimed by ann", s.text("next", agent="bob"))
            took.append(time.monotonic() - begin)
        self.assertLess(min(took), 0.9)  # it looked on and on for a second

    def test_cancellation(self):
        s = self.start()
        waiting = s.send("tools/call", {"name": "next", "arguments": {"wait_ms": 50000}})
        s.notify("notifications/cancelled", {"requestId": waiting})
        s.notify("notifications/cancelled", {"requestId": 12345})
        s.text("prime")  # until here all is read
        self.cli("add", "come", agent="bob")
        time.sleep(0.3)
        self.assertIn("come", s.tool("next", agent="bob")["content"][0]["text"])
        self.assertNotIn(waiting, [m.get("id") for m in s.early])

    def test_progress(self):
        s = self.start()
        result = s.answer(s.send("tools/call", {"name": "next", "arguments": {"wait_ms": 5600},
                                                "_meta": {"progressToken": "p"}}))
        told = [m for m in s.early if m.get("method") == "notifications/progress"]
        self.assertEqual([m["params"]["progressToken"] for m in told], ["p"])
        self.assertGreater(told[0]["params"]["progress"], 0)
        self.assertFalse(result["result"]["isError"])

    def test_an_id_that_waits_is_taken(self):
        s = self.start()
        s.send("tools/call", {"name": "next", "arguments": {"wait_ms": 50000}}, ident="x")
        s.send("tools/list", ident="x")
        self.error(s.receive(), -32600)

    # --- hostile input --------------------------------------------------------------------------

    def test_what_is_no_message(self):
        s = self.start()
        deep = b"[" * 100000
        for line, code in (
                (b"nonsense", -32700), (b"{", -32700), (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700),
                (deep, -32700), (b'{"a":' * 5000 + b"1" + b"}" * 5000, -32700),
                (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 63 + b"]" * 63 + b"}}", -32700),
                (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
                (b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', -32700),
                (b'{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}', -32700),
                (b"[]", -32600), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600), (b"1", -32600),
                (b'{"id":1,"method":"ping"}', -32600), (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
                (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
                (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
                (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
                (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600), (b'{"jsonrpc":"2.0","id":1}', -32600),
                (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', -32602),
                (b'{"jsonrpc":"2.0","id":1,"method":"ping\\u0000"}', -32600)):
            s.line(line)
            self.error(s.receive(), code)
        # What needs no answer gets none.
        s.line(b"")
        s.line(b'{"jsonrpc":"2.0","method":"notifications/none"}')
        s.line(b'{"jsonrpc":"2.0","id":7,"result":{}}')
        s.line(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}')
        s.line(b'{"jsonrpc":"2.0","id":8,"method":"ping"}\r')
        self.assertEqual(s.receive()["id"], 8)
        self.assertEqual(s.close(), 0)

    def test_words_and_an_entity_are_two_questions(self):
        s = self.start()
        s.tool("fact_set", entity="e", attribute="a", value="something")
        for more in ({"entity": "e"}, {"attribute": "a"}):
            result = s.tool("fact_search", words="other", **more)
            self.assertTrue(result["isError"])
            self.assertIn("either words", result["content"][0]["text"])

    def test_numbers_that_are_too_large(self):
        s = self.start()
        s.process.stdin.write(b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":9223372036854775808}}\n')
        s.process.stdin.flush()
        error = s.receive()["error"]
        self.assertEqual(error["code"], -32700)
        self.assertIn("too large", error["message"])

    def test_large_messages(self):
        s = self.start()
        s.process.stdin.write(b"x" * (9 << 20))
        s.line(b"")
        self.error(s.receive(), -32600)
        result = s.tool("fact_set", entity="a", attribute="b", value="v" * (1 << 20))
        self.assertTrue(result["isError"])
        self.assertIn("65536", result["content"][0]["text"])
        with open(f"/proc/{s.process.pid}/status", encoding="ascii") as f:
            peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
        self.assertLess(peak, 64 * 1024)

    def test_half_a_message_and_the_end(self):
        s = self.start()
        s.process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"pi')
        self.assertEqual(s.close(), 0)

    def test_a_thousand_requests_in_flight(self):
        s = self.start()
        s.process.stdin.write(b"".join(
            json.dumps({"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {
                "name": "fact_set", "arguments": {"entity": f"e{i}", "attribute": "a", "value": "v", "agent": "bob"},
                "_meta": META}}).encode() + b"\n" for i in range(1000)))
        s.process.stdin.flush()
        got = [s.receive(timeout=60)["id"] for _ in range(1000)]
        self.assertEqual(got, list(range(1000)))

    def test_more_than_a_thousand_that_wait(self):
        s = self.start()
        count = 1100
        s.process.stdin.write(b"".join(
            json.dumps({"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {
                "name": "next", "arguments": {"wait_ms": 1500}, "_meta": META}}).encode() + b"\n"
            for i in range(count)))
        s.process.stdin.flush()
        got = sorted(s.receive(timeout=60)["id"] for _ in range(count))
        self.assertEqual(got, list(range(count)))

    # --- clients that leave ---------------------------------------------------------------------

    def test_a_client_that_closes_its_input(self):
        s = self.start()
        s.request("tools/list")
        begin = time.monotonic()
        self.assertEqual(s.close(), 0)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_client_that_closes_its_output(self):
        s = self.start()
        s.request("tools/list")
        s.process.stdout.close()
        self.assertEqual(s.process.wait(10), 0)

    def test_a_client_that_stops_reading(self):
        s = self.start("--wait", "1s")
        os.set_blocking(s.process.stdin.fileno(), False)
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode() + b"\n"
        sent = 0
        end = time.monotonic() + 20
        while s.process.poll() is None and time.monotonic() < end:
            try:
                sent += os.write(s.process.stdin.fileno(), request * 50)
            except BlockingIOError:
                time.sleep(0.05)
            except BrokenPipeError:
                break
        self.assertEqual(s.process.wait(5), 5)
        # It read no more than what it could keep the answers of.
        self.assertLess(sent, 8 << 20)

    def test_what_a_client_does_not_read_is_bounded(self):
        s = self.start()
        s.request("tools/list")
        before = s.memory()
        os.set_blocking(s.process.stdin.fileno(), False)
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode() + b"\n"
        sent = 0
        progress = time.monotonic()
        while time.monotonic() < progress + 1 and sent < 1 << 20:
            try:
                sent += os.write(s.process.stdin.fileno(), (request * 51)[sent % len(request):])
                progress = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        # Each answer is 50 times its request: a megabyte of requests would be 50 of answers.
        self.assertLess(sent, 1 << 20)
        if not os.environ.get("STRATA_SANITIZE"):  # a sanitizer keeps what was freed
            self.assertLess(s.memory() - before, 4 << 10)
        # None of them is lost.
        for _ in range(sent // len(request)):
            self.assertEqual(s.receive()["id"], 1)

    def test_signals_end_it(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            s = self.start()
            s.request("tools/list")
            s.process.send_signal(number)
            self.assertEqual(s.process.wait(10), 0)

    # --- the memory server; beside the reference server: memory.mjs ----------------------------

    def test_the_memory_file_is_taken_in_once(self):
        file = os.path.join(self.place.name, "memory.jsonl")
        with open(file, "w", encoding="utf-8") as f:
            f.write('{"type":"entity","name":"old","entityType":"t","observations":["o"]}\n')
        s = self.start("--memory", memory_file=file)
        s.tool("create_entities", entities=[{"name": "new", "entityType": "t", "observations": []}])
        s.tool("delete_entities", entityNames=["old"])
        self.assertEqual(s.close(), 0)
        graph = self.start("--memory", memory_file=file).tool("read_graph")["structuredContent"]
        self.assertEqual([e["name"] for e in graph["entities"]], ["new"])

    def test_a_memory_file_that_cannot_be_taken_in_is_told_by_each_call(self):
        file = os.path.join(self.place.name, "memory.jsonl")
        line = '{"type":"entity","name":"%s","entityType":"t","observations":[]}\n'
        with open(file, "w", encoding="utf-8") as f:
            f.write(line % "good" + line % "bad ")
        s = self.start("--memory", memory_file=file)
        for tool, arguments in (("read_graph", {}), ("create_entities", {"entities": []})):
            result = s.tool(tool, **arguments)
            self.assertTrue(result["isError"])
            self.assertIn("line 2", result["content"][0]["text"])
        with open(file, "w", encoding="utf-8") as f:
            f.write(line % "good" + line % "better")
        graph = s.tool("read_graph")["structuredContent"]
        self.assertEqual([e["name"] for e in graph["entities"]], ["better", "good"])
        self.assertEqual(s.close(), 0)

    def test_nobody_serves_while_another_takes_the_memory_file_in(self):
        file = os.path.join(self.place.name, "memory.jsonl")
        with open(file, "w", encoding="utf-8") as f:
            f.write('{"type":"entity","name":"old","entityType":"t","observations":["o"]}\n')
        with open(self.place.name + "/.strata/memory-files", "w", encoding="utf-8") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            s = self.start("--memory", memory_file=file)
            asked = s.send("tools/call", {"name": "read_graph", "arguments": {}})
            with self.assertRaises(TimeoutError):
                s.receive(timeout=0.5)
        graph = s.answer(asked)["result"]["structuredContent"]
        self.assertEqual([e["name"] for e in graph["entities"]], ["old"])

    def test_what_is_there_is_not_made_again(self):
        s = self.start("--memory")
        entity = {"name": "a", "entityType": "t", "observations": ["o"]}
        self.assertEqual(s.tool("create_entities", entities=[entity])["structuredContent"], {"entities": [entity]})
        self.assertEqual(s.tool("create_entities", entities=[entity])["structuredContent"], {"entities": []})

    def test_what_is_deleted_takes_its_relations_with_it(self):
        s = self.start("--memory")
        s.tool("create_entities", entities=[{"name": n, "entityType": "person", "observations": ["o", "p"]}
                                            for n in ("ann", "bob", "cid")])
        s.tool("create_relations", relations=[{"from": f, "to": t, "relationType": "knows"}
                                              for f, t in (("ann", "bob"), ("bob", "cid"), ("cid", "ann"))])
        s.tool("delete_observations", deletions=[{"entityName": "cid", "observations": ["o"]}])
        s.tool("delete_entities", entityNames=["bob", "nobody"])
        graph = s.tool("read_graph")["structuredContent"]
        self.assertEqual([(e["name"], e["observations"]) for e in graph["entities"]],
                         [("ann", ["o", "p"]), ("cid", ["p"])])
        self.assertEqual([(r["from"], r["to"]) for r in graph["relations"]], [("cid", "ann")])
        s.tool("delete_relations", relations=[{"from": "cid", "to": "ann", "relationType": "knows"}])
        self.assertEqual(s.tool("read_graph")["structuredContent"]["relations"], [])

    def test_names_of_tasks_and_tracked_files_are_entities_as_any_other(self):
        s = self.start("--memory")
        names = ["#12", "entity:#12", "file:a.c"]
        s.tool("create_entities", entities=[{"name": n, "entityType": "t", "observations": ["o"]} for n in names])
        s.tool("create_relations", relations=[{"from": "#12", "to": "file:a.c", "relationType": "about"}])
        graph = s.tool("read_graph")["structuredContent"]
        self.assertEqual(sorted(e["name"] for e in graph["entities"]), names)
        self.assertEqual(graph["relations"], [{"from": "#12", "to": "file:a.c", "relationType": "about"}])
        s.tool("delete_entities", entityNames=["file:a.c"])
        graph = s.tool("read_graph")["structuredContent"]
        self.assertEqual((len(graph["entities"]), graph["relations"]), (2, []))
        # They are none of the workspace's tasks and files.
        self.assertEqual(json.loads(self.cli("list", "--all", "--json"))["data"], [])

    def test_eight_memory_servers_lose_nothing(self):
        file = os.path.join(self.place.name, "memory.jsonl")
        servers = [self.start("--memory", memory_file=file, agent=f"a{i}") for i in range(8)]
        acknowledged = [set() for _ in servers]

        def write(number):
            for i in range(100):
                name = f"{number}-{i}"
                result = servers[number].tool("create_entities", timeout=60, entities=[
                    {"name": name, "entityType": "t", "observations": [f"o{i}"]}])
                if result["structuredContent"]["entities"][0]["name"] == name:
                    acknowledged[number].add(name)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(len(servers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sum(len(names) for names in acknowledged), 800)
        for s in servers[:2]:
            graph = s.tool("read_graph", timeout=60)["structuredContent"]
            self.assertEqual({e["name"] for e in graph["entities"] if len(e["observations"]) == 1},
                             set.union(*acknowledged))

    # --- the workspace --------------------------------------------------------------------------

    def test_without_a_workspace_calls_say_so(self):
        with tempfile.TemporaryDirectory() as empty:
            s = Server(empty)
            self.servers.append(s)
            self.assertIn("tools", s.request("tools/list")["result"])
            result = s.tool("prime")
            self.assertTrue(result["isError"])
            self.assertIn("strata init", result["content"][0]["text"])
            self.assertEqual(s.close(), 0)

    def test_many_agents(self):
        s = self.start()
        for i in range(40):
            self.assertFalse(s.tool("fact_set", entity="e", attribute="a", value=str(i), agent=f"a{i}")["isError"])
        self.assertLess(len(os.listdir(f"/proc/{s.process.pid}/fd")), 600)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unittest.main(verbosity=1)
