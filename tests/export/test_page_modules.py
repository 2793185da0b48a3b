"""The page's modules against the Python functions that they repeat, in Chromium."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

import hidden_two_stream.export
from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.recognition.calibration import (
    Calibration,
    fit_temperature,
    fit_threshold,
    fused_scores,
)
from hidden_two_stream.recognition.fusion import FUSIONS
from hidden_two_stream.recognition.prototypes import fit_prototypes
from hidden_two_stream.training.logistic import logistic_regression
from hidden_two_stream.types import Frame
from hidden_two_stream.video.array_resize import array_resized
from hidden_two_stream.video.crops import center_crop
from hidden_two_stream.video.sampling import clip_indices, spread_starts, uniform_starts
from hidden_two_stream.video.times import at_rate

from ..browser import open_page
from ..serving import serve

PAGE = Path(hidden_two_stream.export.__file__).parent / "page"


class Modules:
    """Calls functions of the page's modules."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def __call__(self, body: str, **arguments: Any) -> Any:
        """Return what an asynchronous JavaScript body returns; `load("x.js")` imports a module."""
        code = f"async (given) => {{ const load = (name) => import('./' + name); {body} }}"
        return self._page.evaluate(code, arguments)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    folder = tmp_path_factory.mktemp("modules")
    for file in PAGE.glob("*.js"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "index.html").write_text("<!doctype html><link rel='icon' href='data:,'><title>modules</title>")
    with serve(folder) as address, open_page(address) as opened:
        yield Modules(opened.page)
        assert opened.errors == []


