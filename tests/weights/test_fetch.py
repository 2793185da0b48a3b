"""Weights files: downloads are checked by hash, and reading a file runs no code."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from hidden_two_stream.errors import CheckpointError, OutputError, UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights.fetch import download_weights, fetch_weights, read_state_dict
from hidden_two_stream.weights.imagenet import initialize_streams


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of PyTorch Hub for one test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def published(folder: Path, content: bytes = b"weights", digits: int = 8) -> tuple[Path, str]:
    """Return a file named like torchvision's, and its hash."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"net-{digest[:digits]}.pth"
    path.write_bytes(content)
    return path, digest


@pytest.mark.parametrize("digits", [8, 64])
def test_a_download_is_kept(
    tmp_path: Path, cache: Path, digits: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path, digest = published(tmp_path, digits=digits)
    assert download_weights(path.as_uri(), quiet=True) == (cache / path.name, digest)
    path.unlink()
    assert fetch_weights(path.as_uri(), quiet=True) == (cache / path.name, digest)
    assert (cache / path.name).read_bytes() == b"weights"
    assert capfd.readouterr() == ("", "")


def test_a_broken_file_in_the_cache_is_downloaded_again(tmp_path: Path, cache: Path) -> None:
    path, digest = published(tmp_path)
    cache.mkdir(parents=True)
    (cache / path.name).write_bytes(b"weig")
    assert download_weights(path.as_uri(), quiet=True) == (cache / path.name, digest)
    assert (cache / path.name).read_bytes() == b"weights"


def test_a_hash_behind_the_url_keeps_equal_names_apart(tmp_path: Path, cache: Path) -> None:
    kept = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "net.pth").write_bytes(bytes([number]))
        digest = hashlib.sha256(bytes([number])).hexdigest()
        kept.append(
            download_weights(f"{(folder / 'net.pth').as_uri()}#sha256={digest.upper()}", quiet=True)[0]
        )
    assert [path.read_bytes() for path in kept] == [b"\0", b"\1"]
    assert kept[0].parent == cache


@pytest.mark.parametrize("in_cache", [False, True])
def test_another_hash_is_an_error_and_no_file_is_kept(tmp_path: Path, cache: Path, in_cache: bool) -> None:
    path = tmp_path / "net-0123abcd.pth"
    path.write_bytes(b"other weights")
    if in_cache:
        cache.mkdir(parents=True)
        (cache / path.name).write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match=r'expected "0123abcd", got .*--init FILE'):
        download_weights(path.as_uri(), quiet=True)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "end", ["net.pth", "net-0123abc.pth", "net-0123abcd.pth#sha256=xyz", "net-0123abcd.pth#md5=0123abcd"]
)
def test_a_url_without_a_hash_is_rejected(tmp_path: Path, cache: Path, end: str) -> None:
    with pytest.raises(UsageError, match="has no hash of its file; give a name such as"):
        download_weights(f"{tmp_path.as_uri()}/{end}")


@pytest.mark.parametrize(
    "url",
    [
        "file:///no/such/folder/net-0123abcd.pth",
        "http://127.0.0.1:9/net-0123abcd.pth",
        "http://127.0.0.1:port/net-0123abcd.pth",
        "http://127.0.0.1:9/naïve-0123abcd.pth",
    ],
)
def test_a_failed_download_says_what_to_do(cache: Path, url: str) -> None:
    with pytest.raises(CheckpointError, match=r"cannot download .*--init FILE") as caught:
        download_weights(url, quiet=True)
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(("backbone", "prefix"), [("resnet18", "f37072fd"), ("resnet50", "0676ba61")])
def test_imagenet_is_torchvisions_file(
    monkeypatch: pytest.MonkeyPatch, cache: Path, backbone: str, prefix: str
) -> None:
    asked = []

    def no_network(url: str, path: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url, Path(path).name, hash_prefix))
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    model = HiddenTwoStream("nano", backbone, 5, streams=("spatial",))
    with pytest.raises(CheckpointError, match=r"cannot download .*Name or service not known.*--init FILE"):
        initialize_streams(model, backbone, "imagenet", quiet=True)
    name = f"{backbone}-{prefix}.pth"
    assert asked == [(f"https://download.pytorch.org/models/{name}", name, prefix)]


