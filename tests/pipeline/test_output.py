"""What is printed is safe for terminals and parsers, and streams that fail give an exit code and one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hidden_two_stream.cli import evaluate as evaluate_command
from hidden_two_stream.errors import OutputError
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.experiments import cross_validation
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.printing import json_text, one_line, print_error_line, printable
from hidden_two_stream.progress import ProgressLine, note
from hidden_two_stream.training import runner

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]
posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def shell(command: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which $HTS is the command and "$@" are the arguments."""
    line = command.replace("$HTS", f"'{sys.executable}' -m hidden_two_stream")
    return subprocess.run(
        ["bash", "-c", line, "bash", *map(str, arguments)],
        capture_output=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip


# -- streams that fail


@full
@pytest.mark.parametrize("arguments", ["--version", "fuse --help", "bench --networks nano --json"])
@pytest.mark.parametrize(
    ("where", "reason"), [(">/dev/full", "No space left on device"), (">&-", "stdout is closed")]
)
def test_a_result_that_cannot_be_printed_is_a_failure(arguments: str, where: str, reason: str) -> None:
    done = shell(f"$HTS {arguments} {where}")
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert line.startswith(f"hts: cannot print the result: {reason}")


@full
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(true)"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("bench --networks nano", 0), ("check /nowhere", 2), ("check", 2)],
)
def test_a_broken_stderr_changes_neither_the_result_nor_the_exit_code(
    arguments: str, code: int, where: str
) -> None:
    done = shell(f"$HTS {arguments} {where}")
    assert done.returncode == code
    assert done.stderr == b""
    assert (b"GMAC" in done.stdout) == (code == 0)
    assert code == 0 or done.stdout == b""  # messages do not move to stdout


@full
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_a_broken_stderr_does_not_stop_progress(small_data: Path, where: str) -> None:
    done = shell(f'$HTS check "$@" --workers 0 {where}', small_data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"24 videos, 24 readable")


@posix
def test_a_reader_that_ends_is_no_message() -> None:
    done = shell("set -o pipefail; $HTS bench --networks | true")
    assert (done.returncode, done.stderr) == (1, b"")


