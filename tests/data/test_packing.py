"""Packing: plain tar files with the original bytes, the same every time, and an index that is true."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.data import packing, shard_files
from hidden_two_stream.data.clip_cache import DecodedVideo, decode_video, open_clip_cache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.packed import known_video
from hidden_two_stream.data.packing import pack, shard_bytes
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError, OutputError, UsageError, VideoError
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.finding import expand_sources
from hidden_two_stream.video.shards.addresses import INDEX_NAME, PLAN_NAME
from hidden_two_stream.video.writer import write_video

SMALL_SHARDS = 30_000


def noise(num_frames: int, seed: int) -> RawClip:
    """Blocks of random color that drift."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([np.roll(blocks, (n, 2 * n), (0, 1)) for n in range(num_frames)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos of two classes, one of them damaged."""
    root = tmp_path_factory.mktemp("videos")
    for label in ("run", "walk"):
        (root / label).mkdir()
        for n in range(6):
            write_video(root / label / f"{n}.mp4", noise(5 + n, n + len(label)), fps=10)
    (root / "walk" / "5.mp4").write_bytes(b"no video at all" * 9)
    return root


@pytest.fixture(scope="module")
def listing(folder: Path) -> Path:
    """A CSV of the same videos: parts, a split and groups; parts of one video lie apart."""
    rows = [
        "path,label,split,start_seconds,end_seconds,subject",
        "run/0.mp4,run,train,,,anna",
        "walk/4.mp4,walk,train,0.2,0.5,ben",
        "run/5.mp4,run,test,,0.4,anna",
        "walk/1.mp4,walk,test,0.1,,ben",
        "walk/4.mp4,walk,train,0.6,,ben",
        "walk/2.mp4,walk,train,7,9,ben",
        "walk/9.mp4,walk,train,,,ben",
    ]
    path = folder / "labels.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    result = pack(folder, out, SMALL_SHARDS, workers=0, quiet=True)
    assert (result.num_videos, result.num_samples, len(result.unreadable)) == (12, 12, 1)
    assert result.num_shards > 2
    return out


def relative(samples: tuple[Sample, ...], root: Path) -> list[tuple[Any, ...]]:
    return [
        (s.path.removeprefix(f"{root}{os.sep}"), s.label, s.split, s.start_seconds, s.end_seconds, s.columns)
        for s in samples
    ]


# -- shards ----------------------------------------------------------------------------------------


def test_shards_are_plain_tar_files_of_the_original_bytes(folder: Path, packed: Path) -> None:
    found: dict[str, bytes] = {}
    for shard in sorted(packed.glob("*.tar")):
        with tarfile.open(shard, "r:") as tar:
            members = tar.getmembers()
            for video, about in zip(members[::2], members[1::2], strict=True):
                stem, dot, suffix = video.name.partition(".")
                assert (dot, suffix, about.name) == (".", "mp4", f"{stem}.json")
                assert (video.mtime, video.uid, video.uname, video.mode) == (0, 0, "", 0o644)
                described = json.load(tar.extractfile(about))  # type: ignore[arg-type]
                found[described["name"]] = tar.extractfile(video).read()  # type: ignore[union-attr]
                (sample,) = described["samples"]
                assert sample["label"] == described["name"].partition("/")[0]
        assert shard.stat().st_size <= 2 * SMALL_SHARDS
    assert found == {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mp4")}


def test_the_index_says_where_each_video_lies(folder: Path, packed: Path) -> None:
    index = json.loads((packed / INDEX_NAME).read_text())
    assert [entry["size"] for entry in index["shards"]] == [
        (packed / entry["name"]).stat().st_size for entry in index["shards"]
    ]
    for member in index["members"]:
        with open(packed / index["shards"][member["shard"]]["name"], "rb") as shard:
            shard.seek(member["offset"])
            content = shard.read(member["size"])
        assert content == (folder / member["name"]).read_bytes()
        assert member["sha256"] == hashlib.sha256(content).hexdigest()
        if member["unreadable"] is None:
            assert (member["height"], member["width"], member["fps"]) == (24, 32, 10.0)
            assert member["frames"] == 5 + int(Path(member["name"]).stem)


def test_the_same_data_gives_the_same_bytes(folder: Path, packed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    for path in moved.rglob("*.mp4"):
        os.utime(path, (1, 1))
    pack(moved, tmp_path / "again", SMALL_SHARDS, workers=1, quiet=True)
    files = sorted(path.name for path in packed.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == files
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (packed / name).read_bytes()


def test_a_large_video_has_a_shard_of_its_own(folder: Path, tmp_path: Path) -> None:
    assert pack(folder, tmp_path / "out", 10_000, workers=0, quiet=True).num_shards == 11  # one is tiny


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 10**9), ("1.5 gb", 15 * 10**8), ("512MiB", 1 << 29), ("20000", 20_000), (20_000, 20_000)],
)
def test_sizes_of_shards(text: str | int, size: int) -> None:
    assert shard_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "9999", "-1GB", "1PB", "nan", "1e9", "GB", "1 B B"])