def test_an_invalid_url_is_rejected(cache: Path) -> None:
    with pytest.raises(UsageError, match="cannot parse the URL"):
        download_weights("http://[/net-0123abcd.pth")


def test_an_uncreatable_cache_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot create the folder"):
        download_weights("file:///net-0123abcd.pth")


@pytest.mark.parametrize("source", ["no/such/file.pth", "imagnet", "."])
def test_a_missing_file_is_named(source: str) -> None:
    with pytest.raises(UsageError, match=r"no weights at .*give none, imagenet, a URL, or a \.pth"):
        fetch_weights(source)


class Trap:
    """Creates the folder `path` when unpickled with code allowed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("plain", [False, True])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, plain: bool) -> None:
    trapped = {"fc.bias": Trap(tmp_path / "sprung")}
    path = tmp_path / "trap.pth"
    if plain:
        path.write_bytes(pickle.dumps(trapped))
    else:
        torch.save(trapped, path)
    with pytest.raises(CheckpointError, match="holds more than tensors") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()
    torch.load(path, weights_only=False) if not plain else pickle.loads(path.read_bytes())
    assert (tmp_path / "sprung").exists()  # the trap was a real one


def test_damaged_files_are_rejected(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(300)}, tmp_path / "whole.pth")
    save_file({"a": torch.zeros(300)}, tmp_path / "whole.safetensors")
    for suffix in (".pth", ".safetensors"):
        whole = (tmp_path / f"whole{suffix}").read_bytes()
        for name, content in {
            "half": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"hello there\n",
        }.items():
            path = tmp_path / f"{name}{suffix}"
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match=r"expected a state dict as torchvision") as caught:
                read_state_dict(path)
            assert path.name in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [({"epoch": 3, "state_dict": {}}, "a int .key 'epoch'"), (torch.zeros(3), "a Tensor"), ([1], "a list")],
)
def test_other_content_than_tensors_is_rejected(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=found):
        read_state_dict(tmp_path / "odd.pth")


def test_floating_point_tensors_become_float32(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, dtype=torch.float16), "n": torch.tensor(7)}, tmp_path / "a.pth")
    tensors = read_state_dict(tmp_path / "a.pth")
    assert tensors["a"].dtype == torch.float32
    assert tensors["n"].dtype == torch.int64


def test_a_file_that_unpacks_to_far_more_is_rejected(tmp_path: Path) -> None:
    """A compressed archive of zeros: 100 kB on disk, 64 MB in memory."""
    torch.save({"a": torch.zeros(16 << 20)}, tmp_path / "plain.pth")
    packed = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as smaller,
    ):
        for entry in plain.infolist():
            smaller.writestr(entry.filename, plain.read(entry))
    assert packed.stat().st_size < 200_000
    with pytest.raises(CheckpointError, match=r"packed\.pth.*it unpacks to 67,\d+,\d+ bytes"):
        read_state_dict(packed)
    assert read_state_dict(tmp_path / "plain.pth")["a"].numel() == 16 << 20


def test_a_repeated_view_is_rejected(tmp_path: Path) -> None:
    """One number that claims to be 10^12 of them, which a check of each would run through."""
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "view.pth")
    with pytest.raises(CheckpointError, match=r"holds 'a' as a repeated view"):
        read_state_dict(tmp_path / "view.pth")


def test_a_huge_safetensors_header_is_rejected(tmp_path: Path) -> None:
    header = b'{"__metadata__": {"a": "' + b"x" * (17 << 20) + b'"}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(
        CheckpointError, match=r"its header has 17,\d+,\d+ bytes; expected at most 16,777,216"
    ):
        read_state_dict(tmp_path / "a.safetensors")
