"""The site's parts: pages with their links, the generated reference, and the check of the built site."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import build_site
import pytest
import yaml
from page_commands import blocks
from reference_pages import commands_text, names_text
from run_page import Block, Done, shortened, updated
from site_check import problems
from site_pages import ROOT, PageError, Pages, outside_fences

import hidden_two_stream as hts
from hidden_two_stream.cli.main import COMMANDS

GOOD = '<h2 id="a">A</h2><a href="other.html#b">x</a><a href="#a">y</a><img src="p.png"><a href="https://a.org">z</a>'
OTHER = '<h2 id="b">B</h2><a href="index.html">x</a><link rel="canonical" href="https://a.org/other">'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other.html").write_text(OTHER)
    (tmp_path / "p.png").write_bytes(b"png")
    return tmp_path


def test_a_good_site_has_no_problems(site: Path) -> None:
    assert problems(site) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ('<a href="missing.html">x</a>', "links to 'missing.html', which does not exist"),
        ('<a href="data/table.csv">x</a>', "links to 'data/table.csv', which does not exist"),
        ('<a href="other.html#c">x</a>', "links to 'other.html#c', but that page has no such anchor"),
        ('<a href="#c">x</a>', "links to '#c', but that page has no such anchor"),
        ('<img src="q.png">', "links to 'q.png', which does not exist"),
        ('<source srcset="p.png 1x, q.png 2x">', "links to 'q.png', which does not exist"),
        ('<script src="https://cdn.example.com/x.js"></script>', "loads 'https://cdn.example.com/x.js'"),
        ('<link rel="stylesheet" href="//fonts.example.com/x">', "loads '//fonts.example.com/x'"),
        ("<p>/home/somebody/video.mp4</p>", "holds the machine path '/home/somebody'"),
    ],
)
def test_a_planted_problem_is_found(site: Path, planted: str, said: str) -> None:
    (site / "index.html").write_text(GOOD + planted)
    (found,) = problems(site)
    assert said in found
    assert found.startswith("index.html: ")


def test_a_style_sheet_that_loads_a_font_is_found(site: Path) -> None:
    (site / "x.css").write_text("@font-face { src: url('https://fonts.example.com/a.woff2') }")
    (found,) = problems(site)
    assert "fonts.example.com" in found


def test_an_empty_site_is_a_problem(tmp_path: Path) -> None:
    assert "build the site first" in problems(tmp_path)[0]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for folder in ("docs", "notebooks", "examples"):
        (root / folder).mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (root / name).write_text(f"# {name}\n\n[a](docs/a.md#x)\n")
    (root / "examples" / "run.py").write_text("print(1)\n")
    return root


def test_links_out_of_the_docs_lead_to_pages(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "a.md").write_text(
        "# A\n\n[b](../README.md) [c](../CONTRIBUTING.md#set-up) [several\nlines](../examples/run.py) "
        "[d](#x)\n"
        "<!-- generated: more -->\n```\n[e](../not/a/link.md)\n```\n"
    )
    Pages(tmp_path / "pages", repository).write({"more": "generated text"})
    text = (tmp_path / "pages" / "a.md").read_text()
    assert (
        "[b](index.md) [c](contributing.md#set-up) [several\nlines](source-examples-run-py.md) [d](#x)"
        in text
    )
    assert "generated text" in text
    assert "[e](../not/a/link.md)" in text
    assert "~~~~python\nprint(1)\n~~~~" in (tmp_path / "pages" / "source-examples-run-py.md").read_text()
    assert "[a](a.md#x)" in (tmp_path / "pages" / "contributing.md").read_text()


@pytest.mark.parametrize("link", ["../examples/gone.py", "../../outside.md", "gone.md"])
def test_a_link_to_a_file_that_is_missing_is_refused(repository: Path, tmp_path: Path, link: str) -> None:
    (repository / "docs" / "a.md").write_text(f"# A\n\n[x]({link})\n")
    with pytest.raises(PageError, match=re.escape(link)):
        Pages(tmp_path / "pages", repository).write({})


def test_a_text_that_nothing_generates_is_refused(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "a.md").write_text("<!-- generated: other -->\n")
    with pytest.raises(PageError, match="other"):
        Pages(tmp_path / "pages", repository).write({})


def test_a_link_that_names_a_file_gets_the_title_of_its_page(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "a.md").write_text("# A\n\n[b.md](b.md#x), [the b](b.md), `[b.md]`\n")
    (repository / "docs" / "b.md").write_text("# The *second* page\n\ntext\n")
    Pages(tmp_path / "pages", repository).write({})
    text = (tmp_path / "pages" / "a.md").read_text()
    assert "[The *second* page](b.md#x), [the b](b.md), `[b.md]`" in text


def test_code_stays_as_it_is() -> None:
    text = "a\n```\nb\n~~~~\nc\n```\nd\n~~~~md\n```\ne\n~~~~\nf\n"
    assert outside_fences(text, str.upper) == "A\n```\nb\n~~~~\nc\n```\nD\n~~~~md\n```\ne\n~~~~\nF\n"


def test_all_commands_and_all_public_names_are_in_the_reference() -> None:
    assert re.findall(r"^## hts ([a-z-]+)$", commands_text(), re.MULTILINE) == list(COMMANDS)
    assert "| `--protocol PROTOCOL` |" in commands_text()
    assert "hts predict [options] RUN VIDEO [VIDEO ...]" in commands_text()
    names = re.findall(r"heading: hts\.(\w+)", names_text())
    assert sorted(names) == sorted(set(hts.__all__) - {"__version__"})


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([\w-]+\.md)$", text, re.MULTILINE))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} | {"contributing.md", "changelog.md"}
    notebooks = {f"notebook-{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert listed == pages | notebooks
    assert yaml.safe_load(text)["theme"]["font"] is False


def test_comments_for_tests_are_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- test: skip, needs a camera; 0 = clip.mp4 -->\n```\nhts stream runs/mine 0\n```\n")
    (block,) = blocks(page)
    assert (block.skip, block.replaced, block.line) == ("needs a camera", {"0": "clip.mp4"}, 3)
    for wrong in ("<!-- test: perhaps -->\n```\nx\n```\n", "<!-- test: skip, needs x -->\ntext\n"):
        page.write_text(wrong)
        with pytest.raises(ValueError, match="expected"):
            blocks(page)


def test_an_update_writes_outputs_and_times(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ hts a\nold\n…\nlast\n$ hts b\n```\n<!-- times --><!-- /times -->\n")
    (block,) = blocks(page)
    done = [Done("hts a", 0, "1\n2\n3\n4\n", "", 2.4), Done("hts b", 0, "not shown\n", "", 1.0)]
    text = updated(page.read_text(), [(block, done)])
    assert "```console\n$ hts a\n1\n…\n4\n$ hts b\n```\n" in text
    assert "| `hts a` | 2 |" in text
    assert "| all | 3 |" in text
    assert "Machine: " in text
    assert shortened(["1", "2"], ["a", "…", "b"]) == ["1", "2"]
    assert isinstance(block, Block)


@pytest.mark.slow
def test_a_broken_link_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make docs` in CI builds the good site; this plants a link to a missing anchor, and mends it."""
    if not (os.environ.get("CI") or find_spec("zensical")):
        pytest.skip("no Zensical here; the extra docs has it")
    texts = build_site.generated()
    monkeypatch.setattr(build_site, "generated", lambda: {**texts, "commands": "[x](usage.md#gone)"})
    assert build_site.main() == 1
    assert "anchor does not exist" in capsys.readouterr().err
    monkeypatch.undo()
    assert build_site.main() == 0
    assert "every link checked" in capsys.readouterr().out
