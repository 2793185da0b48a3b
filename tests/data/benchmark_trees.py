"""Small copies of UCF101 and HMDB51: generated videos, with the layout and lists of the real datasets."""

from __future__ import annotations

from pathlib import Path

from hidden_two_stream.synthetic.clips import CLASSES, generate_clip
from hidden_two_stream.video.writer import write_video

# Real class names, so that special cases are tested. In the lists of UCF101, the files of HandstandPushups
# differ from their folder in letter case.
UCF_CLASSES = ("Archery", "HandstandPushups", "Bowling", "WalkingWithDog", "YoYo")
HMDB_CLASSES = ("climb_stairs", "climb", "wave", "kick_ball", "kick")
HMDB_STEMS = ("AAA [NEW]_what!_%s_u_nm_np1_fr", "50;(B)&c_#2%%_%s_f_cm_np1_le", "ça_@ va ?_%s_h_nm_np1_ri")


def make_ucf101(
    root: Path, classes: int = 3, groups: int = 3, clips: int = 2, num_frames: int = 6, size: int = 32
) -> Path:
    """Write ROOT/UCF-101/CLASS/v_CLASS_g01_c01.avi and ROOT/ucfTrainTestlist; return ROOT.

    Each class is one kind of generated motion. In split n, every third group from group n on is for the test;
    the others are for training. Class numbers are not in alphabetical order.
    """
    names = UCF_CLASSES[:classes]
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    write(lists / "classInd.txt", [f"{n} {name}" for n, name in enumerate(names, start=1)])
    files = [
        (number, group, f"{name}/v_{name.replace('stand', 'Stand')}_g{group:02d}_c{clip:02d}.avi")
        for number, name in enumerate(names)
        for group in range(1, groups + 1)
        for clip in range(1, clips + 1)
    ]
    for seed, (number, _, name) in enumerate(files):
        _video(root / "UCF-101" / name, number, seed, num_frames, size)
    for split in (1, 2, 3):
        train = [f"{name} {n + 1}" for n, group, name in files if (group - split) % 3]
        test = [name for _, group, name in files if (group - split) % 3 == 0]
        write(lists / f"trainlist0{split}.txt", train)
        write(lists / f"testlist0{split}.txt", test)
    return root


def make_hmdb51(root: Path, classes: int = 3, clips: int = 6, num_frames: int = 6, size: int = 32) -> Path:
    """Write ROOT/hmdb51_org/CLASS/NAME_0.avi and ROOT/testTrainMulti_7030_splits; return ROOT.

    Names hold brackets and other special characters, like those of the real dataset. Of six clips, a split
    has three for training and two for the test, and leaves one unused.
    """
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for number, name in enumerate(HMDB_CLASSES[:classes]):
        files = [f"{HMDB_STEMS[clip % 3] % name}_goo_{clip}.avi" for clip in range(clips)]
        for clip, file in enumerate(files):
            _video(root / "hmdb51_org" / name / file, number, 100 * number + clip, num_frames, size)
        for split in (1, 2, 3):
            codes = ["110212"[(clip + split) % 6] for clip in range(clips)]
            lines = [f"{file} {code} " for file, code in zip(files, codes, strict=True)]
            write(lists / f"{name}_test_split{split}.txt", lines)
    return root


def write(path: Path, lines: list[str]) -> Path:
    """Write a list with Windows line ends, as in the real lists; create missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\r\n" for line in lines), encoding="utf-8", newline="")
    return path


def touch(root: Path, *names: str) -> None:
    """Create empty files, for tests that read names only."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _video(path: Path, number: int, seed: int, num_frames: int, size: int) -> None:
    clip = generate_clip(CLASSES[number % len(CLASSES)], seed, num_frames=num_frames, size=size)
    write_video(path, clip.frames)