@pytest.mark.parametrize(
    ("height", "width", "resize", "size"),
    [
        (48, 64, 32, 32), (97, 61, 40, 33), (32, 32, 32, 32), (30, 44, 64, 50),
        (480, 640, 128, 128), (50, 70, [37, 41], 36),
    ],
)  # fmt: skip
def test_prepared_frames_have_python_s_pixels(
    modules: Modules, height: int, width: int, resize: Any, size: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    opaque = np.concatenate([image, np.full((height, width, 1), 255, np.uint8)], axis=2)
    found = modules(
        """const { preparedFrame } = await load("resize.js");
        const data = Uint8Array.from(atob(given.data), (letter) => letter.charCodeAt(0));
        const image = { data, width: given.width, height: given.height };
        return Array.from(preparedFrame(image, given.resize, given.size));""",
        data=base64.b64encode(opaque.tobytes()).decode(),
        width=width, height=height, resize=resize, size=size,
    )  # fmt: skip
    after = tuple(resize) if isinstance(resize, list) else resize
    expected = center_crop(array_resized(image[None], after), size)[0].transpose(1, 2, 0)
    assert np.array_equal(np.array(found, np.uint8).reshape(size, size, 3), expected)


def test_mirrored_frames(modules: Modules) -> None:
    frame = np.arange(27)
    found = modules(
        "return Array.from((await load('resize.js')).mirrored(Uint8Array.from(given.frame), 3));",
        frame=frame.tolist(),
    )
    assert np.array_equal(np.reshape(found, (3, 3, 3)), frame.reshape(3, 3, 3)[:, ::-1])


def test_clips_are_python_s(modules: Modules) -> None:
    cases = [(n, t, s, c) for n in (1, 5, 11, 40, 83) for t in (3, 16) for s in (1, 2) for c in (1, 4, 10)]
    found = modules(
        """const { uniformStarts, spreadStarts, clipIndices } = await load("sampling.js");
        return given.cases.map(([n, t, s, c]) =>
          [uniformStarts(n, t, s, c), spreadStarts(n, t, s, c), clipIndices(n - 1, t, s, n)]);""",
        cases=cases,
    )
    expected = [
        [
            list(dict.fromkeys(uniform_starts(n, t, s, c))),
            list(dict.fromkeys(spread_starts(n, t, s, c))),
            list(clip_indices(n - 1, t, s, n)),
        ]
        for n, t, s, c in cases
    ]
    assert found == expected


@pytest.mark.parametrize("fps", [0, 10, 25, 40])
def test_rates_are_sampled_as_in_python(modules: Modules, fps: float) -> None:
    steps = np.random.default_rng(1).uniform(0.01, 0.12, 60)
    seconds = [0.0, *np.cumsum(steps).tolist()]
    found = modules(
        """const sampler = (await load("sampling.js")).rateSampler(given.fps);
        return [...given.seconds.flatMap((at, n) => sampler.push(at, n)), ...sampler.end()];""",
        fps=fps, seconds=seconds,
    )  # fmt: skip
    image = np.zeros((2, 2, 3), np.uint8)
    frames = [Frame(image, n, at) for n, at in enumerate(seconds)]
    assert found == [frame.index for frame in (at_rate(frames, fps) if fps else frames)]


@pytest.mark.parametrize("method", sorted(FUSIONS))
@pytest.mark.parametrize("is_calibrated", [False, True])
@pytest.mark.parametrize("streams", [("temporal",), ("spatial", "temporal")])
def test_scores_are_fused_as_in_python(
    modules: Modules, method: str, is_calibrated: bool, streams: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(2)
    logits = {name: rng.normal(scale=4, size=6).astype(np.float32) for name in streams}
    fusion = FusionConfig(method=method, spatial_weight=1.0, temporal_weight=2.0)  # type: ignore[arg-type]
    calibration = Calibration({}, fused_temperature=1.7) if is_calibrated else None
    found = modules(
        "return (await load('scoring.js')).fusedScores(given.logits, given.fusion, given.calibration);",
        logits={name: values.tolist() for name, values in logits.items()},
        fusion={"method": method, "spatial_weight": 1, "temporal_weight": 2},
        calibration={"fused_temperature": 1.7} if is_calibrated else None,
    )
    np.testing.assert_allclose(found, fused_scores(logits, fusion, calibration), atol=1e-6)


def test_flow_has_python_s_colors(modules: Modules) -> None:
    flow = np.random.default_rng(3).normal(scale=3, size=(2, 20, 30)).astype(np.float32)
    flow[:, 0, 0] = 0
    found = modules(
        """const pixels = new Uint8ClampedArray(4 * 600);
        (await load("flow_color.js")).drawFlow(given.flow, pixels, 5);
        return Array.from(pixels);""",
        flow=flow.ravel().tolist(),
    )
    colors = np.reshape(found, (20, 30, 4))
    assert (colors[..., 3] == 255).all()
    assert np.abs(colors[..., :3] - flow_to_color(flow, 5.0).astype(int)).max() <= 1


# -- the taught layer


def embeddings(classes: int = 3, clips: int = 5, windows: int = 2, width: int = 12) -> tuple[Any, Any]:
    """Windows (clips, windows, width) of overlapping classes, and labels (clips,)."""
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(classes), clips)
    centers = rng.normal(size=(classes, width))
    clip = centers[labels] + rng.normal(scale=0.9, size=(len(labels), width))
    return clip[:, None] + rng.normal(scale=0.3, size=(len(labels), windows, width)), labels


def reference(inputs: Any, labels: Any, classes: int) -> tuple[Any, Any]:
    """PyTorch's fit, run until it stands."""
    found = logistic_regression(torch.tensor(inputs), torch.tensor(labels), classes, 0.003, 2000)
    return found[0].numpy(), found[1].numpy()


def test_the_head_is_python_s_logistic_regression(modules: Modules) -> None:
    windows, labels = embeddings()
    inputs, each = windows.reshape(-1, windows.shape[2]), np.repeat(labels, windows.shape[1])
    found = modules(
        """const { fitHead } = await load("head.js");
        const { weight, bias } = fitHead(given.inputs, given.labels, 3);
        return [weight.map((row) => [...row]), [...bias]];""",
        inputs=inputs.tolist(), labels=each.tolist(),
    )  # fmt: skip
    weight, bias = reference(inputs, each, 3)
    logits = inputs @ weight.T + bias
    own = inputs @ np.array(found[0]).T + np.array(found[1])
    centered = [values - values.mean(axis=1, keepdims=True) for values in (logits, own)]
    np.testing.assert_allclose(centered[1], centered[0], atol=2e-3 * np.abs(centered[0]).max())


def test_clips_are_left_out_one_by_one(modules: Modules) -> None:
    windows, labels = embeddings()
    found = modules(
        """const { fitHead, leaveOneOut, trainingWindows } = await load("head.js");
        const { labels } = given;
        const clips = given.windows.map((each, n) => ({ label: labels[n], windows: each, training: each }));
        return leaveOneOut(clips, 3, fitHead(...trainingWindows(clips), 3).start);""",
        windows=windows.tolist(), labels=labels.tolist(),
    )  # fmt: skip
    expected = []
    for n in range(len(labels)):
        others = np.arange(len(labels)) != n
        inputs = windows[others].reshape(-1, windows.shape[2])
        weight, bias = reference(inputs, np.repeat(labels[others], windows.shape[1]), 3)
        expected.append((windows[n] @ weight.T + bias).mean(axis=0))
    centered = [np.array(values) - np.mean(values, axis=1, keepdims=True) for values in (expected, found)]
    np.testing.assert_allclose(centered[1], centered[0], atol=5e-3 * np.abs(centered[0]).max())


@pytest.mark.parametrize("clips", [4, 30])
def test_the_calibration_is_python_s(modules: Modules, clips: int) -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(clips) % 3
    logits = rng.normal(scale=3, size=(clips, 3)) + 4 * np.eye(3)[labels]
    found = modules(
        "return (await load('head.js')).fitCalibration(given.logits, given.labels, 'temporal');",
        logits=logits.tolist(), labels=labels.tolist(),
    )  # fmt: skip
    temperature = fit_temperature(logits, labels)
    cooled = {"temporal": logits / temperature}
    scores = fused_scores(cooled, FusionConfig(method="product"))
    prototypes = fit_prototypes(cooled, labels, scores.argmax(axis=1))
    assert found["temperatures"]["temporal"] == pytest.approx(temperature, rel=1e-6)
    assert (temperature == 1) == (clips < 5)
    if prototypes is None:
        assert found["prototypes"] is None
        assert found["threshold"] is None
        return
    assert found["threshold"] == pytest.approx(fit_threshold(scores, labels), abs=1e-6)
    assert found["prototypes"]["least"] == pytest.approx(prototypes.least, abs=1e-4)
    np.testing.assert_allclose(found["prototypes"]["vectors"], prototypes.vectors, atol=2e-4)
    similar = modules(
        "return (await load('scoring.js')).similarity({ temporal: given.row }, 1, given.prototypes);",
        row=(logits / temperature)[0].tolist(), prototypes=found["prototypes"],
    )  # fmt: skip
    assert similar == pytest.approx(
        float(prototypes.similarity({"temporal": cooled["temporal"][0]}, 1)), abs=1e-4
    )


# -- project files


def test_safetensors_files_are_those_of_the_library(modules: Modules, tmp_path: Path) -> None:
    found = modules(
        """const { writeSafetensors } = await load("safetensors.js");
        const b = { shape: [3], data: Uint8Array.of(1, 2, 3) };
        const a = { shape: [2, 2], data: Float32Array.of(1, -2, 0.5, 8) };
        const tensors = { b, a };
        return Array.from(writeSafetensors(tensors, { key: "überall" }));"""
    )
    file = tmp_path / "project.safetensors"
    file.write_bytes(bytes(found))
    tensors = safetensors.numpy.load_file(file)
    assert tensors["a"].tolist() == [[1, -2], [0.5, 8]]
    assert tensors["b"].tolist() == [1, 2, 3]
    with safetensors.safe_open(file, "numpy") as opened:
        assert opened.metadata() == {"key": "überall"}
    safetensors.numpy.save_file({"x": np.arange(6, dtype=np.float64).reshape(2, 3)}, file, {"k": "v"})
    back = modules(
        """const { readSafetensors } = await load("safetensors.js");
        const { tensors, metadata } = readSafetensors(Uint8Array.from(given.file));
        return [tensors.x.shape, Array.from(tensors.x.data), metadata];""",
        file=list(file.read_bytes()),
    )
    assert back == [[2, 3], [0, 1, 2, 3, 4, 5], {"k": "v"}]


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"[:9]])
def test_other_files_are_no_projects(modules: Modules, content: bytes) -> None:
    found = modules(
        """const { readSafetensors } = await load("safetensors.js");
        try { readSafetensors(Uint8Array.from(given.file)); } catch (error) { return error.message; }
        return "read";""",
        file=list(content),
    )
    assert found == "this is no project file, or it is damaged"
