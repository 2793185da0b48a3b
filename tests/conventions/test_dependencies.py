"""What `make setup` installs is known exactly: names, versions, and the hashes of the files."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
OWN = "hidden-two-stream"
UNHASHED = {"torch"}
"""Each platform has a build of its own, from an index of its own."""


def lines_of(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pinned(lines: list[str]) -> dict[str, str]:
    """Name → version of lines NAME==VERSION, each name once."""
    found = [
        re.fullmatch(r"([A-Za-z0-9._-]+)==([\w.!+]+)", line.split(" --hash")[0].strip()) for line in lines
    ]
    wrong = [line for line, match in zip(lines, found, strict=True) if not match]
    assert not wrong, f"expected NAME==VERSION: {wrong}"
    pairs = [(canonicalize_name(match[1]), match[2]) for match in found if match]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


CONSTRAINTS = pinned(lines_of("constraints.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def requirements(extras: set[str]) -> list[Requirement]:
    """What the package asks for with these extras, extras of its own resolved."""
    found, waiting, seen = [Requirement(text) for text in PROJECT["dependencies"]], set(extras), set()
    while waiting:
        extra = waiting.pop()
        seen.add(extra)
        for requirement in map(Requirement, EXTRAS[extra]):
            if requirement.name == OWN:
                waiting |= requirement.extras - seen
            else:
                found.append(requirement)
    return found


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    for requirement in requirements(set(EXTRAS)):
        version = CONSTRAINTS.get(canonicalize_name(requirement.name))
        assert version, f"constraints.txt has no {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"


def test_everything_that_setup_installs_is_pinned_to_the_installed_version() -> None:
    """Follow the requirements from package to package, as pip does."""
    waiting, seen = requirements({"all", "dev", "docs"}), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in sorted(requirement.extras) or [""]:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                found = distribution(name)
            except PackageNotFoundError:
                pytest.fail(f"{name} is not installed; run make setup")
            exact = any(part.operator == "==" for part in requirement.specifier)
            if not (exact and name not in CONSTRAINTS):  # pinned by the package that asks for it
                assert CONSTRAINTS.get(name) == Version(found.version).public, name
            needs = map(Requirement, found.requires or [])
            waiting += [need for need in needs if not need.marker or need.marker.evaluate({"extra": extra})]
    assert len(seen) > 100


def test_the_file_of_hashes_has_the_same_versions() -> None:
    lines = lines_of("constraints-hashes.txt")
    assert pinned(lines) == {name: CONSTRAINTS[name] for name in CONSTRAINTS if name not in UNHASHED}
    for line in lines:
        hashes = line.split(" --hash=")[1:]
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text.strip()) for text in hashes), line
