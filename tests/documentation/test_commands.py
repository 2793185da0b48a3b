"""Every command in README.md, CONTRIBUTING.md and docs/ is accepted by its program, and Python compiles."""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from page_commands import ROOT, Block, Call, all_pages, blocks, calls

import hidden_two_stream as hts
from hidden_two_stream.cli.main import COMMANDS, _parser
from hidden_two_stream.cli.options import overrides
from hidden_two_stream.config.loading import load_recipe, recipe_names

BLOCKS = [block for page in all_pages() for block in blocks(page)]
CALLS = [(block, call) for block in BLOCKS for line in block.commands for call in calls(line)]
ELSEWHERE = {
    "curl", "docker", "kubectl", "ffmpeg", "grep", "sed", "for", "done", "mkdir", "cp", "py",
    "label=$(basename", "python3", "hf",
}  # fmt: skip
"""Programs of other people that the pages use."""
SKIPS = ("needs ", "installs ", "takes ", "prints only")
"""How a reason not to run a block may begin."""


def of(*programs: str) -> list[Any]:
    return [
        pytest.param(block, call, id=f"{block.where} {' '.join(call.arguments)[:60]}")
        for block, call in CALLS
        if call.program in programs
    ]


def python(block: Block) -> bool:
    return block.language == "python"


def test_the_pages_hold_commands() -> None:
    assert len(of("hts")) > 100
    shown = {call.arguments[0] for _, call in CALLS if call.program == "hts"}
    assert shown | {"demo"} == set(COMMANDS)  # the pages run the demo by `make demo`
    assert {call.program for _, call in CALLS} <= {
        "hts",
        "python",
        ".venv/bin/python",
        "make",
        "pip",
        *ELSEWHERE,
    }


def checked(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed arguments, after a check of the recipe that they make."""
    given = _parser().parse_args(list(arguments))
    if hasattr(given, "recipe"):
        own = given.recipe.endswith(".yaml")
        load_recipe("nano" if own else given.recipe, overrides(given))
    return given


@pytest.mark.parametrize(("block", "call"), of("hts"))
def test_a_command_is_accepted(block: Block, call: Call) -> None:
    checked(call.arguments)


def test_a_wrong_command_is_not_accepted() -> None:
    for words in ("train --data videos/", "predict run video --tops 3", "evaluate", "no-such-command"):
        with pytest.raises(SystemExit):
            checked(words.split())
    with pytest.raises(hts.HiddenTwoStreamError):
        checked(["train", "--data", "videos/", "--out", "run", "--set", "temporal.step=3"])


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_commands_within_sentences_have_the_options_of_the_command(page: Path) -> None:
    """`hts train --recipe quick`, for example, lacks the data, but must name options that exist."""
    commands = _commands()
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for name, rest in re.findall(r"`(?:[A-Z_]+=\S+ )*hts ([a-z][a-z-]*)([^`]*)`", text):
        assert name in commands, f"{page.name}: hts {name}"
        for option in re.findall(r"(?<!\S)(--?[a-z][a-z0-9-]*)", rest):
            known = [*commands[name]._option_string_actions]
            assert option in known, f"{page.name}: hts {name} {option}"


def _commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (item for item in _parser()._actions if isinstance(item, argparse._SubParsersAction))
    return dict(found.choices)


class _ParsedError(Exception):
    """A script's arguments were accepted; it goes no further."""


@pytest.mark.parametrize(("block", "call"), of("python", ".venv/bin/python"))
def test_a_script_accepts_its_arguments(block: Block, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    script, *arguments = call.arguments
    path = ROOT / script
    assert path.is_file(), f"{block.where}: {script} does not exist"
    if "argparse" not in path.read_text(encoding="utf-8"):
        assert not arguments or "sys.argv" in path.read_text(encoding="utf-8")
        return
    run_until_parsed(path, arguments, monkeypatch)


def run_until_parsed(path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(parse: Callable[..., Any]) -> Callable[..., None]:
        def stop(*given: Any, **named: Any) -> None:
            parse(*given, **named)
            raise _ParsedError

        return stop

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(_ParsedError):
        runpy.run_path(str(path), run_name="__main__")


def test_a_wrong_argument_of_a_script_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run_until_parsed(ROOT / "examples" / "sequence_cost.py", ["--no-such-option"], monkeypatch)


@pytest.mark.parametrize(("block", "call"), of("make"))
def test_a_make_target_exists(block: Block, call: Call) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert call.arguments[0] in targets


@pytest.mark.parametrize(("block", "call"), of("pip"))
def test_pip_installs_extras_that_exist(block: Block, call: Call) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for words in re.findall(r"\[([a-z,]+)\]", " ".join(call.arguments)):
        assert set(words.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("block", list(filter(python, BLOCKS)), ids=lambda block: block.where)
def test_python_compiles_and_names_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hts"
    }
    assert names <= {*hts.__all__}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hidden_two_stream"):
            module = __import__(str(node.module), fromlist=["x"])
            assert {alias.name for alias in node.names} <= set(dir(module))


def test_recipes_that_are_named_are_shipped() -> None:
    for page in all_pages():
        for name in re.findall(r"--recipe ([a-z0-9_/-]+)(?![\w.…/-])", page.read_text(encoding="utf-8")):
            assert name in recipe_names(), f"{page.name}: --recipe {name}"


def test_blocks_that_are_not_run_say_why() -> None:
    for block in BLOCKS:
        assert not block.skip or block.skip.startswith(SKIPS), f"{block.where}: {block.skip}"
        for old in block.replaced:
            assert old in block.text, f"{block.where}: {old!r} is not in the block"
