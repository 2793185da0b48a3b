"""The import of Caffe weights: a file becomes a run that loads, and each error is one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hidden_two_stream as hts
from hidden_two_stream.cli.main import main
from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.weights import caffe
from hidden_two_stream.weights.caffe import import_caffe, read_class_names

Layers = dict[str, list[np.ndarray]]
Write = Callable[..., Path]
NAMES = [f"{number} Action{number}" for number in (2, 1, 3, 5, 4)]


@pytest.fixture
def small_networks(small_model: HiddenTwoStream, monkeypatch: pytest.MonkeyPatch) -> HiddenTwoStream:
    """Import into networks with few channels instead of the published ones."""
    monkeypatch.setattr(caffe, "build_model", lambda recipe, num_classes: small_model)
    return small_model


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "classInd.txt"
    path.write_text("\n".join(NAMES) + "\n\n", encoding="utf-8")
    return path


def test_motionnet_alone_becomes_a_run_that_gives_flow(
    tmp_path: Path, write_caffemodel: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Uses the two-frame network at full size; only the last bias is not zero, so the flow is known."""
    with torch.device("meta"):
        empty = HiddenTwoStream("full", "vgg16", 0, 2, streams=())
    shapes = {name.split(".")[1]: {} for name in empty.state_dict()}
    for name, tensor in empty.state_dict().items():
        shapes[name.split(".")[1]][name.rpartition(".")[2]] = np.zeros(tensor.shape, np.float32)
    layers = {name: [parts["weight"], parts["bias"]] for name, parts in shapes.items()}
    layers["conv_pr2"][1][:] = (0.1, -0.2)
    source = write_caffemodel(layers)
    out = tmp_path / "new" / "run"
    assert main(["import-caffe", str(source), "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["networks"] == ["motion"]
    assert (result["num_frames"], result["classes"]) == (2, [])
    assert (result["ignored"], result["warnings"]) == ([], [])
    assert result["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    recognizer = hts.load(out)
    source.unlink()  # pytest keeps its folders; these two files are 340 MB
    (out / "model.safetensors").unlink()
    assert recognizer.info.recipe.model.streams == ()
    assert recognizer.info.recipe.model.hand_over == "reference"
    assert recognizer.info.metadata.imported_from == {
        "file": "net.caffemodel",
        "sha256": result["sha256"],
    }
    assert recognizer.trained_streams == ()
    flow = recognizer.flow(np.zeros((2, 64, 96, 3), np.uint8), short_side=64)
    # Raw × 20 is pixels of the input, half of that pixels of the finest grid.
    np.testing.assert_allclose(flow, np.broadcast_to(np.float32([1, -2]).reshape(2, 1, 1), (1, 2, 32, 48)))


def test_the_run_holds_the_content_of_the_file(
    small_networks: HiddenTwoStream,
    small_layers: Layers,
    write_caffemodel: Write,
    labels: Path,
    tmp_path: Path,
) -> None:
    small_layers["FlowScale6_0"] = [np.float32([0.625])]
    small_layers["predict_flow2_scale20"] = [np.float32([10] * 6)]
    source = write_caffemodel(small_layers)
    imported = import_caffe(str(source), str(tmp_path / "run"), str(labels))
    assert imported.classes == tuple(f"Action{number}" for number in range(1, 6))
    assert imported.networks == ("motion", "temporal")
    assert imported.ignored_layers == ("FlowScale6_0",)
    assert [warning.split(" as ")[0] for warning in imported.warnings] == [
        "predict_flow2_scale20 holds 10, not 20"
    ]
    assert list(imported.to_dict()) == [
        "run", "source", "sha256", "networks", "num_frames", "num_parameters", "classes", "ignored",
        "warnings",
    ]  # fmt: skip
    assert imported.num_parameters == sum(parameter.numel() for parameter in small_networks.parameters())
    tensors, metadata = read_tensors(tmp_path / "run" / "model.safetensors")
    np.testing.assert_array_equal(
        tensors["temporal_stream.backbone.classifier.6.weight"].numpy(), small_layers["fc8_vgg16"][0]
    )
    described = json.loads(metadata["hidden_two_stream"])
    model = described["recipe"]["model"]
    expected = {
        "motion": "full",
        "backbone": "vgg16",
        "streams": ["temporal"],
        "num_frames": 4,
        "hand_over": "reference",
    }
    assert {key: model[key] for key in expected} == expected
    recipe = recipe_from_dict(described["recipe"], "recipe")
    assert recipe.model.streams == ("temporal",)
    assert (recipe.spatial.steps, recipe.joint.steps, recipe.init) == (0, 16000, "none")
    assert described["provenance"]["stages"] == ["motion", "joint"]
    assert described["classes"] == imported.to_dict()["classes"]
    assert (described["recipe"]["input"]["size"], described["recipe"]["input"]["resize"]) == (224, [256, 340])


def test_without_labels_classes_are_numbered(
    small_networks: HiddenTwoStream,
    small_layers: Layers,
    write_caffemodel: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write_caffemodel(small_layers | {f"Delta{index}": [np.zeros(1)] for index in range(9)})
    assert main(["import-caffe", str(source), "-o", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "MotionNet and the temporal stream" in out
    assert "4 frames, 5 classes" in out
    assert "ignored layers: Delta0, Delta1, Delta2, Delta3, Delta4 and 4 more" in out
    assert "warning: got no labels; the classes are named class_000" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["classes"][4] == "class_004"


def test_a_wrong_number_of_labels_is_rejected(
    small_networks: HiddenTwoStream,
    small_layers: Layers,
    write_caffemodel: Write,
    labels: Path,
    tmp_path: Path,
) -> None:
    labels.write_text("walk\nrun\njump\n", encoding="utf-8")
    with pytest.raises(UsageError, match="has 3 labels, but the network has 5 outputs"):
        import_caffe(write_caffemodel(small_layers), tmp_path / "run", labels)
    assert not (tmp_path / "run").exists()


def test_labels_for_motionnet_alone_are_rejected(
    small_networks: HiddenTwoStream,
    small_layers: Layers,
    write_caffemodel: Write,
    labels: Path,
    tmp_path: Path,
) -> None:
    del small_networks.temporal_stream
    motion = {name: arrays for name, arrays in small_layers.items() if "vgg16" not in name}
    with pytest.raises(UsageError, match="which has no classes; leave out --labels"):
        import_caffe(write_caffemodel(motion), tmp_path / "run", labels)


def test_a_run_is_never_overwritten(
    small_networks: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write, tmp_path: Path
) -> None:
    source = write_caffemodel(small_layers)
    import_caffe(source, tmp_path / "run")
    with pytest.raises(UsageError, match="already holds a run"):
        import_caffe(source, tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "code", "what"),
    [
        (None, 2, "no file at"),
        (b"", 1, "is empty"),
        (b'name: "hidden_deploy"\n', 1, "is text"),
        (b"\x89HDF\r\n\x1a\n", 1, "is an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", 1, "is a git-lfs pointer"),
        (bytes.fromhex("0a036e6574a206ff7f0a"), 1, "is cut off"),
        (bytes.fromhex("0a036e6574"), 1, "has no layers of MotionNet: it has no layers with weights"),
    ],
)
def test_bad_files_give_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, code: int, what: str
) -> None:
    source = tmp_path / "net.caffemodel"
    if content is not None:
        source.write_bytes(content)
    assert main(["import-caffe", str(source), "-o", str(tmp_path / "run")]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hts: ")
    assert what in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("walk\nrun\n", ("walk", "run")),
        ("2 run fast\n1 walk\n", ("walk", "run fast")),
        ("0\twalk\n1  run\n\n", ("walk", "run")),
        (
            "".join(f"{n} a{n}\n" for n in (10, 9, 1, 2, 3, 4, 5, 6, 7, 8)),
            tuple(f"a{n}" for n in range(1, 11)),
        ),
        ("3 point throw\nrun\n", ("3 point throw", "run")),  # not all lines begin with a number
        ("\ufeffwalk\r\nbrush hair\r\n", ("walk", "brush hair")),
        ("", ()),
    ],
)
def test_class_names_are_read_in_their_order(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_class_names(path) == expected


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"walk\nrun\nwalk\n", "have walk twice"),
        (b"1 walk\n3 run\n", "are numbered 1 to 3 on 2 lines"),
        (b"1 walk\n1 run\n", "are numbered 1 to 1 on 2 lines"),
        (b"2 walk\n3 run\n", "are numbered 2 to 3 on 2 lines"),
        (b"walk\n\xff\xfe\n", "cannot read the labels"),
    ],
)
def test_invalid_labels_are_rejected(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=what):
        read_class_names(path)
    with pytest.raises(UsageError, match="cannot read the labels"):
        read_class_names(tmp_path / "none.txt")