@posix
def test_nothing_is_written_into_a_file_that_takes_the_place_of_stdout(
    small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.csv"
    done = shell(
        '$HTS evaluate "$@" --workers 0 --quiet <&- >&- 2>&-',
        small_run, "--data", small_data, "--save-scores", scores,
    )  # fmt: skip
    assert done.returncode == 1
    assert not scores.exists() or scores.read_text().startswith('"path","label"')


# -- results are not lost


def fails(*_: object, **__: object) -> None:
    raise OutputError("cannot write 'somewhere': No space left on device; choose another path")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_for_the_scores_does_not_lose_the_accuracy(
    hts: Hts, small_run: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.setattr(Evaluation, "save_scores", fails)
    code, out, err = hts(
        "evaluate", small_run, "--data", small_data, "--workers", 0, "--quiet",
        "--save-scores", tmp_path / "scores.npz", *options,
    )  # fmt: skip
    assert (code, err.count("\n")) == (1, 1)
    assert "No space left on device" in err
    assert json.loads(out)["num_test_videos"] == 8 if options else out.startswith("8 videos")


def test_a_full_disk_for_the_report_does_not_lose_the_accuracy(
    hts: Hts, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "write_run_report", fails)
    code, _, err = hts("train", "--data", small_data, "--out", tmp_path / "run", *QUICK)
    assert code == 1
    assert "8 videos, protocol 10x1: spatial " in err.splitlines()[-2]
    assert err.splitlines()[-1].startswith("hts: cannot write 'somewhere'")


def test_a_full_disk_for_the_folds_does_not_lose_the_accuracy(
    hts: Hts, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data_root / "faults" / "24_ds" / "ds", tmp_path / "ds")
    shutil.copy(data_root / "faults" / "26_subjects_S1.csv", tmp_path / "labels.csv")
    monkeypatch.setattr(cross_validation, "_write_report", fails)
    code, _, err = hts(
        "cross-validate", "--data", tmp_path / "labels.csv", "--group", "subject",
        "--out", tmp_path / "out", *QUICK,
    )  # fmt: skip
    assert code == 1
    assert err.splitlines()[-2].startswith("3 folds by subject, protocol 10x1: mean spatial ")


@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_does_not_lose_finished_predictions(
    hts: Hts, small_run: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    videos = sorted((small_data.parent / "videos").rglob("test_*.mp4"))[:2]
    predict, seen = Recognizer.predict, []

    def interrupted(self: Recognizer, source: object, protocol: str, **options: object) -> object:
        if len(seen) == finished:
            raise KeyboardInterrupt
        seen.append(source)
        return predict(self, videos[0], protocol, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Recognizer, "predict", interrupted)
    code, out, err = hts("predict", small_run, *videos, "--json")
    assert (code, err) == (130, "hts: interrupted\n")
    assert len(json.loads(out)["predictions"]) == 1 if finished else out == ""


# -- what is printed


HOSTILE = "a\x1b[31m\x9b2J\r\x07\u202eb\udcff\x7f\u2028c"
ESCAPED = r"a\x1b[31m\x9b2J\r\x07\u202eb\udcff\x7f\u2028c"


def test_control_characters_are_escaped() -> None:
    assert printable(HOSTILE) == ESCAPED
    assert printable("é 漢 😀 × ±\n\tx") == "é 漢 😀 × ±\n\tx"
    assert printable("é×", "ascii") == r"\xe9\xd7"
    assert one_line("a\nb\tc") == r"a\nb\tc"


@pytest.mark.parametrize("encoding", [None, "utf-8", "UTF-8", "ascii", "latin-1", "cp1252"])
def test_json_is_ascii_safe_and_reads_back(encoding: str | None) -> None:
    data = {"name": HOSTILE + "é漢😀", HOSTILE: [1, None, 0.5]}
    text = json_text(data, encoding)
    assert json.loads(text.encode(encoding or "utf-8")) == data
    assert printable(text) == text
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"))


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "1"}])
@posix
def test_names_that_are_not_text_or_move_the_cursor(
    small_run: Path, small_data: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    video = next((small_data.parent / "videos").rglob("test_*.mp4"))
    good, bad = b"a\x1b[31m\xff\xc2\x9bb\nc.mp4", b"bad\x1b]0;x\x07\xfe.mp4"
    folder = os.fsencode(tmp_path)
    shutil.copy(video, os.path.join(folder, good))
    with open(os.path.join(folder, bad), "wb") as file:
        file.write(b"text")
    done = shell('$HTS predict "$@"', small_run, tmp_path, **environment)
    assert done.returncode == 1
    for text, escaped in (
        (done.stdout, rb"a\x1b[31m\udcff\x9bb\nc.mp4: "),
        (done.stderr, rb"bad\x1b]0;x\x07"),
    ):
        assert escaped in text
        assert len(text.splitlines()) == 1
        assert not any(byte < 32 and byte != 10 for byte in text)
    done = shell('$HTS predict --json "$@"', small_run, tmp_path, **environment)
    found = json.loads(done.stdout.decode("utf-8"))
    assert os.fsencode(Path(found["predictions"][0]["source"]).name) == good
    assert os.fsencode(Path(found["unreadable"][0]["source"]).name) == bad
    assert not any(byte < 32 and byte != 10 for byte in done.stdout)


def test_labels_are_escaped_in_results_reports_and_errors(
    hts: Hts, data_root: Path, small_data: Path, tmp_path: Path
) -> None:
    labels = [f"<b>{HOSTILE[:-4]}</b><script>alert(1)</script>", "a/b", "100%\nx"]
    videos = data_root / "faults" / "24_ds" / "ds"
    rows = ["path,label,subject"]
    for label, name in zip(labels, ("left", "right", "up"), strict=True):
        rows += [f'{videos / name}/test_000{n}.mp4,"{label}","s{n % 2}\x1b[2J"' for n in range(4)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows), encoding="utf-8", errors="surrogateescape")
    run = tmp_path / "run"
    for command in (("train",), ("cross-validate", "--group", "subject")):
        out_folder = run if command == ("train",) else tmp_path / "folds"
        code, out, err = hts(*command, "--data", path, "--out", out_folder, *QUICK)
        assert code == 0, err
        for text in (out, err):
            assert printable(text) == text
        page = (out_folder / "report.html").read_text(encoding="utf-8")
        assert "<script>alert" not in page
    assert [line for line in out.splitlines() if line.startswith(r"  subject s0\x1b[2J: ")]
    code, out, err = hts("check", path, "--workers", 0)
    assert (code, printable(out + err)) == (0, out + err)
    code, _, err = hts("evaluate", run, "--data", small_data, "--workers", 0)
    assert (code, err.count("\n"), printable(err)) == (1, 1, err)
    code, _, err = hts("check", tmp_path / "no\x1b[31m")
    assert (code, err.count("\n"), printable(err)) == (2, 1, err)
    code, _, err = hts("check", path, "--no\x1b[31m")
    assert (code, err.count("\n"), printable(err)) == (2, 1, err)


