"""Progress and messages reach a listener, quiet or not."""

from __future__ import annotations

import pytest

from hidden_two_stream.progress import ProgressLine, listening, note


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