def test_wrong_sizes_of_shards(text: str) -> None:
    with pytest.raises(UsageError, match="the shard size is"):
        shard_bytes(text)


# -- reading back ----------------------------------------------------------------------------------


def test_the_samples_are_those_of_the_folder(folder: Path, packed: Path) -> None:
    files, shards = read_dataset_index(folder), read_dataset_index(packed)
    assert relative(shards.samples, packed / INDEX_NAME) == relative(files.samples, folder)
    assert shards.classes == files.classes
    assert read_dataset_index(packed / INDEX_NAME).samples == shards.samples
    assert absolute_data(packed / INDEX_NAME) == absolute_data(packed) == str(packed.resolve())


def test_parts_splits_and_groups_stay(folder: Path, listing: Path, tmp_path: Path) -> None:
    result = pack(listing, tmp_path / "out", workers=0, quiet=True)
    assert (result.num_samples, result.num_videos, result.num_shards) == (7, 6, 1)
    assert [line.partition(": ")[0] for line in result.unreadable] == ["walk/2.mp4", "walk/9.mp4"]
    files, shards = read_dataset_index(listing), read_dataset_index(tmp_path / "out")
    assert relative(shards.samples, tmp_path / "out" / INDEX_NAME) == relative(files.samples, folder)
    assert shards.samples[1].columns["subject"] == "ben"


def test_paths_with_steps_upward_become_plain_names(folder: Path, tmp_path: Path) -> None:
    (folder / "lists").mkdir()
    path = folder / "lists" / "labels.csv"
    path.write_text("path,label\n../run/0.mp4,run\n../lists/../walk/1.mp4,walk\n", encoding="utf-8")
    pack(path, tmp_path / "out", workers=0, quiet=True)
    shutil.rmtree(folder / "lists")
    names = [s.path.rpartition(f"{INDEX_NAME}/")[2] for s in read_dataset_index(tmp_path / "out").samples]
    assert names == ["run/0.mp4", "walk/1.mp4"]


