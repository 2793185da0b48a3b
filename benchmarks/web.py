"""Prints how fast and how right the web page is, in a headless Chromium on this machine.

    python benchmarks/web.py ../shared/data/weizmann10 [--run runs/mine] [--chromium chromium]

- the time of one window at several sizes, on one thread;
- recognitions a second from a camera that plays a clip, at 64 px, and the label that it names;
- 16 files of the data in the page and in Python, with --run, or the stream that ships: same label, largest
  difference of a score;
- three classes taught with eight files each of four people: accuracy on the other people's files, time to fit
  and test again, and the difference of the scores between the page and Python on the same frames.

Needs Playwright and the extra "web". Data: a folder with sub-folders wave1, wave2, jump, pjump, run and walk
of files PERSON_ACTION.mp4.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.environment import machine
from hidden_two_stream.export.web import export_web
from hidden_two_stream.export.web_project import import_web
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.shipped import shipped_recognizer
from hidden_two_stream.video.reader import VideoReader

TAUGHT = {"wave": ("wave1", "wave2"), "jump": ("jump", "pjump"), "go": ("run", "walk")}
TIMED = """async (repeats) => {
  const { network } = hiddenTwoStream;
  const frame = () => Uint8Array.from({ length: 3 * network.size ** 2 }, () => 256 * Math.random());
  const clip = Array.from({ length: network.length }, frame);
  const spent = [];
  for (let n = 0; n < repeats + 5; n++) spent.push((await network.run([clip], network.outputs)).milliseconds);
  return spent.slice(5);
}"""
RESULT = """(({ label, nearest, scores }) => ({ label, nearest, scores: [...scores] }))(
  hiddenTwoStream.recognize.latest)"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, and yield its address."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def opened(folder: Path, chromium: str, *arguments: str) -> Iterator[Any]:
    """Yield the ready page of a folder."""
    from playwright.sync_api import sync_playwright

    with served(folder) as address, sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-quic", "--disable-gpu", *arguments]
        browser = playwright.chromium.launch(executable_path=shutil.which(chromium), args=options)
        try:
            page = browser.new_page()
            page.goto(address)
            page.wait_for_function("document.documentElement.dataset.ready")
            yield page
        finally:
            browser.close()


def camera_file(video: Path, out: Path) -> Path:
    """Write the frames of a video as YUV4MPEG, which Chromium's false camera repeats."""
    import av

    with VideoReader(video) as reader, out.open("wb") as file:
        width, height = (side - side % 2 for side in reader.size[::-1])
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for frame in reader.frames():
            image = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame.image[:height, :width]), format="rgb24"
            )
            file.write(b"FRAME\n" + image.reformat(format="yuv420p").to_ndarray().tobytes())
    return out


def choose(page: Any, file: Path) -> dict[str, Any]:
    """Recognize a file in the page."""
    page.set_input_files("#panel-recognize input[type=file]", str(file))
    shown = json.dumps(f"{file.name}: ")
    page.wait_for_function(f"document.querySelector('#panel-recognize').innerText.includes({shown})")
    found: dict[str, Any] = page.evaluate(RESULT)
    return found


def times(folder: Path, sizes: list[int], repeats: int, chromium: str) -> None:
    """Print the time of a window at each size."""
    print("\n| size | ms a window | folder | loaded at the first visit |\n|---:|---:|---:|---:|")
    for size in sizes:
        place = folder / str(size)
        written = export_web(shipped_recognizer(size), place, num_windows=2)
        with opened(place, chromium) as page:
            spent = page.evaluate(TIMED, repeats)
        sizes_mb = f"{written.num_bytes / 1e6:.1f} MB | {written.num_first_bytes / 1e6:.1f} MB"
        print(f"| {size} px | {statistics.median(spent):.1f} | {sizes_mb} |", flush=True)


def live(recognizer: Recognizer, folder: Path, clip: Path, chromium: str) -> None:
    """Print recognitions a second from a camera that plays a clip, and what they name."""
    export_web(recognizer, folder / "live", num_windows=2)
    camera = camera_file(clip, folder / "camera.y4m")
    false_camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with opened(
        folder / "live", chromium, *false_camera, f"--use-file-for-fake-video-capture={camera}"
    ) as page:
        page.click("text=Start the camera")
        page.wait_for_timeout(4000)
        rates, labels = [], []
        for _ in range(20):
            page.wait_for_timeout(200)
            rates.append(page.evaluate("hiddenTwoStream.recognize.rate"))
            labels.append(page.evaluate("hiddenTwoStream.recognize.latest.nearest"))
    size = recognizer.info.recipe.input.size
    common = statistics.mode(labels)
    print(
        f"\nCamera that plays {clip.name} at 25 frames a second, {size} px, one thread: "
        f"{statistics.median(rates):.1f} recognitions a second; {common!r} in {labels.count(common)} of "
        f"{len(labels)} looks"
    )


