"""The report of a run: what it shows of the recognizer and its videos."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.evaluation.accuracy import evaluate_videos
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.synthetic.dataset import write_dataset


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    """Eight videos with exact motion."""
    root = tmp_path_factory.mktemp("data")
    index = write_dataset(root, train_per_class=1, test_per_class=0, num_frames=8, size=32)
    return open_clip_cache(read_dataset_index(index).samples, 32)


@pytest.mark.parametrize("stride", [1, 2])
def test_true_flow_is_shown_only_for_consecutive_frames(
    stride: int, videos: ClipCache, tmp_path: Path
) -> None:
    """It is the motion from one frame to the next; a clip with a stride of 2 shows another motion."""
    recipe = load_recipe(
        "nano", {"model.num_frames": 3, "input.size": 32, "input.resize": 32, "input.frame_stride": stride}
    )
    torch.manual_seed(0)
    recognizer = Recognizer(build_model(recipe, 8), RunInfo(recipe, tuple("abcdefgh")))
    page = write_run_report(tmp_path, recognizer, None, {}, videos, "Run").read_text(encoding="utf-8")
    shown = len(re.findall(r"end-point error [0-9.]+ px; zero flow [0-9.]+ px", page))
    assert shown == (8 if stride == 1 else 0)
    assert len(re.findall(r"full color: [0-9.]+ px<", page)) == 8 - shown


def test_examples_show_where_each_stream_sees_its_evidence(videos: ClipCache, tmp_path: Path) -> None:
    recipe = load_recipe("nano", {"model.num_frames": 3, "input.size": 32, "input.resize": 32})
    torch.manual_seed(0)
    classes = tuple(sorted({sample.label for sample in videos.samples}))
    model = build_model(recipe, len(classes)).eval()
    recognizer = Recognizer(model, RunInfo(recipe, classes, RunMetadata(stages=("spatial", "temporal"))))
    evaluation = evaluate_videos(recognizer, videos, parse_protocol("center"))
    page = write_run_report(tmp_path, recognizer, evaluation, {}, videos, "Run").read_text(encoding="utf-8")
    assert page.count("evidence in the frame</figcaption>") == 8
    assert page.count("evidence in the motion</figcaption>") == 8
    folds: list[dict[str, float | str]] = [{"fold": "one", "fused": 0.5}, {"fold": "mean", "fused": 0.5}]
    page = write_run_report(tmp_path, recognizer, evaluation, {}, videos, "Run", folds=folds).read_text(
        encoding="utf-8"
    )
    assert "evidence in the" not in page
