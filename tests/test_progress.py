"""Progress and messages reach a listener, quiet or not."""

from __future__ import annotations

import pytest

from hidden_two_stream.progress import ProgressLine, lazy_progress, listening, note


class Heard:
    def __init__(self) -> None:
        self.lines: list[object] = []

    def progressed(self, title: str, done: int, total: int, note: str) -> None:
        self.lines.append((title, done, total, note))

    def noted(self, text: str) -> None:
        self.lines.append(text)


def test_a_listener_hears_progress_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    heard = Heard()
    with listening(heard), ProgressLine("motion", 3, quiet=True) as line:
        line.update(1, "loss 0.5")
        note("two videos", quiet=True)
    line.update(2)
    note("later", quiet=True)
    assert heard.lines == [("motion", 1, 3, "loss 0.5"), "two videos"]
    assert capsys.readouterr().err == ""


def test_an_error_ends_listening() -> None:
    heard = Heard()
    with pytest.raises(RuntimeError), listening(heard):
        raise RuntimeError
    note("later", quiet=True)
    assert heard.lines == []


def test_lazy_progress_begins_with_its_first_call(capsys: pytest.CaptureFixture[str]) -> None:
    heard = Heard()
    with listening(heard), lazy_progress("explain") as progress:
        assert heard.lines == []
        progress(1, 2)
        progress(2, 2)
    assert heard.lines == [("explain", 1, 2, ""), ("explain", 2, 2, "")]
    assert capsys.readouterr().err == ""


def test_a_passing_task_has_a_line_only_if_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("hidden_two_stream.progress.time.monotonic", lambda: now)
    with ProgressLine("decode", 2, passing=True) as line:
        line.update(1)
        now = 60.0
        line.update(2)
    assert capsys.readouterr().err.split() == ["decode", "2/2", "0", "s", "left"]


def test_the_bar_of_a_passing_task_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    erased = "\x1b[2K"
    for passing in (False, True):
        with ProgressLine("decode", 1, passing=passing) as line:
            line.update(1)
        assert capsys.readouterr().err.rstrip("\n").endswith(erased) == passing
