"""Embeddings that fits share: each is computed once, changes nothing, and never meets another network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

import hidden_two_stream as hts
from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import ClipCache, decode_video
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training import embeddings
from hidden_two_stream.training.embeddings import EmbeddingStore, window_embeddings
from hidden_two_stream.training.loop import TrainingRun
from hidden_two_stream.training.resources import Resources

FAST = ("input.size=32", "model.num_frames=4", "calibration.method=held-back")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three clips for training and one for the test."""
    found = write_dataset(
        tmp_path_factory.mktemp("data"), train_per_class=3, test_per_class=1, num_frames=8, size=32
    )
    lines = found.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line == lines[0] or line.split(",")[1] in ("left", "grow")]
    found.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return found


def train(data: Path, out: Path, *changes: str, recipe: str = "quick") -> hts.TrainingResult:
    resources = Resources(accelerator="cpu", workers=0)
    return hts.train(data, out, recipe, (*FAST, *changes), resources=resources)


class Computed:
    """Counts how often each video is embedded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names = Counter[str]()
        original = embeddings._video_embeddings

        def counted(model: object, run: TrainingRun, number: int) -> torch.Tensor:
            self.names[run.cache.samples[number].name] += 1
            return original(model, run, number)

        monkeypatch.setattr(embeddings, "_video_embeddings", counted)


@pytest.mark.parametrize(("recipe", "changes"), [
    ("quick", ()),
    ("nano", ("spatial.steps=1", "temporal.steps=2", "temporal.batch_size=2", "spatial.batch_size=2")),
])  # fmt: skip
def test_each_video_is_embedded_once_and_nothing_changes(
    recipe: str, changes: tuple[str, ...], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = Computed(monkeypatch)
    shared = train(labels, tmp_path / "shared", *changes, recipe=recipe)
    assert len(computed.names) == 6
    assert set(computed.names.values()) == {1}
    monkeypatch.setattr(EmbeddingStore, "of", lambda *_: {})
    alone = train(labels, tmp_path / "alone", *changes, recipe=recipe)
    assert set(computed.names.values()) == {1 + 2 + 1}  # two of three cross-fits, and the fit itself
    ours, others = (read_tensors(run.folder / "model.safetensors")[0] for run in (shared, alone))
    assert all(torch.equal(ours[name], others[name]) for name in others)
    assert shared.recognizer.calibration == alone.recognizer.calibration is not None
    held = [load_scores(run.folder / "held_back.npz") for run in (shared, alone)]
    assert (held[0].logits["temporal"] == held[1].logits["temporal"]).all()


def test_another_network_or_input_never_meets_them(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = Computed(monkeypatch)
    recipe = load_recipe("quick", (*FAST, "input.resize=32"))
    path = str(labels.parent / "videos" / "left" / "train_0000.mp4")
    cache = ClipCache((Sample(path, "left"),), (decode_video(path, 32, 1 << 30),), (), 32)
    run = TrainingRun(Path(), recipe, cache, [0], quiet=True)
    model = build_model(recipe, 2).eval()
    first, _ = window_embeddings(model, run)
    with torch.no_grad():
        model.temporal_stream.fc.weight.add_(1)  # the last layer sees embeddings, and makes none
    assert torch.equal(window_embeddings(model, run)[0], first)
    assert computed.names.total() == 1
    for part in ("motion_net", "temporal_stream.encoder", "temporal_stream.bn0"):
        with torch.no_grad():
            next(iter(model.get_submodule(part).state_dict().values())).add_(0.1)
        assert not torch.equal(window_embeddings(model, run)[0], first), part
    mirrored = window_embeddings(model, run)[0]
    changed = TrainingRun(
        Path(), load_recipe("quick", (*FAST, "input.resize=32", "input.flip=false")), cache, [0], quiet=True,
        embeddings=run.embeddings,
    )  # fmt: skip
    assert len(window_embeddings(model, changed)[0]) == len(mirrored) // 2


def test_calibration_shows_its_progress(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(labels, tmp_path / "run")
    told = [line.split("  ")[0].strip() for line in capsys.readouterr().err.splitlines()]
    assert "calibrate 1 embed 4/4" in told
    assert "calibrate 2 embed 2/2" in told  # the videos that the first one held back
    assert [line for line in told if " test " in line] == [f"calibrate {n} test 2/2" for n in (1, 2, 3)]
