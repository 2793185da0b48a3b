"""Code blocks of the pages, and the commands in them: for the tests, and for the script that runs a page.

A block may follow a comment that only tests read, on one line, with parts separated by semicolons:

    <!-- test: skip, needs UCF101 -->          the block is checked, but not run
    <!-- test: 0 = clip.mp4 -->                the block is run with this text in place of the other
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("", "bash", "sh", "console")
"""Languages of blocks that can hold commands; blocks without a language also hold output and files."""
PROGRAMS = ("hts", "python", ".venv/bin/python", "make", "pip")
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})([\w-]*)\s*$")
_COMMENT = re.compile(r"^ *<!-- test: (.*) -->$")
_BEGINS = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{'|'.join(map(re.escape, PROGRAMS))})(?: |$)")
_SETTING = re.compile(r"^[A-Z_]+=\S+$")


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        page: the file; line: the number of the block's first line.
        language: the word behind the fence, or "".
        text: what the block holds.
        skip: why tests don't run it, or "".
        replaced: texts that tests replace, with their replacements.
    """

    page: Path
    line: int
    language: str
    text: str
    skip: str = ""
    replaced: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The page and the line, for messages."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The shell commands, each as one logical line; in a console block those after `$`."""
        if self.language not in SHELL:
            return []
        lines = _logical_lines(self.text)
        if any(line.startswith("$ ") for line in lines):
            return [line[2:] for line in lines if line.startswith("$ ")]
        found = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        return found if any(map(_BEGINS.match, found)) else []


@dataclass(frozen=True)
class Call:
    """One program with its arguments."""

    program: str
    arguments: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, with what the comments before them say.

    Raises:
        ValueError: a comment for tests cannot be read, or no block follows it.
    """
    found: list[Block] = []
    comment, opened = "", None
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if opened is not None:
            start, indent, mark, language = opened
            if line.strip() == mark:
                text = "\n".join(part.removeprefix(indent) for part in lines[start : number - 1])
                skip, replaced = _directives(comment, f"{page.name}:{start}")
                found.append(Block(page, start + 1, language, text, skip, replaced))
                comment, opened = "", None
        elif fence:
            opened = (number, fence[1], fence[2], fence[3])
        elif read := _COMMENT.match(line):
            comment = read[1]
        elif line.strip() and comment:
            raise ValueError(f"{page.name}:{number}: expected a code block after the comment for tests")
    return found


def _directives(comment: str, where: str) -> tuple[str, dict[str, str]]:
    skip, replaced = "", {}
    for part in filter(None, (part.strip() for part in comment.split(";"))):
        if part.startswith("skip, "):
            skip = part.removeprefix("skip, ")
        elif " = " in part:
            old, new = part.split(" = ", 1)
            replaced[old] = new
        else:
            raise ValueError(f"{where}: cannot read {part!r}; expected `skip, REASON` or `OLD = NEW`")
    return skip, replaced


def _logical_lines(text: str) -> list[str]:
    """Return the lines, with those that end in a backslash joined to the next."""
    return re.sub(r" *\\\n\s*", " ", text).split("\n")


def calls(line: str) -> Iterator[Call]:
    """Yield the programs that a shell line starts, with their arguments; redirections are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    target = False
    for word in [*lexer, ";"]:
        if set(word) <= set("|;&"):
            if words and not target:
                yield _call(words)
            words, target = [], False
        elif set(word) <= set("<>"):
            if words:
                yield _call(words)
            words, target = [], True
        elif not target:
            words.append(word)


def _call(words: list[str]) -> Call:
    while len(words) > 1 and (_SETTING.match(words[0]) or words[0] in ("do", "time")):
        words = words[1:]
    return Call(words[0], tuple(words[1:]))


def all_pages(root: Path = ROOT) -> list[Path]:
    """Return README.md, CONTRIBUTING.md and the pages of docs/."""
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]
