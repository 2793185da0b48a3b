"""Writes small whole files of each kind with the package's own writers, or by hand where there is none."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hidden_two_stream.checkpoint import RunInfo
    from hidden_two_stream.data.annotations.model import Annotations
    from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = [
    "copy_old_run",
    "label_entry",
    "write_activitynet",
    "write_annotator",
    "write_caffemodel",
    "write_class_names",
    "write_dataset_table",
    "write_encoder",
    "write_flow",
    "write_frame_dataset",
    "write_image_weights",
    "write_kinetics",
    "write_labels",
    "write_motion_weights",
    "write_onnx",
    "write_pt2",
    "write_recipe",
    "write_run",
    "write_scores",
    "write_segments_table",
    "write_unfinished",
    "write_web_project",
]

_CLASSES = ("left", "right")
_OLD_RUN = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "run-format-1"
_SIZE, _FRAMES = 32, 3


# -- runs


@cache
def _small_run() -> tuple[HiddenTwoStream, RunInfo]:
    """Return a model of the smallest networks with random weights, and its description."""
    import torch

    from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
    from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
    from hidden_two_stream.recognition.calibration import Calibration

    recipe = Recipe(
        model=ModelConfig(motion="nano", temporal="sequence", streams=("temporal",), num_frames=_FRAMES),
        input=InputConfig(size=_SIZE, resize=_SIZE + 4),
    )
    metadata = RunMetadata(
        stages=("motion", "temporal"), data="/data/labels.csv", split="25 % of each class",
        num_training_videos=6, min_fps=25.0, max_fps=30.0, warm_start={"motion": "runs/first"},
        versions={"torch": "2"}, motion_init={"file": "nano", "sha256": "0" * 64},
        calibration=Calibration({"temporal": 0.6}, 1.3, 0.25, 20),
    )  # fmt: skip
    torch.manual_seed(0)
    return build_model(recipe, len(_CLASSES)).eval(), RunInfo(recipe, _CLASSES, metadata)


def write_run(folder: Path) -> None:
    """Write a finished run into `folder`/run."""
    from hidden_two_stream.checkpoint import save_run
    from hidden_two_stream.data.record import RecordedSample, TrainingRecord
    from hidden_two_stream.evaluation.accuracy import Evaluation
    from hidden_two_stream.files import write_json

    run = folder / "run"
    run.mkdir()
    save_run(run, *_small_run())
    _write_plan(run)
    samples = [
        RecordedSample(f"{label}/{n}.mp4", label, f"{n:064x}", 9, "h264", "0f" * 256)
        for label in _CLASSES
        for n in range(4)
    ]
    TrainingRecord("/data/", tuple(samples[::2]), tuple(samples[1::2]), ("ab" * 32,)).write(run)
    logits = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    evaluation = Evaluation(
        _CLASSES, tuple(s.name for s in samples[1::2]), np.array([0, 0, 1, 1]), {"temporal": logits}, logits,
        "10x1", ("broken.mp4",),
    )  # fmt: skip
    for name in ("scores", "held_back"):
        evaluation.save_scores(run / f"{name}.npz")
    write_json(run / "results.json", evaluation.to_dict() | {"seconds": {"motion": 1.5, "temporal": 2}})
    (run / "unreadable.txt").write_text("/data/left/9.mp4: the file is empty (0 bytes)\n", encoding="utf-8")


def _write_plan(run: Path) -> None:
    from hidden_two_stream.files import write_json
    from hidden_two_stream.training.runner import Plan

    plan = Plan(
        "/data/labels.csv", _small_run()[1].recipe, ("motion", "temporal"),
        warm_start={"motion": "runs/first"}, fingerprint="00ff", contents={"lengths": "00ff"},
        versions={"torch": "2"},
    )  # fmt: skip
    write_json(run / "plan.json", plan.to_dict())
    lines = [
        json.dumps(
            {"stage": stage, "step": step, "loss": 1 / (step + 1), "learning_rate": 1e-3, "seconds": step}
        )
        for stage in ("motion", "temporal")
        for step in range(0, 50, 10)
    ]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_unfinished(folder: Path) -> None:
    """Write a run that stopped in the middle into `folder`/run."""
    import torch

    from hidden_two_stream.training.state import TrainingState, optimizer_tensors, save_state

    run = folder / "run"
    run.mkdir()
    _write_plan(run)
    shutil.copy(_OLD_RUN / "motion_init.json", run)
    model, info = _small_run()
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    model.zero_grad(set_to_none=True)
    origin = {"recipe": info.recipe.to_dict(), "seed": 0}
    state = TrainingState(
        "temporal", 4, {"motion": 1.5}, dict(model.state_dict()), optimizer_tensors(optimizer), origin=origin
    )
    save_state(run, state)


def copy_old_run(folder: Path) -> None:
    """Copy the descriptions of a run of an earlier version; its weights are those of `write_run`."""
    (folder / "run").mkdir()
    for path in _OLD_RUN.iterdir():
        if path.suffix in (".json", ".jsonl") or path.name == "model.safetensors":
            shutil.copy(path, folder / "run")


def write_annotator(folder: Path) -> None:
    """Write a folder as hts train-frames does, with random weights."""
    from hidden_two_stream.inference.annotator import Annotator
    from hidden_two_stream.inference.frame_features import FeatureParts
    from hidden_two_stream.recognition.frame_head import FrameHead

    networks, info = _small_run()
    width: int = networks.get_submodule("temporal_stream.fc").in_features  # type: ignore[assignment]
    head = FrameHead(width, len(_CLASSES), 8)
    (folder / "run").mkdir()
    Annotator(networks, head, info, False, 1.0, (0.5, 0.4), FeatureParts()).save(folder / "run")


def write_pt2(folder: Path) -> None:
    """Write an archive as torch.export does; the package says that it cannot be read back."""
    import zipfile

    with zipfile.ZipFile(folder / "model.pt2", "w") as archive:
        for name, content in (("archive_format", "pt2"), ("version", "0"), ("models/model.json", "{}")):
            archive.writestr(name, content)


def write_onnx(folder: Path) -> None:
    """Write a graph with the inputs, outputs and description of an export, which scores the mean color."""
    import onnx
    from onnx import TensorProto, helper

    from hidden_two_stream.checkpoint import DESCRIPTION_KEY

    _, info = _small_run()
    shape = ["batch", _FRAMES, _SIZE, _SIZE, 3]
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["temporal_logits"]),
        helper.make_node("Softmax", ["temporal_logits"], ["scores"]),
    ]
    weight = np.random.default_rng(0).normal(size=(3, len(_CLASSES))).astype(np.float32)
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        onnx.numpy_helper.from_array(weight, "weight"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(_CLASSES)])
        for name in ("temporal_logits", "scores")
    ]
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)
    graph = helper.make_graph(nodes, "recognizer", [frames], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {DESCRIPTION_KEY: json.dumps(info.to_dict())})
    onnx.save(model, folder / "model.onnx")


def write_web_project(folder: Path) -> None:
    """Write a project as the exported page saves it."""
    import torch

    from hidden_two_stream.checkpoint import save_run
    from hidden_two_stream.export.web_project import PROJECT_KEY
    from hidden_two_stream.tensors import write_tensors

    model, info = _small_run()
    save_run(folder, model, info)
    base = (folder / "model.safetensors").read_bytes()
    width: int = model.get_submodule("temporal_stream.fc").in_features  # type: ignore[assignment]
    clip = {"name": "1", "num_windows": 1, "fps": 25, "num_frames": 9, "thumbnail": ""}
    described = {
        "format_version": 1, "classes": ["a", "b"], "stream": "temporal", "fps": 12.5, "mirror": True,
        "size": _SIZE, "network": "x", "leave_one_out": {"accuracy": 1, "confusion": []},
        "calibration": {
            "temperatures": {"temporal": 0.5}, "fused_temperature": 1.0, "threshold": 0.5, "num_clips": 9
        },
        "clips": [dict(clip, label=0), dict(clip, label=1)],
    }  # fmt: skip
    tensors = {
        "weight": torch.randn(2, width), "bias": torch.zeros(2), "embeddings": torch.zeros(4, width),
        "base": torch.frombuffer(bytearray(base), dtype=torch.uint8),
    }  # fmt: skip
    write_tensors(folder / "taught.safetensors", tensors, {PROJECT_KEY: json.dumps(described)})


# -- other weights


def write_motion_weights(folder: Path) -> None:
    """Copy the smallest motion weights that come with the package."""
    from hidden_two_stream.weights.motion import motion_weights_info

    shutil.copy(motion_weights_info("nano").file, folder / "motion.safetensors")


def write_image_weights(folder: Path) -> None:
    """Write a state dict as torchvision publishes it."""
    import torch

    tensors = {f"layer{n}.weight": torch.randn(4, 3) for n in range(3)} | {"step": torch.tensor(7)}
    torch.save(tensors, folder / "weights.pth")


def write_encoder(folder: Path) -> None:
    """Write the configuration of an image encoder, as transformers does."""
    config = {
        "model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "image_size": 32, "patch_size": 8, "num_channels": 3, "hidden_act": "gelu",
    }  # fmt: skip
    steps = {
        "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.25, 0.3],
    }  # fmt: skip
    (folder / "encoder").mkdir()
    for name, data in (("config", config), ("preprocessor_config", steps)):
        (folder / "encoder" / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


def write_caffemodel(folder: Path) -> None:
    """Write a NetParameter of two layers, by hand."""
    layers = {"conv1": [np.ones((4, 6, 3, 3)), np.zeros(4)], "conv_pr1": [np.ones((2, 4, 3, 3)), np.zeros(2)]}
    parts = [_field(1, b"net")]
    for name, arrays in layers.items():
        blobs = b"".join(_field(7, _blob(array)) for array in arrays)
        parts.append(_field(100, _field(1, name.encode()) + _field(2, b"Convolution") + blobs))
    (folder / "net.caffemodel").write_bytes(b"".join(parts))


def _blob(array: np.ndarray) -> bytes:
    dims = b"".join(_varint(side) for side in array.shape)
    return _field(7, _field(1, dims)) + _field(5, array.astype("<f4").tobytes())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = []
    while value >= 0x80:
        digits.append(value % 0x80 + 0x80)
        value //= 0x80
    return bytes([*digits, value])


# -- tables and lists


def write_scores(folder: Path) -> None:
    """Write the same scores as .npz, .csv and, if scipy is there, .mat."""
    from hidden_two_stream.evaluation import score_files

    values = np.random.default_rng(0).normal(size=(6, 3))
    names, truth = tuple(f"clip {n}.mp4" for n in range(6)), ("a", "b", "ç") * 2
    streams = [
        score_files.Scores(name, values + n, names, truth, ("a", "b", "ç"), "10x1")
        for n, name in enumerate(("temporal", "fused"))
    ]
    for suffix in (".npz", ".csv"):
        score_files.write_scores(folder / f"scores{suffix}", streams, ["broken.mp4"])
    try:
        from scipy.io import savemat
    except ImportError:
        return
    savemat(folder / "scores.mat", {"scores": values, "names": np.array(names, dtype=object), "n": 3})


def write_segments_table(folder: Path) -> None:
    rows = [
        f"{video}.mp4,{label},{n},{n + 1.5},{'train' if n < 2 else 'test'},{n}\n"
        for video in "ab"
        for n, label in enumerate("xyxy")
    ]
    _write(folder, "path,label,start_seconds,end_seconds,split,subject\n", *rows)


def write_dataset_table(folder: Path) -> None:
    rows = [f"videos/{name} {n}.mp4;{name};;s{n}\n" for name in ("walk", "sit down") for n in range(5)]
    _write(folder, "path;label;split;subject\n", *rows)


def write_frame_dataset(folder: Path) -> None:
    write_labels("json", folder)
    write_labels("deepethogram", folder)
    names = (label_entry("json"), label_entry("deepethogram"))
    for n, _ in enumerate(names):
        (folder / f"{n}.mp4").touch()
    _write(folder, "path,labels,split\n", *(f"{n}.mp4,{name},train\n" for n, name in enumerate(names)))


def write_kinetics(folder: Path) -> None:
    labels = ("abseiling", "air drumming") * 2
    rows = [f"{label},id{n},{n},{n + 10},validate\n" for n, label in enumerate(labels)]
    _write(folder, "label,youtube_id,time_start,time_end,split\n", *rows, name="kinetics_val.csv")


def write_activitynet(folder: Path) -> None:
    def video(subset: str, label: str) -> dict[str, Any]:
        return {"subset": subset, "duration": 9.5, "annotations": [{"segment": [0.5, 3.25], "label": label}]}

    taxonomy = [
        {"nodeName": n, "nodeId": k, "parentName": p, "parentId": None if k == 0 else 0}
        for k, (n, p) in enumerate((("Root", None), ("walk", "Root"), ("sit", "Root")))
    ]
    database = {f"v{n}": video(("training", "validation")[n % 2], ("walk", "sit")[n // 2]) for n in range(4)}
    data = {"version": "VERSION 1.2", "taxonomy": taxonomy, "database": database}
    _write(folder, json.dumps(data), name="activity_net.v1-2.min.json")


def write_class_names(folder: Path) -> None:
    _write(folder, *(f"{n} Action{n}\n" for n in range(1, 6)), name="classInd.txt")


def write_recipe(folder: Path) -> None:
    _write(
        folder,
        "base: nano\nmodel: {num_frames: 5, temporal: sequence}\n",
        "input:\n  size: 64\n  crop_scales: [1, 0.875]\n",
        "motion: {steps: 200, learning_rate: 3.0e-4, milestones: [100, 150]}\nfusion:\n  method: product\n",
        name="recipe.yaml",
    )


def write_flow(folder: Path) -> None:
    size = struct.pack("<4sii", struct.pack("<f", 202021.25), 6, 4)
    (folder / "a.flo").write_bytes(size + np.arange(48, dtype="<f4").tobytes())


def _write(folder: Path, *lines: str, name: str = "labels.csv") -> None:
    (folder / name).write_text("".join(lines), encoding="utf-8")


# -- label files

_LABELS: Mapping[str, tuple[str, ...]] = {
    "ava": ("3", "12"), "kth": ("boxing",), "thumos14": ("Walk", "Sit"), "thumos14-results": ("Walk", "Sit")
}  # fmt: skip


def label_entry(name: str) -> str:
    """Return the name of the file or folder that `write_labels` writes for a format."""
    from hidden_two_stream.data.annotations.table import FORMATS

    target = FORMATS[name]
    if target.folder:
        return "labels"
    return f"clip{'_labels' * (name == 'deepethogram')}{target.suffixes[0]}"


def write_labels(name: str, folder: Path) -> None:
    """Write a label file of a format: two labels, five bouts, all that the format can hold."""
    from hidden_two_stream.data.annotations.files import write_annotations

    write_annotations(
        folder / label_entry(name), [_annotations(name)], name, fps=25, num_frames=500, lossy=True
    )


def _annotations(name: str) -> Annotations:
    from dataclasses import replace

    from hidden_two_stream.data.annotations.model import Annotations
    from hidden_two_stream.data.annotations.table import FORMATS
    from hidden_two_stream.types import Segment

    holds = FORMATS[name].holds
    labels = _LABELS.get(name, ("walk", "sit down"))
    score = None if holds.scores == "no" else 0.75
    segments = tuple(
        Segment(start, start + 1.0, labels[n % len(labels)], score)
        for n, start in enumerate((0.5, 2.5, 4.5, 6.5, 8.5))
    )
    video = "person03_boxing_d1" if name == "kth" else "clip.mp4"
    found = replace(Annotations.of(video, segments, labels), fps=25.0, duration_seconds=20.0)
    if holds.subjects:
        who = "person03" if name == "kth" else "1" if name == "ava" else "anna"
        found = replace(found, subjects=(who,) * len(segments))
    return replace(found, labeled=((0.0, 10.0),)) if holds.unlabeled else found
