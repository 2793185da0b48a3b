"""Runs the commands of a page in order, and writes what they print into the page.

    .venv/bin/python docs/scripts/run_page.py docs/tutorial.md             # prints what each command prints
    .venv/bin/python docs/scripts/run_page.py docs/tutorial.md --update    # and updates the page

Blocks of the language `console` hold commands after `$`, and their output below. A line `…` in an output
stands for lines that are left out: an update keeps as many lines before and after it as there were. Between
`<!-- times -->` and `<!-- /times -->`, an update writes how long each command took, and on which machine.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from page_commands import ROOT, Block, blocks

from hidden_two_stream.environment import machine

LEFT_OUT = "…"
SHIM = """#!{python}
import json, os, shutil, sys
from hidden_two_stream.cli.main import main
change = json.loads(os.environ.get("HTS_DOC_CHANGES", "{{}}"))
words = [change.get("words", {{}}).get(word, word) for word in sys.argv[1:]]
given = set(words)
added = [groups for key, groups in change.get("arguments", {{}}).items() if set(key.split()) <= given]
for group in added[0] if added else []:
    words += group if group[0] == "--set" or group[0] not in given else []
if change.get("retrain") and words[0] == "train" and "--out" in words:
    shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
sys.exit(main(words))
"""
"""The `hts` that pages call: this checkout's, with words that a test may replace and arguments it may add."""


@dataclass(frozen=True)
class Done:
    """A command that was run: exit code, what it printed, and how long it took."""

    command: str
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def shown(self) -> str:
        """What a page shows: standard output, or standard error where the output goes into a file."""
        return (self.stdout or self.stderr).rstrip("\n")


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose `hts` and `python` are this checkout's; `folder` gets the programs."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "hts").write_text(SHIM.format(python=sys.executable), encoding="utf-8")
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    for name in ("hts", "python"):
        (programs / name).chmod(0o755)
    for name in ("examples", "benchmarks"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}


def run(block: Block, folder: Path, given: Mapping[str, str], seconds: float = 600) -> list[Done]:
    """Run the commands of a block, or its Python, with its replacements; stop at the first failure."""
    if block.language == "python":
        commands = [f"python - <<'END_OF_BLOCK'\n{block.text}\nEND_OF_BLOCK"]
    else:
        commands = block.commands
    found = []
    for command in commands:
        text = command
        for old, new in block.replaced.items():
            text = text.replace(old, new)
        start = time.monotonic()
        done = subprocess.run(
            ["bash", "-e", "-c", text], cwd=folder, env=dict(given), text=True, capture_output=True,
            check=False, timeout=seconds,
        )  # fmt: skip
        found.append(Done(command, done.returncode, done.stdout, done.stderr, time.monotonic() - start))
        if done.returncode:
            break
    return found


def outputs(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a console block, each with the lines of output below it."""
    found: list[tuple[str, list[str]]] = []
    for line in re.sub(r"(\\\n)", "\0", text).split("\n"):
        if line.startswith("$ "):
            found.append((line.replace("\0", "\\\n"), []))
        elif found:
            found[-1][1].append(line)
    return found


def shortened(new: list[str], old: list[str]) -> list[str]:
    """Return the new output with the lines left out that the old one left out."""
    if LEFT_OUT not in old:
        return new
    first = old.index(LEFT_OUT)
    last = len(old) - first - 1
    if len(new) <= first + last + 1:
        return new
    return [*new[:first], LEFT_OUT, *new[len(new) - last :]]


def updated(page: str, ran: Sequence[tuple[Block, list[Done]]]) -> str:
    """Return the text of a page with the outputs of its console blocks, and the table of times."""
    for block, found in ran:
        if block.language == "console":
            parts = []
            for (command, old), done in zip(outputs(block.text), found, strict=True):
                new = done.shown.split("\n") if old and done.shown else []
                parts += [command, *shortened(new, old)]
            page = page.replace(block.text, "\n".join(parts))
    rows = ["| command | seconds |", "|---|---:|"]
    for _, found in ran:
        rows += [f"| `{_name(done.command)}` | {done.seconds:.0f} |" for done in found if _name(done.command)]
    total = sum(done.seconds for _, found in ran for done in found)
    table = "\n".join([*rows, f"| all | {total:.0f} |"])
    written = f"<!-- times -->\n\n{table}\n\nMachine: {machine()}.\n\n<!-- /times -->"
    return re.sub(r"<!-- times -->.*<!-- /times -->", lambda _: written, page, flags=re.DOTALL)


def _name(command: str) -> str:
    words = command.split()
    return " ".join(words[:2]) if words[0] == "hts" else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a page; return 1 if a command fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--update", action="store_true", help="write the outputs and the times into the page")
    given = parser.parse_args(arguments)
    ran: list[tuple[Block, list[Done]]] = []
    with tempfile.TemporaryDirectory() as name:
        env = environment(Path(name))
        for block in blocks(given.page.resolve()):
            if block.skip or not (block.commands or block.language == "python"):
                continue
            found = run(block, Path(name), env)
            for done in found:
                print(f"$ {done.command}\n{done.shown}\n({done.seconds:.1f} s)", flush=True)
                if done.code:
                    print(f"run_page: {block.where}: exit code {done.code}\n{done.stderr}", file=sys.stderr)
                    return 1
            ran.append((block, found))
    if given.update:
        given.page.write_text(updated(given.page.read_text(encoding="utf-8"), ran), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
