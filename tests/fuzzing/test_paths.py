"""Names that come out of files never lead out of a folder: known ones, and seeded random ones."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import hidden_two_stream as hts
from fuzz import writers
from hidden_two_stream.checkpoint import METRICS_FILE, read_metrics
from hidden_two_stream.data.annotations.files import write_annotations
from hidden_two_stream.data.annotations.model import Annotations, video_id
from hidden_two_stream.data.annotations.table import FORMATS
from hidden_two_stream.errors import CheckpointError, DataError, HiddenTwoStreamError, OutputError
from hidden_two_stream.evaluation.score_files import read_scores
from hidden_two_stream.export.web_runtime import Package, _unpacked
from hidden_two_stream.files import atomic_write, folder_names, make_folder, write_text
from hidden_two_stream.training.lock import LOCK_FILE, folder_lock
from hidden_two_stream.training.log import MetricsLog
from hidden_two_stream.types import Segment
from hidden_two_stream.weights.fetch import read_state_dict

KNOWN = (
    "..", ".", "", "/", "../x", "../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\x", "..\\..\\x",
    "\\\\s\\x", "~", "~root", "a\0b", "con", "a.", " ", "\n", "\ud800", "\udcff", "x" * 5000,
    "é" * 200, "-rf", "$HOME", "file:///x", "%2e%2e/",
)  # fmt: skip
PARTS = (
    "..",
    ".",
    "/",
    "\\",
    "a",
    "é",
    "\0",
    ":",
    " ",
    "\n",
    "~",
    "\udc80",
    "\u202e",
    "mp4",
    "C",
    "%2e",
    "-",
)


def names(count: int, seed: int = 0) -> Iterator[str]:
    yield from KNOWN
    random = Random(seed)
    for _ in range(count):
        yield "".join(random.choice(PARTS) for _ in range(random.randint(1, 9)))


def everything_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


# -- names of classes, subjects and videos as folders and files


@pytest.mark.parametrize("prefix", ["", "fold_"])
def test_the_folder_of_a_name_is_a_single_new_folder(tmp_path: Path, prefix: str) -> None:
    wanted = list(dict.fromkeys(names(500)))
    found = folder_names(wanted, prefix)
    assert list(found) == wanted
    assert len(set(found.values())) == len(wanted)
    (tmp_path / "inside").mkdir()
    for name in found.values():
        assert not {"/", "\\", "\0", ":"} & set(name)
        assert name not in ("", ".", "..")
        (tmp_path / "inside" / name).mkdir()
    assert os.listdir(tmp_path) == ["inside"]
    assert len(os.listdir(tmp_path / "inside")) == len(wanted)


def test_the_name_of_a_video_has_no_folders() -> None:
    for name in names(2000):
        assert not {"/", "\\"} & set(video_id(name))


@pytest.mark.parametrize(
    "target", [item.name for item in FORMATS.values() if item.folder or not item.holds.videos]
)
def test_label_files_of_many_videos_stay_in_their_folder(tmp_path: Path, target: str) -> None:
    """Such folders hold a file per video, or per label, by its name."""
    written = 0
    for number, name in enumerate(names(150, seed=1)):
        root = tmp_path / str(number)
        root.mkdir()
        label = name if target == "thumos14" else "walk"
        try:
            items = [
                replace(
                    Annotations.of(video, [Segment(0.0, 1.0, label)], [label]), duration_seconds=2.0, fps=25
                )
                for video in ((name or "x"), "videos/other.mp4")
            ]
            write_annotations(root / "out", items, target, lossy=True)
        except HiddenTwoStreamError:
            continue
        finally:
            outside = everything_below(root) - {
                path for path in everything_below(root) if path.startswith("out")
            }
            assert outside == set(), name
        written += 1
    assert all(name.isdigit() for name in os.listdir(tmp_path))
    assert written > 5


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched", encoding="utf-8")
    (tmp_path / "out.txt").symlink_to(secret)
    write_text(tmp_path / "out.txt", "new")
    assert secret.read_text(encoding="utf-8") == "untouched"
    assert not (tmp_path / "out.txt").is_symlink()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="Windows cannot refuse links so")
def test_the_lock_of_a_folder_from_elsewhere_empties_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK_FILE).symlink_to(secret)
    with pytest.raises(OutputError, match=r"cannot write .*\.lock"), folder_lock(tmp_path / "run"):
        pass
    assert secret.read_text(encoding="utf-8") == "untouched"


@pytest.mark.parametrize("exists", [True, False])
def test_the_log_of_a_folder_from_elsewhere_is_written_nowhere_else(tmp_path: Path, exists: bool) -> None:
    secret = tmp_path / "secret"
    if exists:
        secret.write_text("untouched", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / METRICS_FILE).symlink_to(secret)
    log = MetricsLog(tmp_path / "run", "motion", 0)
    log.write("motion", 1, {"loss": 0.5})
    log.close()
    assert [line["step"] for line in read_metrics(tmp_path / "run")] == [1]
    assert secret.exists() == exists
    assert not exists or secret.read_text(encoding="utf-8") == "untouched"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="no file can have this name"), atomic_write(tmp_path / name):
        pass
    with pytest.raises(OutputError, match="no file can have this name"):
        make_folder(tmp_path / name)


# -- members of archives


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(values: Any) -> bytes:
    written = io.BytesIO()
    np.save(written, values)
    return written.getvalue()


def test_members_of_score_files_are_not_written_anywhere(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    for number, name in enumerate(names(60)):
        if "\0" in name or len(name) > 1000:
            continue
        member = name.encode("utf-8", "replace").decode() + ".npy"
        path = zipped(root / f"{number}.npz", **{member: npy(np.zeros((2, 3)))})
        with_scores = read_scores(str(path))
        assert [len(scores.values) for scores in with_scores] == [2]
    assert everything_below(tmp_path) == {"a", "a/b", *(f"a/b/{p.name}" for p in root.glob("*.npz"))}


def test_a_pickle_inside_of_a_score_or_weight_file_is_not_run(tmp_path: Path) -> None:
    import pickle

    marker = tmp_path / "ran"
    evil = pickle.dumps(_Touch(str(marker)))
    objects = (
        npy(np.zeros(2))[:10]
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 2), }".ljust(117)
        + b"\n"
        + evil
    )
    with pytest.raises(DataError, match="Python objects, which are not read"):
        read_scores(str(zipped(tmp_path / "a.npz", **{"temporal.npy": objects})))
    for name, content in (("a.pth", evil), ("b.pth", None)):
        path = tmp_path / name
        if content is None:
            zipped(
                path, **{"archive/data.pkl": evil, "archive/version": b"3\n", "archive/byteorder": b"little"}
            )
        else:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match="Files that could run code are not loaded"):
            read_state_dict(path)
    assert not marker.exists()
    pickle.loads(evil)
    assert marker.exists()  # so the pickle does what it is for


class _Touch:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (self._path,))


def test_an_archive_of_the_page_s_libraries_gives_only_what_was_asked_for(tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        for name in ("package/good.js", "../evil.js", "/tmp/evil.js"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            packed.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("package/link.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    package = Package("x", "1", "0", "MIT", {"package/good.js": "good.js"})
    assert _unpacked(archive, package) == {"good.js": b"abc"}
    assert everything_below(tmp_path) == {"a.tgz"}


# -- other files that a file names


@pytest.mark.parametrize("place", ["../secret.bin", "ABSOLUTE", "link.bin", "/dev/zero"])
def test_an_exported_model_reads_no_file_elsewhere(tmp_path: Path, place: str) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(6, np.float32).tobytes())
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    writers.write_onnx(folder)
    model = onnx.load(folder / "model.onnx")
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "weight"]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": str(secret) if place == "ABSOLUTE" else place, "offset": "0", "length": "24"}
    for key, value in entries.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=r"model\.onnx' cannot be used by ONNX Runtime"):
        hts.load_onnx(folder / "model.onnx")


def test_the_weights_that_others_share_are_a_name_of_the_package(tmp_path: Path) -> None:
    from hidden_two_stream.tensors import read_tensors, write_tensors
    from hidden_two_stream.weights.motion import KEY, motion_weights_info

    writers.write_motion_weights(tmp_path)
    tensors, metadata = read_tensors(tmp_path / "motion.safetensors")
    for name in names(30):
        described = json.loads(metadata[KEY]) | {"shares": [name, "0" * 64]}
        write_tensors(tmp_path / "a.safetensors", tensors, {KEY: json.dumps(described)})
        with pytest.raises(CheckpointError, match="shares layers with the weights"):
            motion_weights_info(tmp_path / "a.safetensors")


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "x" * 300, "..", "a\0b"])
def test_shards_of_an_image_encoder_lie_beside_their_list(tmp_path: Path, shard: str) -> None:
    from hidden_two_stream.weights.image_encoder import _weights_folder

    (tmp_path / "model.safetensors").touch()
    folder = tmp_path / "encoder"
    folder.mkdir()
    listed = {"weight_map": {"a": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(CheckpointError, match="has no file"):
        _weights_folder(str(folder))
