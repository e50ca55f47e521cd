#!/usr/bin/env python3
"""queue_versions.py - the successive versions of a real QUEUE.md, each written as a direct edit of a view:
after every one the view has exactly that version's items.

    STRATA=build/strata tests/queue_versions.py [queue|facts]

queue: the task view; odd versions are edited in place, line by line, even ones are the whole list written
anew without numbers. facts: the same items as a generic list, a row for each that is known of one. Without
../shared/data (or $STRATA_SHARED/data) it is skipped (exit 77)."""

import glob
import os
import re
import subprocess
import sys
import tempfile

STRATA = os.path.abspath(os.environ["STRATA"])
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
SHARED = [os.environ.get("STRATA_SHARED", ""), os.path.join(ROOT, "..", "shared"), os.path.join(ROOT, "..", "..", "shared")]
BOXES = {"TODO": " ", "DOING": "~", "DONE": "x"}


def items_of(text):
    """{id: (title, status, what it depends on)} of a version: headings with `- Name: value` below."""
    items, now = {}, None
    for line in text.splitlines():
        heading = re.fullmatch(r"## ([A-Z0-9-]+): (.*)", line)
        field = re.fullmatch(r"- (Status|Depends on): (.*)", line)
        if heading:
            now = heading[1]
            assert now not in items, now
            items[now] = {"title": heading[2].strip(), "Status": "TODO", "Depends on": ""}
        elif field and now:
            items[now][field[1]] = field[2].strip()
    return {
        key: (i["title"], i["Status"], frozenset(re.findall(r"[A-Z][A-Z0-9]*-[A-Za-z0-9-]+", i["Depends on"])))
        for key, i in items.items()
    }


class Workspace:
    def __init__(self, directory, view, file):
        self.directory, self.path = directory, os.path.join(directory, file)
        self.run("init", "--name", "desk")
        self.run("view", "add", view)

    def run(self, *arguments):
        done = subprocess.run([STRATA, *arguments], cwd=self.directory, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"strata {arguments}: exit {done.returncode}: {done.stderr}")
        return done.stderr

    def read(self):
        """the lines before the block, in it, and behind it"""
        with open(self.path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        begin = next(i for i, line in enumerate(lines) if "strata:begin" in line)
        end = next(i for i, line in enumerate(lines) if "strata:end" in line)
        return lines[: begin + 1], lines[begin + 1 : end], lines[end:]

    def write(self, head, body, tail):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("\n".join(head + body + tail) + "\n")


# --- the task view ------------------------------------------------------------------------------------

ENTRY = re.compile(r"- \[(.)\] ((?:\[[a-z_]+:[^]]*\] )*)(.*)")


def entry_of(line):
    box, marks, title = ENTRY.fullmatch(line).groups()
    return box, dict(re.findall(r"\[([a-z_]+):([^]]*)\]", marks)), title


def line_of(key, item, seq=None, numbers=None):
    title, status, depends = item
    names = ",".join(sorted((numbers or {}).get(name, name) for name in depends))
    return (
        f"- [{BOXES[status]}] "
        + (f"[seq:{seq}] " if seq else "")
        + f"[key:{key}] "
        + (f"[depends:{names or 'none'}] " if names or not seq else "")
        + title
    )


def edit_in_place(body, items, numbers):
    """what somebody does who changes only the lines that are to be changed"""
    lines, there = [], set()
    for line in body:
        box, marks, title = entry_of(line)
        key = marks["key"]
        if key not in items:
            continue
        there.add(key)
        want = items[key]
        as_is = (title, box, frozenset(filter(None, marks.get("depends", "").split(","))))
        to_be = (want[0], BOXES[want[1]], frozenset(numbers.get(name, name) for name in want[2]))
        lines.append(line if as_is == to_be else line_of(key, want, marks["seq"], numbers))
    return lines + [line_of(key, items[key]) for key in items if key not in there]


def queue(directory, versions):
    w = Workspace(directory, "queue", "QUEUE.md")
    numbers = {}  # key: seq, of all tasks ever seen
    for n, items in enumerate(versions, 1):
        head, body, tail = w.read()
        if n % 2 == 1:
            body = edit_in_place(body, items, numbers)
        else:
            body = [line_of(key, item) for key, item in items.items()]
        w.write(head, body, tail)
        notes = w.run("view", "render")
        shown = {}
        _, body, tail = w.read()
        entries = [entry_of(line) for line in body]
        numbers.update((marks["key"], marks["seq"]) for _, marks, _ in entries)
        keys = {seq: key for key, seq in numbers.items()}
        for box, marks, title in entries:
            depends = filter(None, marks.get("depends", "").split(","))
            status = next(word for word, b in BOXES.items() if b == box)
            assert marks["key"] not in shown, marks
            shown[marks["key"]] = (title, status, frozenset(keys[seq] for seq in depends))
        # What a version says of items that no version ever had is nothing that can be shown.
        known = {k: (t, s, frozenset(d for d in on if d in numbers)) for k, (t, s, on) in items.items()}
        if shown != known or len(tail) != 1:
            wrong = [k for k in {**shown, **known} if shown.get(k) != known.get(k)]
            sys.exit(f"version {n}: {[(k, shown.get(k), known.get(k)) for k in wrong[:3]]}; {tail}; {notes}")


# --- a generic list -----------------------------------------------------------------------------------


def cell(text):
    return text.replace("\\", "\\\\").replace("|", "\\|")


def rows_of(items):
    for key, (title, status, depends) in items.items():
        yield (key, "title", cell(title))
        yield (key, "status", status)
        for name in depends:
            yield (key, "depends", "+ -> " + name)


def row_of(line):
    return tuple(part.strip() for part in re.split(r"(?<!\\)\|", line)[1:4])


def facts(directory, versions):
    w = Workspace(directory, "facts", "FACTS.md")
    for n, items in enumerate(versions, 1):
        head, body, tail = w.read()
        rows = set(rows_of(items))
        kept, named = body[:2], {}
        for line in body[2:]:
            named.setdefault(row_of(line)[:2], []).append(line)
        for row in sorted(rows):
            lines = named.get(row[:2], [])
            same = [line for line in lines if row_of(line) == row]
            if same:
                kept.append(same[0])
            elif lines and row[1] != "depends":
                kept.append(lines[0].replace(f"| {row_of(lines[0])[2]} |", f"| {row[2]} |", 1))
            else:
                kept.append("| " + " | ".join(row) + " |")
        w.write(head, kept, tail)
        w.run("view", "render")
        _, body, _ = w.read()
        shown = [row_of(line) for line in body[2:]]
        if sorted(shown) != sorted(rows):
            sys.exit(f"version {n}: {sorted(set(shown) ^ rows)[:5]}")


def main():
    found = [sorted(glob.glob(os.path.join(place, "data", "queue-md", "[0-9]*.md"))) for place in SHARED]
    files = next(filter(None, found), [])
    if not files:
        print("queue_versions.py: skipped: there is no shared data")
        sys.exit(77)
    versions = [items_of(open(name, encoding="utf-8").read()) for name in files]
    with tempfile.TemporaryDirectory() as directory:
        os.environ.pop("STRATA_AGENT", None)
        {"queue": queue, "facts": facts}[sys.argv[1]](directory, versions)
    print(f"{len(versions)} versions, {sum(map(len, versions))} items in all, at most {max(map(len, versions))}")


main()
