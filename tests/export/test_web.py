"""The web page of a run in Chromium: it loads, recognizes as Python does, is taught, and becomes a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import DESCRIPTION_KEY, save_run
from hidden_two_stream.errors import CheckpointError, HiddenTwoStreamError, UsageError
from hidden_two_stream.export import web, web_runtime
from hidden_two_stream.export.export import Export
from hidden_two_stream.export.web import WebExport, export_web
from hidden_two_stream.export.web_project import PROJECT_KEY, import_web
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.scoring import Scoring
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.tensors import read_tensors, write_tensors
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

from ..browser import OpenPage, chromium_path, open_page
from ..serving import serve
from .runs import make_clips, make_run

pytest.importorskip("onnx", reason="the extra 'export' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")

Hts = Callable[..., tuple[int, str, str]]
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
KINDS = ("left", "grow", "turn_clockwise")
FRAMES, SIZE = 5, 64


@pytest.fixture(scope="module")
def libraries() -> Path:
    """The archives that `make setup` fetched; tests use no network."""
    chromium_path()
    folder = web_runtime.cache_folder()
    missing = [each.archive for each in web_runtime.PACKAGES if not (folder / each.archive).is_file()]
    if missing:
        reason = f"no {missing[0]} in the cache; `make setup` fetches it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, *make_run(num_frames=FRAMES, size=SIZE))
    return folder


@pytest.fixture(scope="module")
def page(run: Path, libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> WebExport:
    out = tmp_path_factory.mktemp("page") / "sub folder"
    return export_web(run, out, num_windows=2, title="Gestures <b>", runtime=libraries)


@pytest.fixture
def opened(page: WebExport) -> Iterator[OpenPage]:
    """The page in a sub-folder of a static host, ready."""
    with serve(page.path.parent) as address, open_page(f"{address}/sub%20folder/", args=CAMERA) as found:
        ready(found)
        yield found
        assert found.errors == []
        assert found.other_hosts() == []


def ready(found: OpenPage) -> None:
    found.page.wait_for_function("document.documentElement.dataset.ready")
    assert found.page.evaluate("document.documentElement.dataset.ready") == "true", found.page.inner_text(
        "main"
    )


def video(folder: Path, kind: str, seed: int, frames: int = 20) -> Path:
    path = folder / f"{kind}-{seed}.mp4"
    write_video(path, generate_clip(kind, seed, num_frames=frames, size=96).frames, 25)
    return path


def python_scores(recognizer: Recognizer, clips: RawClip) -> Any:
    """Fused scores of clips that have the network's size already."""
    model, scoring = recognizer.model, Scoring.of(recognizer.info)
    with torch.inference_mode():
        frames = model.preprocess(torch.from_numpy(clips).permute(0, 1, 4, 2, 3))
        raw = {name: getattr(model, name)(frames).numpy() for name in scoring.streams}
    return scoring.fuse(scoring.calibrated(raw))


def panel(found: OpenPage, name: str) -> str:
    text: str = found.page.inner_text(f"#panel-{name}")
    return text


def recognize(found: OpenPage, file: Path) -> Any:
    """Choose a file, and return the page's result."""
    found.page.set_input_files("#panel-recognize input[type=file]", str(file))
    found.page.wait_for_function(
        f"document.querySelector('#panel-recognize').innerText.includes({json.dumps(file.name + ': ')})"
    )
    return found.page.evaluate(
        "(({ label, nearest, scores }) => ({ label, nearest, scores: [...scores] }))"
        "(hiddenTwoStream.recognize.latest)"
    )


def taught(found: OpenPage, folder: Path) -> None:
    """Teach three classes with three files each."""
    found.page.click("#tab-teach")
    found.page.click("text=Add a class")
    for n, kind in enumerate(KINDS):
        found.page.fill(f'input[aria-label="Name of class {n + 1}"]', f"class {kind}")
        found.page.keyboard.press("Tab")
    for n, kind in enumerate(KINDS):
        files = [str(video(folder, kind, seed)) for seed in range(3)]
        found.page.set_input_files(f"#panel-teach .columns > :nth-child({n + 1}) input[type=file]", files)
        found.page.wait_for_function(
            f"hiddenTwoStream.teach.lesson.clips.length === {3 * (n + 1)} && !hiddenTwoStream.teach._busy"
        )


# -- the page


