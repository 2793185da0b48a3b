"""Flow files and flow videos, written from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.flow_export import FlowExport, export_flow
from hidden_two_stream.motion.flo import read_flo
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.reader import probe
from hidden_two_stream.video.writer import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of 33 × 48 px."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, generate_clip("left", 2, num_frames=5, size=48).frames[:, :33])
    return path


def test_flo_files_hold_the_flow_of_the_estimator(video: Path, tmp_path: Path) -> None:
    estimator = hidden_two_stream.motion_estimator("nano")
    exported = export_flow(estimator, video, tmp_path / "flo", short_side=64)
    assert exported == FlowExport(str(video), str(tmp_path / "flo"), 4, 64, None)
    assert list(exported.to_dict()) == ["source", "output", "num_pairs", "short_side", "warnings"]
    written = np.stack([read_flo(path) for path in sorted((tmp_path / "flo").iterdir())])
    np.testing.assert_array_equal(written, estimator.flow(video, 64))


def test_a_flow_video_has_even_sides_and_names_its_scale(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    estimator = hidden_two_stream.motion_estimator("nano")
    exported = export_flow(estimator, str(video))
    assert (exported.output, exported.num_pairs, exported.short_side) == ("clip.flow.mp4", 4, 33)
    assert exported.to_dict()["max_px"] == exported.max_px
    assert exported.max_px is not None
    assert exported.max_px >= 0.5
    info = probe(tmp_path / "clip.flow.mp4")
    assert (info.num_frames, info.height, info.width) == (4, 32, 96)
    assert export_flow(estimator, video, tmp_path / "given.mp4", max_px=3.0).max_px == 3.0


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("flow.txt", {}, "name a video such as flow.mp4, or a folder"),
        ("flo", {"max_px": 3.0}, "--max-px sets colors.*leave it out"),
        ("flow.mp4", {"max_px": 0.0}, "--max-px is 0.0; expected a positive number"),
    ],
)
def test_wrong_arguments_are_named_before_the_video_is_opened(
    out: str, options: dict[str, float], message: str, tmp_path: Path
) -> None:
    estimator = hidden_two_stream.motion_estimator("nano")
    with pytest.raises(UsageError, match=message):
        export_flow(estimator, tmp_path / "nowhere.mp4", tmp_path / out, max_px=options.get("max_px"))
    assert not list(tmp_path.iterdir())