def files_agree(recognizer: Recognizer, folder: Path, files: list[Path], chromium: str) -> None:
    """Print how many files have the same label in the page and in Python."""
    export_web(recognizer, folder / "files", num_windows=2)
    same, differences = 0, []
    with opened(folder / "files", chromium) as page:
        for file in files:
            found, expected = choose(page, file), recognizer.predict(file)
            same += found["nearest"] == expected.label
            differences.append(float(np.abs(np.array(found["scores"]) - expected.scores).max()))
    print(
        f"\nFiles, decoded by the browser: {same} of {len(files)} have Python's label; largest difference of "
        f"a score {max(differences):.3f}"
    )


def taught(folder: Path, data: Path, chromium: str) -> None:
    """Teach three classes, and print how well other people's files are recognized."""
    people = sorted({file.name.split("_")[0] for file in (data / "wave1").iterdir()})
    known = {name: _files(data, actions, people[:4]) for name, actions in TAUGHT.items()}
    new = {name: _files(data, actions, people[4:]) for name, actions in TAUGHT.items()}
    export_web(None, folder / "teach", num_windows=2)
    with opened(folder / "teach", chromium) as page:
        page.click("#tab-teach")
        page.click("text=Add a class")
        for n, name in enumerate(known):
            page.fill(f'input[aria-label="Name of class {n + 1}"]', name)
            page.keyboard.press("Tab")
        total = 0
        for n, files in enumerate(known.values()):
            page.set_input_files(
                f"#panel-teach .columns > :nth-child({n + 1}) input[type=file]", list(map(str, files))
            )
            total += len(files)
            page.wait_for_function(
                f"hiddenTwoStream.teach.lesson.clips.length === {total} && !hiddenTwoStream.teach._busy"
            )
        lesson = page.evaluate("(({ accuracy }) => accuracy)(hiddenTwoStream.teach.lesson.taught)")
        spent = [page.evaluate("hiddenTwoStream.teach.lesson.fit().milliseconds") for _ in range(5)]
        with page.expect_download() as download:
            page.click("text=Save the project")
        download.value.save_as(folder / "taught.safetensors")
        page.click("#tab-recognize")
        results = [(name, choose(page, file)) for name, files in new.items() for file in files]
        recognizer = import_web(folder / "taught.safetensors", folder / "taught")
        difference = _same_frames(page, recognizer)
    right = sum(found["nearest"] == name for name, found in results)
    unknown = sum(found["label"] is None for _, found in results)
    print(
        f"\nTaught with {total} files of {', '.join(people[:4])}: {right} of {len(results)} files of "
        f"{', '.join(people[4:])} right ({unknown} of them called unknown); leave one clip out {lesson:.0%}; "
        f"fitted and tested again in {statistics.median(spent):.0f} ms\n"
        f"hts import-web: on the same frames, scores within {difference:.1e} of the page's"
    )


def _same_frames(page: Any, recognizer: Recognizer) -> float:
    """Return the largest difference of a score between the page and its imported run."""
    size, length = recognizer.info.recipe.input.size, recognizer.info.recipe.model.num_frames
    clip = np.random.default_rng(0).integers(0, 256, (length, size, size, 3), dtype=np.uint8)
    scores = page.evaluate(
        """async (clip) => {
          const { recognizer } = hiddenTwoStream.recognize;
          const { rows } = await recognizer.logits([clip.map((frame) => Uint8Array.from(frame))]);
          return [...recognizer.result(rows[0]).scores];
        }""",
        clip.reshape(length, -1).tolist(),
    )
    return float(np.abs(recognizer.predict(clip, "center").scores - np.array(scores)).max())


def _files(data: Path, actions: tuple[str, ...], people: list[str]) -> list[Path]:
    return [data / action / f"{person}_{action}.mp4" for action in actions for person in people]


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", help="run for the camera and the files (default: the stream that ships)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 160, 224])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--chromium", default="chromium")
    arguments = parser.parse_args()
    if shutil.which(arguments.chromium) is None:
        sys.exit(f"no browser {arguments.chromium!r} on the path; name one with --chromium")
    recognizer = load(arguments.run) if arguments.run else shipped_recognizer(64)
    actions = sorted(folder.name for folder in arguments.data.iterdir() if folder.is_dir())
    files = sorted(file for action in actions for file in (arguments.data / action).iterdir())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        times(folder, arguments.sizes, arguments.repeats, arguments.chromium)
        live(shipped_recognizer(64), folder, files[-1], arguments.chromium)
        if arguments.run:
            live(recognizer, folder, files[-1], arguments.chromium)
        files_agree(recognizer, folder, files[:: max(1, len(files) // 16)][:16], arguments.chromium)
        taught(folder, arguments.data, arguments.chromium)
    print(f"\nHeadless Chromium. Machine: {machine()}.")


if __name__ == "__main__":
    main()