def test_the_same_tensors_have_python_s_scores(opened: OpenPage, run: Path) -> None:
    clips = make_clips(3, FRAMES, SIZE)
    found = opened.page.evaluate(
        """async (clips) => {
          const { network } = hiddenTwoStream;
          const names = ["scores", "spatial_logits", "temporal_embedding", "flow"];
          const split = clips.map((clip) => clip.map((frame) => Uint8Array.from(frame)));
          const { outputs } = await network.run(split, names);
          const own = await hiddenTwoStream.recognize.recognizer.logits(split);
          const scores = own.rows.map((row) => hiddenTwoStream.recognize.recognizer.result(row).scores);
          return { outputs: names.map((name) => [...outputs[name].data]), scores };
        }""",
        clips.reshape(3, FRAMES, -1).tolist(),
    )
    recognizer = load(run)
    model = recognizer.model
    with torch.inference_mode():
        frames = model.preprocess(torch.from_numpy(clips).permute(0, 1, 4, 2, 3))
        pyramid, embedding = model.motion_and_embedding(frames)
    expected = python_scores(recognizer, clips)
    np.testing.assert_allclose(np.reshape(found["outputs"][0], expected.shape), expected, atol=1e-5)
    np.testing.assert_allclose(found["scores"], expected, atol=1e-5)
    np.testing.assert_allclose(np.reshape(found["outputs"][2], embedding.shape), embedding, atol=1e-4)
    np.testing.assert_allclose(np.reshape(found["outputs"][3], pyramid[0].shape), pyramid[0], atol=1e-4)


def test_a_file_has_python_s_label(opened: OpenPage, run: Path, tmp_path: Path) -> None:
    file = video(tmp_path, "grow", 7, frames=40)
    found = recognize(opened, file)
    expected = load(run).predict(file)
    assert found["nearest"] == expected.label
    np.testing.assert_allclose(found["scores"], expected.scores, atol=0.1)
    assert "40 frames (every frame). The label is the mean of 10 windows." in panel(opened, "recognize")
    assert opened.page.evaluate("hiddenTwoStream.recognize._timeline.intervals().length") >= 1


def test_a_video_shorter_than_a_window(opened: OpenPage, run: Path, tmp_path: Path) -> None:
    file = video(tmp_path, "left", 1, frames=2)
    found = recognize(opened, file)
    np.testing.assert_allclose(found["scores"], load(run).predict(file).scores, atol=0.1)


@pytest.mark.parametrize("content", [b"", b"this is a text\n" * 50])
def test_what_is_no_video_has_a_message(opened: OpenPage, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "notes.mp4"
    file.write_bytes(content)
    opened.page.set_input_files("#panel-recognize input[type=file]", str(file))
    opened.page.wait_for_selector("#panel-recognize .bad")
    expected = "notes.mp4 is no video that this browser can play" if content else "notes.mp4 is empty"
    assert panel(opened, "recognize").rstrip().endswith(expected)


def test_the_camera_is_recognized_until_it_stops(opened: OpenPage) -> None:
    opened.page.click("text=Start the camera")
    opened.page.wait_for_function("hiddenTwoStream.recognize._decisions?.length > 3")
    assert "recognitions a second" in panel(opened, "recognize")
    flow = opened.page.evaluate(
        "(() => { const c = hiddenTwoStream.recognize._flow;"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; return Math.min(...d); })()"
    )
    assert flow < 250  # the flow is drawn: something moves in the camera's test picture
    opened.page.click("text=Stop")
    assert opened.page.evaluate("hiddenTwoStream.camera.isOn") is False


def test_the_page_says_what_it_is(opened: OpenPage, page: WebExport) -> None:
    assert opened.page.inner_text("h1") == "Gestures <b>"
    opened.page.click("#tab-about")
    text = panel(opened, "about")
    for fact in (
        "5: hüpfen, 走る, left, right, up",
        "labels.csv",
        "spatial and temporal",
        "WebAssembly, 1 thread",
    ):
        assert fact in text
    assert "/home/" not in (page.path / "model.json").read_text()
    assert b"/home/" not in (page.path / "base.safetensors").read_bytes()


def test_tabs_follow_the_arrow_keys(opened: OpenPage) -> None:
    opened.page.focus("#tab-recognize")
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.evaluate("document.activeElement.id") == "tab-teach"
    assert opened.page.is_visible("#panel-teach")
    assert opened.page.is_hidden("#panel-recognize")


