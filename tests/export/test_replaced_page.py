"""An exported page that will be replaced is named before the long work begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from hidden_two_stream.export import web


class WorkBeginsError(Exception):
    """The libraries are looked for: what follows takes half a minute."""


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def begins() -> None:
        raise WorkBeginsError

    monkeypatch.setattr(web, "require_libraries", begins)


def test_an_earlier_page_is_named_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, file = tmp_path / "page", tmp_path / "page.html"
    for out, single in ((page, False), (file, True)):
        with pytest.raises(WorkBeginsError):
            web.export_web(None, out, single=single)
        assert capsys.readouterr().err == ""  # nothing is there to replace
    page.mkdir()
    with pytest.raises(WorkBeginsError):
        web.export_web(None, page)
    assert capsys.readouterr().err == ""
    (page / "files.js").write_text("")
    file.write_text("")
    with pytest.raises(WorkBeginsError):
        web.export_web(None, page)
    assert capsys.readouterr().err == f"the new page will replace the one in {str(page)!r}\n"
    with pytest.raises(WorkBeginsError):
        web.export_web(None, file, single=True)
    assert capsys.readouterr().err == f"the new page will replace the file {str(file)!r}\n"
