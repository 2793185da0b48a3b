"""API keys: from a file and the environment, checked without showing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hidden_two_stream.apps.service.keys import KEY_VARIABLE, KeyCheck, read_keys
from hidden_two_stream.errors import UsageError

KEY, OTHER = "0123456789abcdef", "fedcba9876543210!"


def test_keys_of_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the front end\n{KEY}\n\n{KEY}\n")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_keys(None) == ()
    assert read_keys(file) == (KEY,)
    monkeypatch.setenv(KEY_VARIABLE, OTHER)
    assert read_keys(file) == (KEY, OTHER)


@pytest.mark.parametrize("text", ["short", "with space 0123456789", "ключ-0123456789abcdef", ""])
def test_a_wrong_key_is_not_shown(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, text)
    with pytest.raises(UsageError) as caught:
        read_keys(None)
    assert "expected 16 or more ASCII" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_a_file_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    (tmp_path / "keys").write_text("# none\n")
    with pytest.raises(UsageError, match="holds no API key"):
        read_keys(tmp_path / "keys")
    with pytest.raises(UsageError, match="cannot read API keys"):
        read_keys(tmp_path / "missing")


@pytest.mark.parametrize(
    ("authorization", "api_key", "accepted"),
    [
        (f"Bearer {KEY}", None, True),
        (f"bearer {OTHER}", None, True),
        (None, KEY, True),
        (f"Bearer {KEY}", OTHER, True),
        ("Basic dXNlcjpwYXNz", OTHER, False),
        ("", OTHER, False),
        ("Bearer wrong", OTHER, False),
        (f"Bearer {KEY}", "wrong", False),
        (None, None, False),
        (KEY, None, False),
        (f"Basic {KEY}", None, False),
        ("Bearer ", "", False),
        (None, KEY[:-1], False),
        (None, KEY + "x", False),
    ],
)
def test_check(authorization: str | None, api_key: str | None, accepted: bool) -> None:
    assert KeyCheck((KEY, OTHER)).accepts(authorization, api_key) is accepted
    assert KeyCheck(()).accepts(authorization, api_key)
