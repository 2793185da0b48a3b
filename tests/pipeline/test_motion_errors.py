"""examples/motion_errors.py: its means against NumPy's, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.synthetic.dataset import load_ground_truth, write_dataset
from hidden_two_stream.weights.motion import save_motion_weights


@pytest.fixture(scope="module")
def example(example_script: Callable[[str], ModuleType]) -> ModuleType:
    return example_script("motion_errors")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_dataset(folder, train_per_class=1, test_per_class=1, num_frames=4, size=32)
    return folder


def test_errors_on_generated_clips(example: ModuleType, clips: Path) -> None:
    """Of no motion: the mean speed of the test clips, by NumPy."""
    videos = example.test_clips(clips)
    assert [video.name for video in videos] == ["test_0000.mp4"] * 8
    known = [load_ground_truth(video) for video in videos]
    speeds = np.stack([np.hypot(*one[0].transpose(1, 0, 2, 3)) for one in known if one is not None])
    moving = np.stack([one[1] for one in known if one is not None])
    found = example.generated_errors(example.Method("zero", example.zero), videos)
    assert found == pytest.approx({"moving px": speeds[moving].mean(), "all px": speeds.mean()}, rel=1e-5)


def test_errors_on_pairs(example: ModuleType) -> None:
    """A flow of 1 px to the right on a grid of half the size is one of 2 px; unknown pixels don't count."""
    pairs = []
    for number, name in enumerate(("Sintel", *example.CHAIRS)):
        truth = np.zeros((2, 8, 8), np.float32)
        truth[0], truth[1] = 2, number
        truth[:, :, 0] = 2e9
        pairs.append(example.Pair(name, np.zeros((2, 8, 8, 3), np.uint8), truth))
    right = np.zeros((1, 2, 4, 4), np.float32)
    right[:, 0] = 1
    found = example.pair_errors(example.Method("right", lambda _: right), pairs)
    assert found == pytest.approx(
        {"Sintel": 0, "Chairs 0": 1, "Chairs 1": 2, "Chairs 2": 3, "Chairs 3": 4, "Chairs mean": 2.5}
    )


def test_table_and_json(
    example: ModuleType, clips: Path, tmp_path: Path, data_root: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A network for three frames is tried on clips alone; all others on pairs as well."""
    monkeypatch.setenv("HTS_TEST_DATA", str(data_root))
    torch.manual_seed(0)
    save_motion_weights(tmp_path / "three.safetensors", build_motion("tiny", 3), "tiny", 3, {})
    arguments = [str(tmp_path / "three.safetensors"), "--generated", str(clips)]
    arguments += ["--without", "tvl1", "dis-medium", "dis-fast", "farneback"]
    arguments += ["--enlarged", "dis-medium@2"]
    assert example.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Machine: ")
    assert lines[1].startswith("Protocol: end-point error, px, ")
    assert [line.count("|") for line in lines[3:]] == [10] * 5
    assert lines[5].startswith("| three |  |  |  |  |  |  | ")
    assert lines[6].startswith("| dis-medium@2 |  |  |  |  |  |  | ")
    assert lines[7].startswith("| zero flow | 2.80 | 6.05 | ")
    assert example.main([*arguments, "--short-side", "32", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [len(row["epe_px"]) for row in printed["rows"]] == [2, 2, 8]
    assert "shorter side of 32 px" in printed["protocol"]
    assert f"{printed['rows'][0]['epe_px']['moving px']:.2f}" != lines[5].split("|")[-3].strip()


def test_slips(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTS_TEST_DATA", str(tmp_path))
    for arguments, message in ((["gone"], "no motion weights 'gone'"), ([], "set HTS_TEST_DATA")):
        assert example.main(arguments) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nano", "nano-fine", "tiny-2"])
def test_shipped_weights_have_the_errors_of_the_docs(example: ModuleType, data_root: Path, name: str) -> None:
    """On the real pairs, within what rounding on another machine may change."""
    page = (Path(example.__file__).parents[1] / "docs" / "motion.md").read_text(encoding="utf-8")
    table = page.split("<!-- errors -->")[1].split("<!-- /errors -->")[0]
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    documented = [float(cell) for cell in row.split("|")[2:8]]
    found = example.pair_errors(example.network(name, "cpu"), example.read_pairs(data_root))
    assert list(found.values()) == pytest.approx(documented, abs=0.02)
