"""Prints what prediction costs on this machine, as ratios of ways that take turns in one run.

    python benchmarks/predict.py [--files 20] [--repeats 3] [start frames windows threads workers]

- start: `import torch`, loading a run beyond that (and as it was, with torch's compiler), and one-file
  predictions, with an exported model too if ONNX Runtime and onnxscript are installed;
- frames: file → label of 300 frames of 320×240, against decoding and resizing all of them;
- windows: protocols of a 60-frame video with pairs computed once, against window by window;
- threads: one and two threads, alone and beside one and two busy processes;
- workers: one and two processes for many files.

The clips are generated; the run is that of the recipe quick, without training. Times within one process are
CPU time, which other work on the machine changes little; those of threads and workers are wall-clock time, so
the load average stands beside them.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from hidden_two_stream.checkpoint import RunInfo, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import decode_video
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import MissingDependencyError
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.scoring import KEPT_BYTES, video_logits
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

SIZE = 128
COMMAND = (sys.executable, "-m", "hidden_two_stream")
LOAD = "import torch; import hidden_two_stream as hts; {before}hts.load({run!r})"
COMPILER = "from hidden_two_stream import tensors; tensors.shapes_only = lambda: torch.device('meta'); "
BUSY = "import torch\ntorch.set_num_threads(1)\nx = torch.randn(400, 400)\nwhile True: x @ x"


def main() -> None:
    """Measure what the arguments name and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        place = prepared(Path(folder), arguments.files)
        for part in arguments.parts or PARTS:
            print(f"\n{part} (load average {os.getloadavg()[0]:.1f})", flush=True)
            PARTS[part](place, arguments.repeats)


def prepared(folder: Path, files: int) -> Path:
    """Write the run and the clips into a folder and return it."""
    recipe = load_recipe("quick")
    recipe = replace(recipe, input=replace(recipe.input, size=SIZE, resize=SIZE))
    torch.manual_seed(0)
    (folder / "run").mkdir()
    save_run(folder / "run", build_model(recipe, 8), RunInfo(recipe, tuple("abcdefgh")))
    frames = generate_clip("grow", 3, num_frames=300, size=320).frames[:, :240]
    write_video(folder / "300.mp4", frames)
    write_video(folder / "60.mp4", frames[:60])
    (folder / "many").mkdir()
    for number in range(files):
        shutil.copy(folder / "60.mp4", folder / "many" / f"{number:03}.mp4")
    return folder


def in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the shortest time of each way, s; the ways take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            begin = clock()
            way()
            best[name] = min(best[name], clock() - begin)
    return best


def process(*command: str, threads: str = "1") -> None:
    """Run a command to its end, without its output."""
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def children_seconds() -> float:
    """CPU time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(place: Path, repeats: int) -> None:
    """Time the start of a process, CPU time."""
    run, clip = str(place / "run"), str(place / "60.mp4")
    ways = {
        "import torch": partial(process, sys.executable, "-c", "import torch"),
        "load": partial(process, sys.executable, "-c", LOAD.format(run=run, before="")),
        "load with the compiler": partial(
            process, sys.executable, "-c", LOAD.format(run=run, before=COMPILER)
        ),
        "hts predict": partial(process, *COMMAND, "predict", run, clip),
    }
    try:
        from hidden_two_stream.export.export import export_model

        export_model(run, place / "model.onnx")
        ways["hts predict model.onnx"] = partial(
            process, *COMMAND, "predict", str(place / "model.onnx"), clip
        )
    except MissingDependencyError as error:
        print(f"  {error}")
    found = in_turns(ways, repeats, children_seconds)
    base = found.pop("import torch")
    print(f"  import torch: {base:.2f} s of CPU")
    for name, seconds in found.items():
        print(f"  {name}: {seconds:.2f} s, {seconds / base:.2f} × import torch, {seconds - base:+.2f} s")


def frames(place: Path, repeats: int) -> None:
    """Time file → label against decoding and resizing all frames."""
    recognizer, path = load(place / "run"), place / "300.mp4"
    ways = {
        "decode and resize all": lambda: decode_video(path, SIZE, KEPT_BYTES),
        "center": lambda: recognizer.predict(path, "center"),
        "10x1": lambda: recognizer.predict(path, "10x1"),
    }
    found = in_turns(ways, repeats, time.process_time)
    whole = found.pop("decode and resize all")
    for name, seconds in found.items():
        print(
            f"  {name}: {seconds * 1e3:.0f} ms; decoding and resizing all {whole * 1e3:.0f} ms, "
            f"{whole / seconds:.2f} ×"
        )


def windows(place: Path, repeats: int) -> None:
    """Time windows that share their pairs against single ones."""
    recognizer = load(place / "run")
    for length in ("60", "300"):
        video = decode_video(place / f"{length}.mp4", SIZE, KEPT_BYTES)
        for name in ("10x1", "25x10"):
            protocol = parse_protocol(name)
            single = partial(video_logits, recognizer._scoring, video, protocol, recognizer._forward)
            shared = partial(recognizer.logits, video, protocol)
            off = max(abs(single()[key] - values).max() for key, values in shared().items())
            found = in_turns({"single": single, "shared": shared}, repeats, time.process_time)
            ratio = found["single"] / found["shared"]
            print(
                f"  {name} of {length} frames: {found['single'] * 1e3:.0f} → {found['shared'] * 1e3:.0f} ms, "
                f"{ratio:.1f} ×; largest difference of a logit {off:.0e}"
            )


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep processes busy in the block, each with one thread."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    time.sleep(4 * bool(number))
    try:
        yield
    finally:
        for other in running:
            other.kill()
            other.wait()


def threads(place: Path, repeats: int) -> None:
    """Time many files with one and two threads, wall-clock."""
    many = (*COMMAND, "predict", str(place / "run"), str(place / "many"))
    for number in (0, 1, 2):
        ways = {str(n): partial(process, *many, "--threads", str(n)) for n in (1, 2)}
        with busy(number):
            found = in_turns(ways, repeats, time.monotonic)
        print(
            f"  beside {number} busy processes: 1 thread {found['1']:.1f} s, 2 threads {found['2']:.1f} s, "
            f"{found['2'] / found['1']:.2f} × (load average {os.getloadavg()[0]:.1f})",
            flush=True,
        )


def workers(place: Path, repeats: int) -> None:
    """Time many files with one and two processes, wall-clock; the start does not count."""
    run, sources = str(place / "run"), list(map(str, sorted((place / "many").iterdir())))
    command = (*COMMAND, "predict", run)
    ways = {
        f"{n} {what}": partial(process, *command, *chosen, "--workers", str(n))
        for n in (1, 2)
        for what, chosen in {"few": sources[:2], "all": sources}.items()
    }
    found = in_turns(ways, repeats, time.monotonic)
    spent = {n: found[f"{n} all"] - found[f"{n} few"] for n in (1, 2)}
    print(f"  {len(sources)} files: {found['1 all']:.1f} s; with two workers {found['2 all']:.1f} s")
    print(
        f"  beyond the first two files: {(len(sources) - 2) / spent[1]:.1f} → "
        f"{(len(sources) - 2) / spent[2]:.1f} files/s, {spent[1] / spent[2]:.2f} ×"
    )


PARTS: dict[str, Callable[[Path, int], None]] = {
    "start": start,
    "frames": frames,
    "windows": windows,
    "threads": threads,
    "workers": workers,
}

if __name__ == "__main__":
    main()
