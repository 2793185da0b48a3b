"""Wrong arguments: named at once, before PyTorch is imported, with the nearest option or command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Hts = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "--recpe", "quick", "--out", "x"),
         "hts train: unrecognized arguments: --recpe quick; did you mean --recipe? (see hts train --help)"),
        (("train", "--holdout=subject=1", "--out", "x"),
         "hts train: unrecognized arguments: --holdout=subject=1; did you mean --hold-out? "
         "(see hts train --help)"),
        (("check", "folder", "--zzz"), "hts check: unrecognized arguments: --zzz (see hts check --help)"),
        (("check", "folder", "another"), "hts check: unrecognized arguments: another (see hts check --help)"),
    ],
)  # fmt: skip
def test_an_unknown_option_names_the_nearest_and_its_own_help(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from hidden_two_stream.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{expected}\n"


@pytest.mark.parametrize(("wrong", "near"), [("trian", "train"), ("evalute", "evaluate"), ("qqqq", None)])
def test_an_unknown_command_names_the_nearest(
    wrong: str, near: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    from hidden_two_stream.cli.main import main

    with pytest.raises(SystemExit):
        main([wrong])
    line = capsys.readouterr().err
    assert f"invalid choice: '{wrong}'" in line
    assert ("did you mean" in line) == (near is not None)
    if near is not None:
        assert f"; did you mean {near}? (see hts --help)" in line


WRONG = {
    "data": ("train --data nowhere --out run", "no data at 'nowhere'"),
    "field": ("train --data . --out run --set motoin.steps=2", "unknown field 'motoin.steps'"),
    "value": ("train --data . --out run --set motion.steps=many", "motion.steps"),
    "recipe": ("train --data . --out run --recipe qick", "qick"),
    "protocol": ("train --data . --out run --protocol 10x3", "unknown protocol '10x3'"),
    "stage": ("train --data . --out run --stage motoin", "unknown stage 'motoin'"),
    "out": ("train --data . --out .", "something other than a run"),
    "check": ("check nowhere", "no data at 'nowhere'"),
    "cross-validate": ("cross-validate --data nowhere --group subject --out run", "no data at 'nowhere'"),
    "compare": ("compare --data . --out run --set nano=1", "unknown field 'nano'"),
    "run": ("evaluate nowhere --data .", "no run at 'nowhere'"),
    "predicted": ("predict nowhere clip.mp4", "no run at 'nowhere'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named_before_pytorch_is_imported(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("something")
    command, message = WRONG[name]
    code = (
        "import sys; from hidden_two_stream.cli.main import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "False\n"), done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