def test_progress_and_notes_survive_without_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note("a\x1b[31m\nb")
    with ProgressLine("own\x1b[1m:flow", 1) as line:
        line.update(1, "x\ny")
    assert capsys.readouterr().err.splitlines() == [
        r"a\x1b[31m\nb", r"own\x1b[1m:flow 1/1  0 s left  x\ny"
    ]  # fmt: skip
    note("nothing", quiet=True)
    monkeypatch.setattr(sys, "stderr", None)
    note("nothing")
    print_error_line("nothing")
    with ProgressLine("title", 1) as line:
        line.update(1)
    assert capsys.readouterr() == ("", "")


# -- paths


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "{}"),
        ("prepare", "ucf101", "{}"),
        ("prepare", "ucf101", "x", "--out", "{}"),
        ("generate", "motions-v1", "--out", "{}"),
        ("demo", "--out", "{}"),
        ("demo", "--recipe", "{}"),
        *(("train", "--out", "run", f"--{name}", "{}") for name in ("data", "recipe", "init")),
        *(("train", "--out", "run", f"--{part}-from", "{}") for part in ("motion", "spatial", "temporal")),
        ("train", "--data", "x", "--out", "{}"),
        ("train", "--resume", "--out", "{}"),
        *((command, "--data", "{}", "--out", "x") for command in ("cross-validate", "compare")),
        *((command, "--data", "x", "--out", "{}") for command in ("cross-validate", "compare")),
        ("evaluate", "{}", "--data", "x"),
        ("evaluate", "run", "--data", "{}"),
        ("evaluate", "run", "--data", "x", "--save-scores", "{}"),
        ("fuse", "{}", "--labels", "x"),
        *(("fuse", "a.npz", f"--{name}", "{}") for name in ("labels", "search", "classes")),
        ("predict", "{}", "x"),
        ("predict", "run", "x", "{}"),
        ("flow", "{}", "x"),
        ("flow", "run", "{}"),
        ("flow", "--network", "{}", "x"),
        ("flow", "run", "x", "-o", "{}"),
        ("labels", "{}"),
        ("labels", "x.csv", "--out", "{}"),
        ("import-caffe", "{}", "-o", "x"),
        ("import-caffe", "x", "-o", "{}"),
        ("import-caffe", "x", "-o", "y", "--labels", "{}"),
    ],
)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [("", "got an empty name"), ("a\0b", "cannot hold a NUL"), ("-", "stdin and stdout are not supported")],
)
def test_paths_that_name_nothing_are_refused(
    hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], wrong: str,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = hts(*(wrong if argument == "{}" else argument for argument in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []


# -- scripts


def test_a_script_without_a_main_guard_works(data_root: Path, tmp_path: Path) -> None:
    """Worker processes do not import the script: it starts once, and ends."""
    faults = data_root / "faults"
    shutil.copytree(faults / "24_ds" / "ds", tmp_path / "ds")
    script = shutil.copy(faults / "22_no_main_guard.py", tmp_path)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert (lines[0], lines[1], lines[-1]) == ("start", "18 videos, 18 readable, 3 classes", "end")
    assert lines.count("start") == 1


# -- numbers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "..", "--workers", 257), "--workers is 257; expected 0 to 256"),
        (("generate", "motions-v1", "--out", "x", "--workers", -1), "--workers is -1; expected 0 to 256"),
        (("train", "--data", "..", "--out", "y", "--cache-mb", -1), "--cache-mb is -1; expected 0 or more"),
        (("prepare", "ucf101", "x", "--splits", "1..999999999999"), "expected a number from 1 to 3, or 1..3"),
        (("prepare", "ucf101", "x", "--splits", "9" * 5000), "expected a number from 1 to 3, or 1..3"),
        (("prepare", "ucf101", "x", "--splits", "3..1"), "expected a number from 1 to 3, or 1..3"),
    ],
)
def test_numbers_out_of_range_are_refused(
    hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = hts(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_demo_does_not_replace_a_file(hts: Hts, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    code, _, err = hts("demo", "--out", tmp_path / "demo")
    assert (code, err.count("\n"), "is a file; name a folder" in err) == (2, 1, True)
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried\nmore")]
)
def test_too_little_memory_is_said_in_one_line(
    hts: Hts, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr(evaluate_command, "run", run)
    code, _, err = hts("evaluate", "run", "--data", "x")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("hts: not enough memory: ")
