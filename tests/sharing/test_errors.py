"""What can go wrong with the hub: one clear line each, and a hostile repository is refused."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

import hidden_two_stream as hts
from hidden_two_stream.errors import (
    CheckpointError,
    HiddenTwoStreamError,
    MissingDependencyError,
    OutputError,
    UsageError,
)
from hidden_two_stream.weights import hub as hub_module
from hidden_two_stream.weights.hub_names import HubName, hub_name, parse_hub_name

from ..hub_server import Answer, StandIn
from .conftest import small_run

Command = Callable[..., tuple[int, str, str]]


def shared(hub: StandIn, tmp_path: Path, **options: object) -> str:
    run = small_run(tmp_path / "run", streams=("temporal",))
    return str(hts.push(run, "anna/moves", **options).commit)  # type: ignore[arg-type]


def one_line(error: pytest.ExceptionInfo[HiddenTwoStreamError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    assert "hf_" not in text  # no token
    return text


# -- names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("anna/moves", HubName("anna/moves")),
        ("anna/moves@v1.0", HubName("anna/moves", "v1.0")),
        ("a.b-c_d/E.1@refs/pr/4", HubName("a.b-c_d/E.1", "refs/pr/4")),
        ("moves", None), ("a/b/c", None), ("/a/b", None), ("./anna/moves", None), ("../anna", None),
        ("anna/../b", None), ("anna/b..c", None), ("anna/b--c", None), ("anna/-b", None), ("anna/b.", None),
        ("anna/moves@", None), ("anna/moves@../../x", None), ("anna/moves@/x", None),
        ("anna/moves@a//b", None),
        ("anna/moves@a..b", None), ("runs/model.safetensors", None), ("runs/model.onnx", None),
        ("anna/" + "x" * 97, None), ("anna/moves@" + "x" * 201, None), ("ann\0a/moves", None), ("", None),
        ("anna\\moves", None), ("anna/moves\n", None),
    ],
)  # fmt: skip
def test_names(text: str, name: HubName | None) -> None:
    assert hub_name(text) == name
    if name is None:
        with pytest.raises(UsageError, match=r"as the name of a model on the hub"):
            parse_hub_name(text)


@pytest.mark.parametrize("load", [hts.load, hts.load_annotator, hts.inspect])
@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/y", "/" + "y" * 5000, "moves", "a/b/c"])
def test_a_name_of_nothing(hub: StandIn, load: Callable[[str], object], name: str) -> None:
    with pytest.raises(
        UsageError, match=r"no run at .*there is no such folder or file; give .*USER/NAME"
    ) as error:
        load(name)
    one_line(error)
    assert hub.requests == []


def test_a_path_is_never_a_name(hub: StandIn) -> None:
    with pytest.raises(UsageError, match=r"no run at 'anna/moves'"):
        hts.load(Path("anna/moves"))
    assert hub.requests == []


# -- loading


@pytest.mark.parametrize("token", ["hf_anna", None])
def test_no_such_model(
    hub: StandIn, token: str | None, monkeypatch: pytest.MonkeyPatch, hts: Command
) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    code, out, err = hts("predict", "anna/nothing", "x.mp4")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "no run at 'anna/nothing': there is no such folder or file here, and http://127.0.0.1" in err
    assert "hf auth login" in err


def test_no_such_revision(hub: StandIn, tmp_path: Path) -> None:
    shared(hub, tmp_path)
    with pytest.raises(UsageError, match=r"'anna/moves' has no revision 'v9' on http") as error:
        hts.load("anna/moves@v9")
    one_line(error)
    with pytest.raises(UsageError, match=r"has no revision") as error:
        hts.load("anna/moves@" + "0" * 40)
    one_line(error)


def test_a_private_model_of_another(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(hub, tmp_path, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_ben")
    with pytest.raises(UsageError, match=r"no model 'anna/moves', or only a private one") as error:
        hts.load("anna/moves")
    one_line(error)


def test_a_gated_model(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(hub, tmp_path, private=False)
    hub.models["anna/moves"].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_ben")
    with pytest.raises(
        UsageError, match=r"'anna/moves.*' is for registered users: ask for access on"
    ) as error:
        hts.load("anna/moves")
    one_line(error)


def test_a_wrong_token(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run(tmp_path / "run", streams=("temporal",))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(CheckpointError, match=r"does not accept the token .Invalid credentials") as error:
        hts.load("anna/moves")
    one_line(error)
    with pytest.raises(
        OutputError, match=r"cannot push to 'anna/moves': .*does not accept the token"
    ) as failed:
        hts.push(run, "anna/moves")
    one_line(failed)


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "does not allow it with this token"), (429, "answered 429 .*try again later"),
     (500, "answered 500 .*try again later"), (418, "answered 418")],
)  # fmt: skip
def test_other_answers(hub: StandIn, status: int, words: str) -> None:
    hub.refused["/api/models/"] = Answer.error(status, message="no")
    with pytest.raises(CheckpointError, match=words) as error:
        hts.load("anna/moves")
    one_line(error)


def test_no_network(hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", streams=("temporal",))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    with pytest.raises(CheckpointError, match=rf"none in the cache .* {address} cannot be reached") as error:
        hts.load("anna/moves")
    one_line(error)
    with pytest.raises(OutputError, match=rf"{address} cannot be reached") as failed:
        hts.push(run, "anna/moves")
    one_line(failed)


def test_offline(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = shared(hub, tmp_path)
    run = tmp_path / "run"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"no run at .*none in the cache .*HF_HUB_OFFLINE is set") as error:
        hts.load("anna/moves")
    one_line(error)
    with pytest.raises(UsageError, match=r"none in the cache") as error:
        hts.load(f"anna/moves@{commit}")
    with pytest.raises(OutputError, match=r"HF_HUB_OFFLINE is set") as failed:
        hts.push(run, "anna/moves")
    one_line(failed)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hts.load("anna/moves")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert hts.load("anna/moves").source == hts.load(f"anna/moves@{commit}").source == f"anna/moves@{commit}"
    assert hub.requests == []


def test_a_read_only_cache(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(hub, tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(OutputError, match=r"set HF_HOME") as error:
        hts.load("anna/moves")
    one_line(error)


def test_without_the_library(hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", streams=("temporal",))
    from hidden_two_stream.weights import hub_errors

    real = hub_errors.importlib.import_module

    def missing(name: str) -> object:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(hub_errors.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"no run at 'anna/moves'.*\[hub\]"):
        hts.load("anna/moves")
    with pytest.raises(MissingDependencyError, match=r"a push to the hub needs .*\[hub\]"):
        hts.push(run, "anna/moves")


# -- pushing


def test_no_token(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    run = small_run(tmp_path / "run", streams=("temporal",))
    with pytest.raises(UsageError, match=r"no token of the hub: log in with: hf auth login, or set HF_TOKEN"):
        hts.push(run, "anna/moves")
    assert hub.models == {}
    assert hts.push(run, "anna/moves", token="hf_anna").private


def test_a_place_of_another(hub: StandIn, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", streams=("temporal",))
    with pytest.raises(OutputError, match=r"does not allow it with this token .You don't have the rights"):
        hts.push(run, "ben/moves")
    hub.add("ben/open", {"README.md": b""})
    with pytest.raises(OutputError, match=r"does not allow it with this token .you must have write access"):
        hts.push(run, "ben/open")


def test_who_sees_it(hub: StandIn, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", streams=("temporal",))
    assert hts.push(run, "anna/new").private
    assert not hts.push(run, "anna/open", private=False).private
    assert not hts.push(run, "anna/open").private  # it stays as it is
    with pytest.raises(UsageError, match=r"'anna/open' is public on .*, not private: nothing was pushed"):
        hts.push(run, "anna/open", private=True)
    with pytest.raises(UsageError, match=r"'anna/new' is private on .*, not public: nothing was pushed"):
        hts.push(run, "anna/new", private=False)
    assert len(hub.models["anna/new"].commits) == 2


def test_an_edited_card_can_stay(hub: StandIn, run: Path) -> None:
    hts.push(run, "anna/moves")
    hub.models["anna/moves"].commit({"README.md": b"mine"})
    hts.push(run, "anna/moves", keep_card=True)
    assert hub.models["anna/moves"].files["README.md"] == b"mine"
    hts.push(run, "anna/moves")
    assert b"# moves" in hub.models["anna/moves"].files["README.md"]


def test_a_dry_run_pushes_nothing(hub: StandIn, run: Path, tmp_path: Path) -> None:
    found = hts.push(run, "anna/moves", dry_run=tmp_path / "dry")
    assert hub.requests == []
    assert {path.name for path in (tmp_path / "dry").iterdir()} == set(found.files)
    hts.push(run, "anna/moves")
    for name in found.files:
        assert hub.models["anna/moves"].files[name] == (tmp_path / "dry" / name).read_bytes()
    assert hts.load(tmp_path / "dry").classes == hts.load(run).classes
    with pytest.raises(UsageError, match=r"is not empty"):
        hts.push(run, "anna/moves", dry_run=tmp_path / "dry")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("moves",), "as the name of a model on the hub"),
        (("anna/moves@v1",), "a push makes a new revision"),
        (("anna/moves", "--license", "My License!"), "as the license; expected an identifier"),
        (("anna/moves", "--title", " "), "the title is empty"),
        (("anna/moves", "--public", "--private"), "not allowed with"),
        (("anna/moves", "--keep-card", "--title", "x"), "--keep-card keeps the card"),
        (("anna/moves", "--keep-card", "--dry-run", "x"), "leave out --keep-card"),
        (("anna/moves", "--picture", "nothing.mp4"), "nothing.mp4"),
    ],
)
def test_wrong_arguments(
    hub: StandIn, run: Path, arguments: tuple[str, ...], words: str, hts: Command
) -> None:
    code, out, err = hts("push", run, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert hub.models == {}


def test_what_cannot_be_shared(hub: StandIn, tmp_path: Path, hts: Command) -> None:
    code, _, err = hts("push", tmp_path, "anna/moves")
    assert (code, "is no run" in err) == (2, True)


# -- a hostile repository


def test_a_giant_file_is_not_downloaded(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared(hub, tmp_path)
    monkeypatch.setitem(hub_module.RUN_FILES, "model.safetensors", 1000)
    with pytest.raises(
        CheckpointError, match=r"model.safetensors has .* bytes; expected at most 1,000"
    ) as error:
        hts.load("anna/moves")
    one_line(error)
    assert not any(line.startswith("GET /lfs/") for line in hub.requests)


def test_a_download_larger_than_announced_is_stopped(hub: StandIn, tmp_path: Path) -> None:
    shared(hub, tmp_path)
    content = hub.models["anna/moves"].files["model.safetensors"]
    hub.refused["/lfs/"] = Answer(200, {}, content * 6)
    with pytest.raises(
        CheckpointError, match=r"a download has more than .* bytes; it is stopped|should be of size"
    ):
        hts.load("anna/moves")


def test_a_changed_download_is_refused(hub: StandIn, tmp_path: Path) -> None:
    shared(hub, tmp_path)
    content = hub.models["anna/moves"].files["model.safetensors"]
    hub.refused["/lfs/"] = Answer(200, {}, content[:-1] + b"!")
    for _ in range(2):  # the damaged file does not stay in the cache
        with pytest.raises(CheckpointError, match=r"model.safetensors of .* arrived damaged: its SHA-256"):
            hts.load("anna/moves")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": b"x"}, "holds no config.json: it is no run that hts push wrote"),
        ({"config.json": b'{"model_type": "vit"}'}, "is no run of this package, by its config.json"),
        ({"config.json": b"["}, "config.json of .* is damaged"),
        ({"config.json": b'{"format_version": 1, "recipe": {}}'}, "holds no model.safetensors"),
        ({"config.json": b'{"format_version": 1, "recipe": {}}', "pytorch_model.bin": b"x"}, "holds no"),
        ({"config.json": b'{"format_version": 1, "recipe": {}}', "model.safetensors": b"\x80\x04K\x01."},
         "not a complete safetensors file"),
        ({"config.json": b'{"format_version": 1, "recipe": {}}', "model.safetensors": b"../../../etc/passwd"},
         "not a complete safetensors file"),  # a link in git is a file with the target's name
        ({"config.json": b'{"format_version": 1, "recipe": {}}',
          "model.safetensors": struct.pack("<Q", 17 << 20) + b" " * (17 << 20)}, "its header has"),
        ({"config.json": b'{"format_version": 1, "recipe": {}}',
          "model.safetensors": struct.pack("<Q", 2) + b"{}"}, "it has no description"),
    ],
)  # fmt: skip
def test_other_contents(hub: StandIn, files: dict[str, bytes], words: str) -> None:
    hub.add("ben/other", files)
    with pytest.raises(CheckpointError, match=words) as error:
        hts.load("ben/other")
    one_line(error)


@pytest.mark.parametrize("sha", ["../../evil", "main", "", "A" * 40])
def test_a_commit_that_is_none(hub: StandIn, tmp_path: Path, sha: str) -> None:
    hub.refused["/api/models/anna/moves"] = Answer.of({"id": "anna/moves", "sha": sha, "siblings": []})
    with pytest.raises(CheckpointError) as error:
        hts.load("anna/moves")
    one_line(error)
    assert not any("/resolve/" in line for line in hub.requests)


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"../../../evil"', "Content-Length": "4"},
        {"ETag": f'"{"a" * 40}"', "X-Repo-Commit": "b" * 40},
        {"ETag": f'"{"a" * 40}"', "X-Linked-Size": "-5"},
    ],
)
def test_headers_that_lie(hub: StandIn, tmp_path: Path, headers: dict[str, str]) -> None:
    commit = shared(hub, tmp_path)
    for file in ("config.json",):
        answer = Answer(200, {"X-Repo-Commit": commit, **headers}, b"evil")
        hub.refused[f"/anna/moves/resolve/{commit}/{file}"] = answer
    with pytest.raises(CheckpointError, match=r"gave no valid commit, hash and size of config.json") as error:
        hts.load("anna/moves")
    one_line(error)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_link_out_of_the_cache_is_refused(hub: StandIn, tmp_path: Path) -> None:
    commit = shared(hub, tmp_path)
    hts.load("anna/moves")
    (snapshot,) = (tmp_path / "hf").glob(f"**/snapshots/{commit}")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("/etc/passwd")
    with pytest.raises(CheckpointError, match=r"is no file inside the cache"):
        hts.load("anna/moves")


def test_the_environment_is_respected(hub: StandIn, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE, in a process of its own."""
    import os
    import subprocess
    import sys

    commit = shared(hub, tmp_path, private=True)
    home = tmp_path / "other-home"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": "hf_anna", "HTTP_PROXY": ""}
    command = [sys.executable, "-m", "hidden_two_stream", "inspect", "anna/moves", "--json"]

    def inspected(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, cwd=tmp_path)

    done = inspected()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == f"anna/moves@{commit}"
    assert list(home.rglob("model.safetensors"))
    assert done.stderr == f"hts: run anna/moves@{commit}\n"
    hub.requests.clear()
    assert inspected(HF_HUB_OFFLINE="1", HF_TOKEN="").returncode == 0
    assert hub.requests == []
    empty = inspected(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
    assert (empty.returncode, empty.stdout, empty.stderr.count("\n")) == (2, "", 1)
    assert "HF_HUB_OFFLINE is set" in empty.stderr