@pytest.mark.parametrize("fps", [0.0, 4.0, 15.0])
@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_the_index_knows_what_decoding_gives(
    listing: Path, folder: Path, tmp_path: Path, fps: float, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (folder, listing):
        out = tmp_path / data.name
        pack(data, out, SMALL_SHARDS, workers=0, quiet=True)
        files = open_clip_cache(read_dataset_index(data).samples, 16, budget_bytes=budget, fps=fps)
        if not budget:  # then nothing is decoded
            monkeypatch.setattr("hidden_two_stream.data.clip_cache.decode_video", None)
        shards = open_clip_cache(read_dataset_index(out).samples, 16, budget_bytes=budget, fps=fps)
        monkeypatch.undo()
        same(files.videos, shards.videos)
        for index in range(len(files.videos)):
            everything = range(files.videos[index].num_frames)
            assert torch.equal(files.clip(index, everything), shards.clip(index, everything))
        assert [error.reason for _, error in shards.unreadable] == [  # type: ignore[attr-defined]
            getattr(error, "reason", str(error)).replace(str(folder) + os.sep, "") or ""
            for _, error in files.unreadable
        ] or data == listing


def same(files: tuple[DecodedVideo, ...], shards: tuple[DecodedVideo, ...]) -> None:
    for file, shard in zip(files, shards, strict=True):
        for name in ("num_frames", "first_frame", "size", "fps", "warning", "num_bytes", "seconds"):
            assert getattr(file, name) == getattr(shard, name), name
        np.testing.assert_array_equal(file.pts_seconds, shard.pts_seconds)
        np.testing.assert_array_equal(file.numbers, shard.numbers)
        assert file.content is not None
        assert shard.content is not None
        assert (file.content.digest, file.content.num_frames) == (
            shard.content.digest,
            shard.content.num_frames,
        )
        np.testing.assert_array_equal(file.content.outline, shard.content.outline)


def test_real_recordings_are_known_as_they_are_decoded(data_root: Path, tmp_path: Path) -> None:
    """Times that vary, rates such as 29.97, formats that need their suffix, damaged files."""
    found = [
        path
        for folder in ("clips", "faults", "odd")
        for path in sorted((data_root / folder).iterdir())
        if path.is_file()
        and path.stat().st_size < 300_000
        and path.suffix not in (".md", ".csv", ".py", ".txt")
    ]
    assert len(found) > 25
    rows = [f'"{path}",{"ab"[n % 2]}' for n, path in enumerate(found)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    pack(tmp_path / "list.csv", tmp_path / "out", workers=0, quiet=True)
    files = read_dataset_index(tmp_path / "list.csv").samples
    readable = 0
    for file, shard in zip(files, read_dataset_index(tmp_path / "out").samples, strict=True):
        known = known_video(shard, 16, 0.0, None)
        outcomes: list[DecodedVideo | VideoError] = []
        for path in (file.path, shard.path):
            try:
                outcomes.append(decode_video(path, 16, 0, identify=True))
            except VideoError as error:
                outcomes.append(error)
        if isinstance(known, DecodedVideo):
            assert all(isinstance(outcome, DecodedVideo) for outcome in outcomes), outcomes
            same((known, known), tuple(outcomes))  # type: ignore[arg-type]
            readable += 1
        else:
            assert [getattr(outcome, "reason", "readable") for outcome in outcomes] == [known.reason] * 2  # type: ignore[union-attr]
    assert readable > 15


# -- interruptions and refusals --------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_packing_goes_on_after_an_interruption(
    folder: Path, packed: Path, tmp_path: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    described: list[str] = []
    original: Callable[[Any], dict[str, Any]] = shard_files.describe

    def describe(video: Any) -> dict[str, Any]:
        if len(described) == stop_at:
            raise KeyboardInterrupt
        described.append(video.name)
        return original(video)

    out = tmp_path / "out"
    monkeypatch.setattr(shard_files, "describe", describe)
    with pytest.raises(KeyboardInterrupt):
        pack(folder, out, SMALL_SHARDS, workers=0, quiet=True)
    assert "run the same command again" in capsys.readouterr().err
    with pytest.raises(DataError, match="was not packed to its end"):
        read_dataset_index(out)
    with pytest.raises(DataError, match="was not packed to its end"):
        expand_sources([str(out)])
    assert not [path for path in out.iterdir() if ".part" in path.name]
    complete = len(list(out.glob("*.tar")))
    monkeypatch.setattr(
        shard_files, "describe", lambda video: described.append(video.name) or original(video)
    )
    pack(folder, out, SMALL_SHARDS, workers=0, quiet=True)
    assert len(described) < 12 + stop_at if complete else len(described) == 12 + stop_at
    for path in packed.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert not (out / PLAN_NAME).exists()


def test_a_kill_before_the_last_step_or_in_the_first_write_is_no_obstacle(
    folder: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is deleted after the index is written; and before the plan, there is its temporary file."""
    plan, begin = {}, packing.begin_folder

    def kept(out: Path, *rest: Any) -> None:
        begin(out, *rest)
        plan["text"] = (out / PLAN_NAME).read_text()

    monkeypatch.setattr(packing, "begin_folder", kept)
    out = tmp_path / "out"
    out.mkdir()
    (out / ".shards-plan.0123abcd.part.json").write_text("{")
    pack(folder, out, SMALL_SHARDS, workers=0, quiet=True)
    (out / PLAN_NAME).write_text(plan["text"])
    pack(folder, out, SMALL_SHARDS, workers=0, quiet=True)
    assert not (out / PLAN_NAME).exists()
    for path in packed.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_half_packed_folders_of_other_data_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(folder, copy)
    with monkeypatch.context() as patch:
        patch.setattr(shard_files, "describe", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pack(copy, out, SMALL_SHARDS, workers=0, quiet=True)
    with pytest.raises(UsageError, match="other data or another shard size"):
        pack(copy, out, SMALL_SHARDS + 1, workers=0, quiet=True)
    write_video(copy / "run" / "0.mp4", noise(5, 99), fps=10)
    with pytest.raises(UsageError, match="other data or another shard size"):
        pack(copy, out, SMALL_SHARDS, workers=0, quiet=True)
    (out / PLAN_NAME).write_text("{")
    with pytest.raises(UsageError, match="other data or another shard size"):
        pack(copy, out, SMALL_SHARDS, workers=0, quiet=True)


def test_other_folders_are_refused(folder: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds packed videos"):
        pack(folder, packed, quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UsageError, match="is not empty"):
        pack(folder, tmp_path / "other", quiet=True)
    with pytest.raises(DataError, match="packed video"):
        pack(packed, tmp_path / "out", quiet=True)


def test_a_folder_inside_the_data_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="inside the data"):
        pack(folder, folder / "packed", quiet=True)
    assert not (folder / "packed").exists()


def test_frame_folders_and_urls_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        f"path,label\n{folder / 'run' / '0.mp4'},run\nhttp://127.0.0.1:9/a.mp4,walk\n"
    )
    with pytest.raises(DataError, match="1 video cannot be packed, such as the URL"):
        pack(tmp_path / "list.csv", tmp_path / "out", quiet=True)
    (tmp_path / "list.csv").write_text(
        f"path,label\n{folder / 'run' / '0.mp4'},run\n{folder / 'walk'},walk\n"
    )
    with pytest.raises(DataError, match="folder of frames"):
        pack(tmp_path / "list.csv", tmp_path / "out", quiet=True)


def test_a_file_that_changes_meanwhile_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    original = shard_files.describe

    def describe(video: Any) -> dict[str, Any]:
        found = original(video)
        if video.name == "run/3.mp4":
            content = bytearray((copy / video.name).read_bytes())
            content[-1] ^= 1
            (copy / video.name).write_bytes(content)
        return found

    monkeypatch.setattr(shard_files, "describe", describe)
    with pytest.raises(DataError, match=r"3\.mp4' changed while it was packed"):
        pack(copy, tmp_path / "out", workers=0, quiet=True)
    assert not list((tmp_path / "out").glob("*.tar"))


def test_a_full_disk_is_no_fault_of_the_video(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tarfile.TarFile.addfile", full)
    with pytest.raises(OutputError, match=r"cannot write .*shard-000000\.tar': No space left on device"):
        pack(folder, tmp_path / "out", workers=0, quiet=True)


def test_the_command(
    hts: Callable[..., tuple[int, str, str]], folder: Path, listing: Path, tmp_path: Path
) -> None:
    assert listing.parent == folder  # a table with facts to note, which a refusal leaves out
    code, stdout, _ = hts("pack", folder, tmp_path / "out", "--shard-size", "30KB", "--workers", 0, "--json")
    assert code == 1  # one video cannot be decoded
    figures = json.loads(stdout)
    assert (figures["num_videos"], figures["folder"]) == (12, str(tmp_path / "out"))
    assert figures["unreadable"][0].startswith("walk/5.mp4: ")
    code, _, stderr = hts("pack", folder, tmp_path / "out")
    assert (code, len(stderr.splitlines())) == (2, 1)