def test_a_narrow_screen_needs_no_sideways_scrolling(page: WebExport) -> None:
    with serve(page.path) as address, open_page(address, width=360, height=740, dark=True) as found:
        ready(found)
        for name in ("recognize", "teach", "about"):
            found.page.click(f"#tab-{name}")
            assert found.page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_an_isolated_page_has_threads(page: WebExport, run: Path, tmp_path: Path) -> None:
    file = video(tmp_path, "grow", 7, frames=40)
    with serve(page.path, isolated=True) as address, open_page(address) as found:
        ready(found)
        assert found.page.evaluate("hiddenTwoStream.network.threads") >= 2
        np.testing.assert_allclose(recognize(found, file)["scores"], load(run).predict(file).scores, atol=0.1)
        assert found.errors == []


def test_the_page_works_without_a_network_and_then_has_threads(page: WebExport) -> None:
    with serve(page.path) as address, open_page(f"{address}/") as found:
        ready(found)
        found.page.wait_for_function("navigator.serviceWorker.controller !== null")
        found.page.context.set_offline(True)
        found.page.reload()
        ready(found)
        assert found.page.evaluate("crossOriginIsolated") is True
        assert found.page.evaluate("hiddenTwoStream.network.threads") >= 2


def test_a_missing_file_has_a_message(page: WebExport, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(page.path, broken)
    (broken / "model.onnx").unlink()
    with serve(broken) as address, open_page(address) as found:
        found.page.wait_for_function("document.documentElement.dataset.ready === 'failed'")
        assert "model.onnx is missing (status 404)" in found.page.inner_text("main")


def test_one_file_opens_from_the_disk(
    run: Path, page: WebExport, libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same_model(recognizer: Recognizer, path: Path, **options: Any) -> Export:
        shutil.copy(page.path / "model.onnx", path)  # exporting takes long
        return page.model

    monkeypatch.setattr(web, "export_model", same_model)
    out = tmp_path / "page.html"
    report = export_web(run, out, single=True, num_windows=2, runtime=libraries)
    assert report.num_bytes == out.stat().st_size
    file = video(tmp_path, "grow", 7, frames=40)
    with open_page(out, args=CAMERA) as found:
        ready(found)
        np.testing.assert_allclose(recognize(found, file)["scores"], load(run).predict(file).scores, atol=0.1)
        taught(found, tmp_path)
        with found.page.expect_download() as download:
            found.page.click("text=Save the project")
        download.value.save_as(tmp_path / "taught.safetensors")
        assert found.errors == []
        assert found.other_hosts() == []
    assert import_web(tmp_path / "taught.safetensors", tmp_path / "taught").classes == tuple(
        f"class {k}" for k in KINDS
    )


# -- teaching


def test_what_was_taught_becomes_a_run_with_the_same_scores(
    opened: OpenPage, tmp_path: Path, hts: Hts
) -> None:
    taught(opened, tmp_path)
    text = panel(opened, "teach")
    assert "of 9 clips recognized" in text
    assert "Trained and tested in" in text
    clip = make_clips(1, FRAMES, SIZE)
    scores = opened.page.evaluate(
        """async ([clip]) => {
          const { recognizer } = hiddenTwoStream.recognize;
          const { rows } = await recognizer.logits([clip.map((frame) => Uint8Array.from(frame))]);
          return [...recognizer.result(rows[0]).scores];
        }""",
        clip.reshape(1, FRAMES, -1).tolist(),
    )
    with opened.page.expect_download() as download:
        opened.page.click("text=Save the project")
    project = tmp_path / "taught.safetensors"
    download.value.save_as(project)
    code, out, error = hts("import-web", project, "-o", tmp_path / "run", "--json")
    assert code == 0, error
    assert json.loads(out)["classes"] == [f"class {kind}" for kind in KINDS]
    assert json.loads(out)["num_clips"] == 9
    recognizer = load(tmp_path / "run")
    np.testing.assert_allclose(python_scores(recognizer, clip)[0], scores, atol=1e-5)
    file = video(tmp_path, "left", 9)
    code, out, error = hts("predict", tmp_path / "run", file, "--json")
    assert code == 0, error
    opened.page.click("#tab-recognize")
    found = recognize(opened, file)
    np.testing.assert_allclose(found["scores"], recognizer.predict(file).scores, atol=0.1)


def test_a_project_is_opened_again(opened: OpenPage, tmp_path: Path) -> None:
    taught(opened, tmp_path)
    before = opened.page.evaluate("[...hiddenTwoStream.teach.lesson.taught.head.bias]")
    with opened.page.expect_download() as download:
        opened.page.click("text=Save the project")
    download.value.save_as(tmp_path / "taught.safetensors")
    opened.page.reload()
    ready(opened)
    opened.page.click("#tab-teach")
    opened.page.set_input_files(
        "#panel-teach input[accept='.safetensors']", str(tmp_path / "taught.safetensors")
    )
    opened.page.wait_for_function("hiddenTwoStream.teach.lesson.taught !== null")
    after = opened.page.evaluate("[...hiddenTwoStream.teach.lesson.taught.head.bias]")
    np.testing.assert_allclose(after, before, atol=1e-3)
    assert opened.page.locator(".clips li").count() == 9


def test_clips_and_classes_are_taken_away(opened: OpenPage, tmp_path: Path) -> None:
    taught(opened, tmp_path)
    opened.page.click("[aria-label='Remove left-0.mp4 of class left']")
    assert "of 8 clips recognized" in panel(opened, "teach")
    opened.page.click("[aria-label='Remove class grow']")
    assert "of 5 clips recognized" in panel(opened, "teach")
    assert opened.page.evaluate("hiddenTwoStream.teach.lesson.classes") == [
        "class left",
        "class turn_clockwise",
    ]
    opened.page.click("[aria-label='Remove class left']")
    assert "Add two classes or more." in panel(opened, "teach")
    assert opened.page.locator("option", has_text="what you taught").count() == 0


def test_clips_are_recorded_from_the_camera(opened: OpenPage) -> None:
    opened.page.click("#tab-teach")
    for n in range(2):
        opened.page.fill(f'input[aria-label="Name of class {n + 1}"]', "ab"[n])
        opened.page.keyboard.press("Tab")
        opened.page.select_option("select >> nth=1", "1")
        opened.page.click(f"[aria-label='Record {'ab'[n]}']")
        opened.page.wait_for_function(
            f"hiddenTwoStream.teach.lesson.clips.length === {n + 1} && !hiddenTwoStream.teach._busy"
        )
    assert "of 2 clips recognized" in panel(opened, "teach")
    frames = opened.page.evaluate("hiddenTwoStream.teach.lesson.clips.map((clip) => clip.numFrames)")
    assert min(frames) >= FRAMES


@pytest.mark.parametrize("content", [b"hello", None])
def test_what_is_no_project_has_a_message(
    opened: OpenPage, tmp_path: Path, page: WebExport, content: bytes | None
) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(content if content is not None else (page.path / "base.safetensors").read_bytes())
    opened.page.click("#tab-teach")
    opened.page.set_input_files("#panel-teach input[accept='.safetensors']", str(file))
    opened.page.wait_for_selector("#panel-teach .bad")
    assert "other.safetensors: this is no project file" in panel(opened, "teach")


def test_a_text_file_among_the_clips_is_named(opened: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    files = [str(video(tmp_path, "left", 0)), str(tmp_path / "notes.mp4")]
    opened.page.click("#tab-teach")
    opened.page.set_input_files("#panel-teach .columns > :nth-child(1) input[type=file]", files)
    opened.page.wait_for_selector("#panel-teach .bad")
    assert "notes.mp4 is no video that this browser can play" in panel(opened, "teach")
    assert opened.page.evaluate("hiddenTwoStream.teach.lesson.clips.length") == 1


# -- projects in Python


@pytest.fixture(scope="module")
def project(run: Path, page: WebExport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as the page saves it, of two classes."""
    base = (page.path / "base.safetensors").read_bytes()
    width = load(run).model.temporal_stream.fc.in_features
    clip = {"name": "1", "num_windows": 1, "fps": 25, "num_frames": 9, "thumbnail": ""}
    described = {
        "format_version": 1, "classes": ["a", "b"], "stream": "temporal", "fps": 0, "mirror": True,
        "size": SIZE, "network": "x", "calibration": None, "leave_one_out": {"accuracy": 1, "confusion": []},
        "clips": [dict(clip, label=0), dict(clip, label=1)],
    }  # fmt: skip
    tensors = {
        "weight": torch.randn(2, width), "bias": torch.zeros(2), "embeddings": torch.zeros(4, width),
        "base": torch.frombuffer(bytearray(base), dtype=torch.uint8),
    }  # fmt: skip
    file = tmp_path_factory.mktemp("project") / "taught.safetensors"
    write_tensors(file, tensors, {PROJECT_KEY: json.dumps(described)})
    return file


def changed(project: Path, out: Path, tensors: dict[str, Any] | None = None, **described: Any) -> Path:
    own, metadata = read_tensors(project)
    text = json.dumps(json.loads(metadata[PROJECT_KEY]) | described)
    write_tensors(out, own | (tensors or {}), {PROJECT_KEY: text})
    return out


def test_a_project_becomes_a_run(project: Path, tmp_path: Path) -> None:
    found = import_web(changed(project, tmp_path / "p.safetensors", fps=12.5, mirror=False), tmp_path / "run")
    assert found.classes == ("a", "b")
    again = load(tmp_path / "run")
    assert again.info.recipe.input.fps == 12.5
    assert again.info.recipe.input.flip is False
    assert again.info.metadata.max_fps == 12.5
    assert again.trained_streams == ("temporal",)
    assert torch.equal(again.model.temporal_stream.fc.weight, read_tensors(project)[0]["weight"])


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"classes": ["a", "a"]}, "two or more different names"),
        ({"classes": ["a"]}, "two or more different names"),
        ({"classes": "ab"}, "classes"),
        ({"stream": "spatial"}, "its stream is 'spatial'"),
        ({"fps": -1}, "its fps is -1"),
        ({"fps": float("nan")}, "its fps is nan"),
        ({"mirror": 1}, "its mirror is 1"),
        ({"clips": [{"fps": 0}]}, "rate of a clip"),
        ({"clips": 7}, "damaged"),
        ({"calibration": {"temperatures": {"temporal": 0}}}, "damaged"),
        ({"format_version": 2}, "format version"),
    ],
)  # fmt: skip
def test_damaged_projects_are_refused(
    project: Path, tmp_path: Path, described: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        import_web(changed(project, tmp_path / "p.safetensors", **described), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"weight": torch.zeros(2, 7)}, "its last layer has the shapes"),
        ({"bias": torch.tensor([0.0, float("inf")])}, "bias is not finite"),
        ({"base": torch.zeros(20, dtype=torch.uint8)}, "its network"),
        ({"base": torch.zeros(4)}, "its network is no file"),
    ],
)
def test_damaged_tensors_are_refused(
    project: Path, tmp_path: Path, tensors: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        import_web(changed(project, tmp_path / "p.safetensors", tensors), tmp_path / "run")


def test_other_files_are_no_projects(project: Path, run: Path, tmp_path: Path, hts: Hts) -> None:
    with pytest.raises(CheckpointError, match="no project of the page"):
        import_web(run / "model.safetensors", tmp_path / "run")
    assert hts("import-web", tmp_path / "absent", "-o", tmp_path / "run")[0] == 2
    code, _, error = hts("import-web", project, "-o", run)
    assert code == 2
    assert "not an empty folder" in error


# -- what is refused, and what is written


def test_the_folder_holds_the_report_s_bytes(page: WebExport) -> None:
    sizes = {file: file.stat().st_size for file in page.path.rglob("*") if file.is_file()}
    assert page.num_bytes == sum(sizes.values())
    assert page.num_first_bytes < page.num_bytes
    described = json.loads((page.path / "model.json").read_text(encoding="utf-8"))
    assert described["export"]["title"] == "Gestures <b>"
    assert DESCRIPTION_KEY not in described


def test_an_earlier_page_is_replaced_and_nothing_else(
    run: Path, page: WebExport, libraries: Path, tmp_path: Path
) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        export_web(run, tmp_path, runtime=libraries)
    assert [file.name for file in tmp_path.iterdir()] == ["keep.txt"]
    with pytest.raises(UsageError, match=r"ends with \.html"):
        export_web(run, tmp_path / "page", single=True, runtime=libraries)
    with pytest.raises(UsageError, match="is a file"):
        export_web(run, tmp_path / "keep.txt", runtime=libraries)


def test_libraries_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="npm pack onnxruntime-web@"):
        web_runtime.runtime_files(tmp_path)
    for package in web_runtime.PACKAGES:
        (tmp_path / package.archive).write_bytes(b"something else")
    with pytest.raises(UsageError, match="its hash differs"):
        web_runtime.runtime_files(tmp_path)


def test_npm_that_fails_has_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTS_CACHE", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, "", "npm error network\nnpm error cannot reach it\n")
    monkeypatch.setattr(web_runtime, "_npm", lambda: lambda arguments: failed)
    with pytest.raises(HiddenTwoStreamError, match="cannot reach it; try again, or name a folder"):
        web_runtime.fetch()
    assert list((tmp_path / "web").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "onnx"], "needs a RUN"),
        (["RUN", "--single-file"], "--single-file is for --format web"),
        (["RUN", "--format", "pt2", "--title", "x"], "--title is for --format web"),
        (["RUN", "--format", "web", "--int8"], "--int8 is for --format onnx"),
    ],
)
def test_options_of_other_formats_are_refused(hts: Hts, run: Path, arguments: list[str], reason: str) -> None:
    code, _, error = hts("export", *[str(run) if each == "RUN" else each for each in arguments])
    assert code == 2
    assert reason in error
