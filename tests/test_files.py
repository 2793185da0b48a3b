"""Atomic writes: complete or not at all, with errors that name the obstacle."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from pathlib import Path

import pytest

from hidden_two_stream.errors import OutputError
from hidden_two_stream.files import (
    atomic_folder,
    atomic_write,
    folder_names,
    holds_nothing,
    make_folder,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, error: BaseException) -> None:
    with atomic_write(path) as part:
        part.write_text("half")
        raise error


def test_the_file_appears_complete_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.npz"
    target.write_text("old")
    with atomic_write(str(target)) as part:
        assert part.parent == tmp_path
        assert part.suffix == ".npz"
        part.write_text("new, first half, ")
        assert target.read_text() == "old"
        with part.open("a") as file:
            file.write("second half")
    assert target.read_text() == "new, first half, second half"
    assert names(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("error", [ValueError("a slip"), KeyboardInterrupt()])
def test_an_error_in_the_block_passes_and_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.txt").write_text("old")
    for name in ("a.txt", "b.txt"):
        with pytest.raises(type(error)):
            write_half(tmp_path / name, error)
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OutputError, match=r"a\.txt.*: No space left on device; expected") as caught:
        write_half(tmp_path / "a.txt", OSError(28, "No space left on device"))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_block_that_writes_nothing_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.txt"), atomic_write(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["file/a.txt", "file/deeper/a.txt", "folder", ""])
@pytest.mark.parametrize("make_parents", [False, True])
def test_an_obstacle_is_named(tmp_path: Path, target: str, make_parents: bool) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"cannot write '.*; expected .*; choose") as caught:
        write_text(tmp_path / target, "text", make_parents=make_parents)
    assert str(tmp_path / target) in str(caught.value).replace("\\\\", "\\")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_an_obstacle_is_reported_before_the_block_runs(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists and is not a regular file"), atomic_write(tmp_path):
        pytest.fail("the block was entered")


@pytest.mark.skipif(sys.platform == "win32", reason="devices are no paths there")
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="exists and is not a regular file"):
        write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_text(locked / "a.txt", "text")
    with pytest.raises(OutputError, match="locked"):
        make_folder(locked)
    with pytest.raises(OutputError, match="Permission denied"):
        make_folder(locked / "deeper")


def test_parents_are_created_only_on_request(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.txt"):
        write_text(tmp_path / "new" / "deep" / "a.txt", "text")
    assert names(tmp_path) == []
    write_text(tmp_path / "new" / "deep" / "a.txt", "text", make_parents=True)
    assert (tmp_path / "new" / "deep" / "a.txt").read_text() == "text"


def test_the_longest_names_that_the_system_allows(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".txt", "日" * 83 + ".txt"):
        write_text(tmp_path / name, "text")
    assert len(names(tmp_path)) == 2


def test_text_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Vögel\n歩く人\n")
    assert (tmp_path / "a.txt").read_bytes() == "Vögel\n歩く人\n".encode()


def test_json_reads_back_names_that_are_not_text(tmp_path: Path) -> None:
    data = {"path": "bad\udcffname.avi", "score": 0.5, "名": [1, None]}
    write_json(tmp_path / "a.json", data)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == data
    assert "名" in text
    assert text.endswith("}\n")


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", [object()])
    assert json.loads((tmp_path / "a.json").read_text()) == [1]


def test_make_folder(tmp_path: Path) -> None:
    for _ in range(2):
        assert make_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(OutputError, match="cannot create the folder"):
            make_folder(target)


# -- names of folders


@pytest.mark.parametrize(
    "texts",
    [
        ("S/1", "S_1", "S 1"),
        ("anna", "Anna", "ANNA"),
        ("straße", "STRASSE"),
        ("\u00e9", "\u0065\u0301", "e_"),
        ("a.", "a", "a.."),
        ("x" * 300, "x" * 301),
        ("a\udcff", "a\udcfe", "a_"),
        ("", ".", "..", "/", "\0"),
        ("con", "CON.txt", "aux", "nul.", "com1", "lpt9.a"),
        ("ﬁ", "fi"),
        ("😀", "🎉"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "fold_"])
def test_folder_names_differ_on_every_file_system(
    texts: tuple[str, ...], prefix: str, tmp_path: Path
) -> None:
    found = folder_names(texts, prefix)
    assert list(found) == list(texts)
    on_disk = {unicodedata.normalize("NFKC", name).casefold().rstrip(". ") for name in found.values()}
    assert len(on_disk) == len(texts)
    for name in found.values():
        assert name.startswith(prefix)
        assert name.partition(".")[0].casefold() not in ("con", "aux", "nul", "com1", "lpt9", "")
        (tmp_path / name).mkdir()  # short enough, no "/", no NUL
        assert (tmp_path / name).parent.resolve() == (tmp_path / name).resolve().parent
    assert folder_names(reversed(texts), prefix) == found


def test_ordinary_folder_names_stay(tmp_path: Path) -> None:
    assert folder_names(["1", "anna", "2024-05-06", "a b", "été"], "fold_") == {
        "1": "fold_1", "anna": "fold_anna", "2024-05-06": "fold_2024-05-06", "a b": "fold_a_b",
        "été": "fold_été",
    }  # fmt: skip


def test_a_text_that_looks_like_a_hashed_name_has_another_folder() -> None:
    taken = folder_names(["S/1", "S_1"])["S/1"]
    found = folder_names(["S/1", "S_1", taken])
    assert len(set(found.values())) == 3


def test_the_content_is_on_the_disk_before_the_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure, a file system may know a new name whose content it never wrote."""
    events: list[tuple[str, int]] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append(("synced", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def replaced(part: Path, target: Path) -> Path:
        events.append(("replaced", part.stat().st_ino))
        return replace(part, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_text(tmp_path / "a.txt", "text")
    number = (tmp_path / "a.txt").stat().st_ino
    assert events == [("synced", number), ("replaced", number)]


def test_a_folder_appears_complete_at_the_end(tmp_path: Path) -> None:
    """Also in place of one in which only a killed process left something."""
    target = tmp_path / "card"
    target.mkdir()
    (target / ".model.0123abcd.part.safetensors").write_text("half")
    assert holds_nothing(target)
    with atomic_folder(target) as part:
        assert part.parent == tmp_path
        (part / "a.txt").write_text("a")
        assert names(target) == [".model.0123abcd.part.safetensors"]
    assert names(tmp_path) == ["card"]
    assert names(target) == ["a.txt"]
    assert not holds_nothing(target)


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_an_error_leaves_no_folder(tmp_path: Path, error: BaseException) -> None:
    def fill() -> None:
        with atomic_folder(tmp_path / "card") as part:
            (part / "a.txt").write_text("a")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert names(tmp_path) == []


def test_a_folder_with_something_in_it_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(OutputError, match="cannot write"), atomic_folder(tmp_path) as part:
        (part / "b.txt").write_text("b")
    assert names(tmp_path) == ["a.txt"]


def test_what_holds_nothing(tmp_path: Path) -> None:
    assert holds_nothing(tmp_path / "none")
    assert holds_nothing(tmp_path)
    (tmp_path / "file").touch()
    assert not holds_nothing(tmp_path)
    with pytest.raises(OutputError, match="expected a new or empty folder"):
        holds_nothing(tmp_path / "file")
