"""Flow of whole videos on disk: what is there is what the estimator gives, and nothing is computed twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.experiments import precomputed_flow as extract_module
from hidden_two_stream.experiments.precomputed_flow import extract_flow
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.parallel import threads


def pictures(seed: int, num_frames: int) -> Tensor:
    """(T, 3, 24, 32) uint8, blurred noise that moves."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, 24, 32 + num_frames, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[0] * 255
    return torch.stack([smooth[:, :, t : t + 32] for t in range(num_frames)]).to(torch.uint8)


@pytest.fixture
def store() -> ClipCache:
    lengths = (7, 1, 4)
    videos = tuple(
        DecodedVideo(f"v{n}", length, 0, (24, 32), None, None, pictures(n, length))
        for n, length in enumerate(lengths)
    )
    return ClipCache(tuple(Sample(f"v{n}", "x") for n in range(3)), videos, (), (24, 32))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_flow_of_every_frame_to_the_one_a_stride_on(store: ClipCache, tmp_path: Path, stride: int) -> None:
    found = extract_flow(store, "farneback", tmp_path / "flow", stride=stride)
    estimate = estimator("farneback")
    for video, given in zip(store.videos, found.videos, strict=True):
        assert video.frames is not None
        assert given.flow.dtype == torch.float16
        assert given.flow.shape == (video.num_frames, 2, 24, 32)
        frames = video.frames.permute(0, 2, 3, 1).numpy()
        for t in range(video.num_frames):
            if t + stride < video.num_frames:
                expected = estimate(np.ascontiguousarray(frames[[t, t + stride]]))[0]
                np.testing.assert_allclose(given.flow[t], expected, atol=0.01, rtol=0.001)
            else:
                assert given.flow[t].abs().max() == 0
    assert found.num_bytes == sum(path.stat().st_size for path in (tmp_path / "flow").glob("*.npy"))
    assert found.seconds > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_estimator_names_the_video(store: ClipCache, tmp_path: Path, workers: int) -> None:
    """`math:sqrt` takes no pictures."""
    with pytest.raises(UsageError, match=r"^v0: flow estimator 'math:sqrt' failed .* TypeError: only"):
        extract_flow(store, "math:sqrt", tmp_path / "flow", workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_flow_is_computed_by_one_thread(
    store: ClipCache, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds of a two-stage method shall not depend on where it was computed."""
    (tmp_path / "counting.py").write_text(
        "import cv2, numpy as np, torch\n"
        "def flow(frames):\n"
        "    number = 10 * torch.get_num_threads() + cv2.getNumThreads()\n"
        "    return np.full((len(frames) - 1, 2, *frames.shape[1:3]), number, np.float32)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with threads(3):
        found = extract_flow(store, "counting:flow", tmp_path / "flow", workers=workers)
    assert found.videos[0].flow[0].unique().tolist() == [11]


def test_processes_give_the_same(store: ClipCache, tmp_path: Path) -> None:
    one = extract_flow(store, "farneback", tmp_path / "one")
    two = extract_flow(store, "farneback", tmp_path / "two", workers=1)
    for a, b in zip(one.videos, two.videos, strict=True):
        torch.testing.assert_close(a.flow, b.flow)


def test_what_is_there_is_kept(store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = extract_flow(store, "farneback", tmp_path / "flow")
    (tmp_path / "flow" / "000002.npy").unlink()
    computed: list[int] = []
    compute = extract_module._compute

    def counted(job: extract_module._Job) -> float:
        computed.append(job.video.num_frames)
        return compute(job)

    monkeypatch.setattr(extract_module, "_compute", counted)
    calls: list[tuple[int, int]] = []
    again = extract_flow(
        store, "farneback", tmp_path / "flow", progress=lambda done, total: calls.append((done, total))
    )
    assert computed == [4]
    assert calls == [(3, 3)]
    assert again.num_bytes == first.num_bytes
    facts = json.loads((tmp_path / "flow" / "extraction.json").read_text(encoding="utf-8"))
    assert set(facts["seconds"]) == {"0", "1", "2"}


def test_what_was_computed_but_not_timed_is_computed_again(store: ClipCache, tmp_path: Path) -> None:
    """A run that breaks off leaves flow whose time is not noted yet: the whole would be told too short."""
    extract_flow(store, "farneback", tmp_path / "flow")
    path = tmp_path / "flow" / "extraction.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(facts | {"seconds": {"0": 5.0}}), encoding="utf-8")
    calls: list[int] = []
    again = extract_flow(
        store, "farneback", tmp_path / "flow", progress=lambda done, total: calls.append(done)
    )
    assert calls == [2, 3]
    noted = json.loads(path.read_text(encoding="utf-8"))["seconds"]
    assert set(noted) == {"0", "1", "2"}
    assert again.seconds == pytest.approx(sum(noted.values()))
    assert again.seconds > 5


def test_the_same_videos_by_another_path_are_not_computed_again(
    store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def below(folder: str, names: Sequence[str]) -> ClipCache:
        samples = tuple(Sample(f"{folder}{name}", "x") for name in names)
        return dataclasses.replace(store, samples=samples)

    names = ("up/v0.mp4", "up/v1.mp4", "down/v2.mp4")
    first = extract_flow(below("", names), "farneback", tmp_path / "flow")
    monkeypatch.setattr(extract_module, "_compute", None)  # fails where it is called
    for folder in ("data/", "/home/someone/data/", "../"):
        again = extract_flow(below(folder, names), "farneback", tmp_path / "flow")
        assert again.seconds == first.seconds
    with pytest.raises(UsageError, match="holds the flow of other videos"):
        extract_flow(
            below("data/", ("up/v0.mp4", "up/v3.mp4", "down/v2.mp4")), "farneback", tmp_path / "flow"
        )


def test_other_videos_or_settings_are_refused(store: ClipCache, tmp_path: Path) -> None:
    extract_flow(store, "farneback", tmp_path / "flow")
    fewer = dataclasses.replace(store, samples=store.samples[:2], videos=store.videos[:2])
    for changed, options in ((fewer, {}), (store, {"stride": 2})):
        with pytest.raises(UsageError, match="holds the flow of other videos"):
            extract_flow(changed, "farneback", tmp_path / "flow", **options)
    (tmp_path / "flow" / "extraction.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        extract_flow(store, "farneback", tmp_path / "flow")


def test_wrong_names_and_places(store: ClipCache, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown flow estimator"):
        extract_flow(store, "optical", tmp_path / "flow")
    assert not (tmp_path / "flow").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        extract_flow(store, "farneback", tmp_path / "file" / "flow")
