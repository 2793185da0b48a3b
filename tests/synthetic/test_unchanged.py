"""Generated video stays the same bit for bit.

For each clip `hashes.json` holds the first 16 hex digits of the SHA-256 of its frames, of its flow and of its
mask; for clips of the motion library, of the frames alone. Record the file again only after a change that is
meant to alter the content:

    python tests/synthetic/test_unchanged.py > tests/synthetic/hashes.json

Flow and masks came out the same with every x86-64 instruction set tried, so they must match everywhere. A few
gray levels of the frames depend on how BLAS and the processor's vector instructions round. So frames must
match in CI and on the kind of machine that recorded them; elsewhere the test reports differences and skips.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from hidden_two_stream.synthetic.clips import CLASSES, DIFFICULTIES, generate_clip
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library_clip
from hidden_two_stream.synthetic.motions_v1 import GRADES, MOTION_CLASSES, generate_motion_clip
from hidden_two_stream.synthetic.training_scenes import generate_scene

HASHES = Path(__file__).with_name("hashes.json")
Arrays = tuple[np.ndarray, ...]


def patches(key: str) -> Arrays:
    difficulty, label, seed, num_frames, size = key.split()
    clip = generate_clip(label, int(seed), num_frames=int(num_frames), size=int(size), difficulty=difficulty)
    return clip.frames, clip.flow, clip.moving


def motions_v1(key: str) -> Arrays:
    label, seed, grade = key.split()
    clip = generate_motion_clip(label, int(seed), grade)
    return clip.frames, clip.flow, clip.moving


def scenes(key: str) -> Arrays:
    seed, num_frames, height, width = (int(part) for part in key.split())
    scene = generate_scene(seed, num_frames=num_frames, height=height, width=width)
    return scene.frames, scene.flow, scene.visible


def library(key: str) -> Arrays:
    label, seed, num_frames, size = key.split()
    number = LIBRARY_CLASSES.index(label)
    return (generate_library_clip(number, int(seed), num_frames=int(num_frames), size=int(size)),)


GENERATORS: dict[str, Callable[[str], Arrays]] = {
    "patches": patches,
    "motions_v1": motions_v1,
    "scenes": scenes,
    "library": library,
}
ALL_KEYS: dict[str, list[str]] = {
    "patches": [
        f"{difficulty} {label} {seed} {num_frames} {size}"
        for difficulty in DIFFICULTIES
        for number, label in enumerate(CLASSES)
        for seed, num_frames, size in (
            (0, 16, 64),
            (1_000_000 + number, 16, 64),
            (7, 16, 64),
            (7, 6, 32),
            (7, 21, 48),
        )
    ],
    "motions_v1": [
        f"{label} {seed} {grade}"
        for grade in GRADES
        for label in MOTION_CLASSES
        for seed in (0, 1_000_003, 23_000_019)
    ],
    "scenes": [f"{seed} {('11 160 160', '3 96 128', '2 64 64')[seed % 3]}" for seed in range(24)],
    "library": [
        f"{label} {seed} {('16 112', '5 48')[seed % 2]}" for label in LIBRARY_CLASSES for seed in range(2)
    ],
}
# One or two clips per difficulty and class, one per grade and class, three scenes per size, some motions.
SOME_KEYS = {
    "patches": ALL_KEYS["patches"][::3],
    "motions_v1": ALL_KEYS["motions_v1"][::3],
    "scenes": ALL_KEYS["scenes"][:9],
    "library": ALL_KEYS["library"][::9],
}


@cache
def hashes(table: str, key: str) -> str:
    """The hashes of frames, flow and mask of one clip, as far as it has them, separated by spaces."""
    arrays = GENERATORS[table](key)
    return " ".join(hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16] for a in arrays)


def machine() -> dict[str, str]:
    """The facts that the rounding of frames can depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return {
        "processor": f"{platform.machine()} {found[1] if found else platform.processor()}",
        "instructions": str(torch.backends.cpu.get_cpu_capability()),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "av": av.__version__,
    }


def differences(keys: dict[str, list[str]], parts: Iterable[int]) -> list[str]:
    """Name each array that differs from the record; parts: 0 = frames, 1 = flow, 2 = mask."""
    recorded = json.loads(HASHES.read_text(encoding="utf-8"))
    return [
        f"{table}: {('frames', 'flow', 'mask')[part]} of '{key}'"
        for table in keys
        for key in keys[table]
        for part in parts
        if part < len(recorded[table][key].split())
        if hashes(table, key).split()[part] != recorded[table][key].split()[part]
    ]


SETS = [
    pytest.param(SOME_KEYS, id="some"),
    pytest.param(ALL_KEYS, id="all", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("keys", SETS)
def test_flow_and_masks_are_as_recorded(keys: dict[str, list[str]]) -> None:
    changed = differences(keys, (1, 2))
    assert not changed, "not as recorded:\n" + "\n".join(changed)


@pytest.mark.parametrize("keys", SETS)
def test_frames_are_as_recorded(keys: dict[str, list[str]]) -> None:
    changed = differences(keys, (0,))
    recorded_on = json.loads(HASHES.read_text(encoding="utf-8"))["machine"]
    found = f"{len(changed)} clips not as recorded on {recorded_on}:\n" + "\n".join(changed)
    if changed and recorded_on != machine() and not os.environ.get("CI"):
        pytest.skip(f"{found}\nThis machine may round differently: {machine()}")
    assert not changed, f"{found}\nThis machine: {machine()}"


def test_the_table_is_complete() -> None:
    recorded = json.loads(HASHES.read_text(encoding="utf-8"))
    assert {table: list(recorded[table]) for table in ALL_KEYS} == ALL_KEYS
    assert len({value for table in ALL_KEYS for value in recorded[table].values()}) == 252 + len(
        ALL_KEYS["library"]
    )


if __name__ == "__main__":
    made = {table: {key: hashes(table, key) for key in keys} for table, keys in ALL_KEYS.items()}
    print(json.dumps({"machine": machine()} | made, indent=0))
