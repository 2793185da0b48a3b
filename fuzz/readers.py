"""What reads each kind of file: what a command does first with it, through the package's own functions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.errors import HiddenTwoStreamError, VideoError

__all__ = [
    "annotate",
    "import_project",
    "inspect_run",
    "load_and_predict",
    "load_and_predict_onnx",
    "read_activitynet_set",
    "read_caffe",
    "read_class_list",
    "read_clip",
    "read_dataset",
    "read_encoder",
    "read_flow",
    "read_frame_labels",
    "read_ignored_times",
    "read_kinetics_list",
    "read_labels",
    "read_motion",
    "read_plan",
    "read_recipe",
    "read_run_scores",
    "read_score_file",
    "read_state",
    "read_weights",
    "used",
]


def used(use: Callable[[], object]) -> object:
    """Return what `use` returns; None if the package refuses it, because that says nothing about the file."""
    try:
        return use()
    except HiddenTwoStreamError:
        return None


_CLIP = np.random.default_rng(0).integers(0, 255, (12, 40, 40, 3), np.uint8)


def load_and_predict(path: Path) -> object:
    import hidden_two_stream as hts

    recognizer = hts.load(path)
    if recognizer.trained_streams:
        return used(lambda: recognizer.predict(_CLIP, "2x1"))
    return used(lambda: recognizer.flow(_CLIP))


def load_and_predict_onnx(path: Path) -> object:
    import hidden_two_stream as hts

    recognizer = hts.load_onnx(path, threads=1)
    return used(lambda: recognizer.predict(_CLIP, "2x1"))


def inspect_run(path: Path) -> object:
    import hidden_two_stream as hts

    card = hts.inspect(path)
    return card.to_dict(), str(card)


def read_plan(path: Path) -> object:
    from hidden_two_stream.training.continuity import keep_contents
    from hidden_two_stream.training.runner import _read_plan
    from hidden_two_stream.training.warm_start import read_origins

    keep_contents(path / "plan.json", {}, "data", write=False)
    return _read_plan(path), read_origins(path)


def read_state(path: Path) -> object:
    """Read a training state, and compare it with its run, as --resume does."""
    import torch

    from hidden_two_stream.checkpoint import build_model
    from hidden_two_stream.training.runner import _read_plan
    from hidden_two_stream.training.state import check_state, load_state, restore_optimizer

    state, plan = load_state(path), _read_plan(path)
    assert state is not None
    model = build_model(plan.recipe, 2)
    check_state(
        state, path, model, {"motion": 9, "temporal": 9}, {"recipe": plan.recipe.to_dict(), "seed": 0}
    )
    optimizer = torch.optim.Adam(model.parameters())
    restore_optimizer(optimizer, state.optimizer)
    return state


def read_run_scores(path: Path) -> object:
    from hidden_two_stream.evaluation.accuracy import load_scores
    from hidden_two_stream.evaluation.score_files import read_scores

    found = [load_scores(file) for file in sorted(path.glob("*.npz"))]
    return [one.accuracy for one in found], read_scores(str(path / "scores.npz"))


def annotate(path: Path) -> object:
    import hidden_two_stream as hts

    annotator = hts.load_annotator(path)
    return used(lambda: annotator.annotate(_CLIP))


def read_score_file(path: Path) -> object:
    from hidden_two_stream.evaluation.score_files import read_scores

    return read_scores(str(path))


def read_caffe(path: Path) -> object:
    from hidden_two_stream.weights.caffe import import_caffe
    from hidden_two_stream.weights.caffemodel import open_caffemodel

    with open_caffemodel(path) as layers:
        arrays = [blob.read() for layer in layers for blob in layer.blobs]
    with tempfile.TemporaryDirectory() as out:
        return arrays, import_caffe(path, Path(out) / "run")


def read_class_list(path: Path) -> object:
    from hidden_two_stream.evaluation.label_lists import read_label_list
    from hidden_two_stream.weights.caffe import read_class_names

    return read_label_list(path), read_class_names(path)


def read_motion(path: Path) -> object:
    import hidden_two_stream as hts
    from hidden_two_stream.weights.motion import motion_weights_info

    return motion_weights_info(path), hts.motion_estimator(path).flow(_CLIP[:3])


def read_weights(path: Path) -> object:
    from hidden_two_stream.weights.fetch import read_state_dict

    return read_state_dict(path)


def read_encoder(path: Path) -> object:
    from hidden_two_stream.weights.image_encoder import describe_encoder

    return describe_encoder(str(path))


def read_dataset(path: Path) -> object:
    from hidden_two_stream.data.index import read_dataset_index
    from hidden_two_stream.data.splits import split_dataset

    index = read_dataset_index(path)
    return index.fingerprint(), used(lambda: split_dataset(index, 0.25, 0))


def read_frame_labels(path: Path) -> object:
    from hidden_two_stream.data.frame_dataset import read_frame_dataset

    return read_frame_dataset(path)


def read_ignored_times(path: Path) -> object:
    from hidden_two_stream.data.ignored import by_video, read_ignored

    return by_video(read_ignored(path), [str(path.parent / "a.mp4")])


def read_kinetics_list(path: Path) -> object:
    from hidden_two_stream.data.benchmarks.kinetics import read_kinetics

    return read_kinetics(path)


def read_activitynet_set(path: Path) -> object:
    from hidden_two_stream.data.benchmarks.untrimmed import read_activitynet

    return read_activitynet(path)


def read_recipe(path: Path) -> object:
    from hidden_two_stream.config.loading import load_recipe, recipe_from_dict

    recipe = load_recipe(path)
    assert recipe_from_dict(recipe.to_dict(), "itself") == recipe
    return recipe


def read_flow(path: Path) -> object:
    from hidden_two_stream.motion.flo import read_flo

    return read_flo(path)


def import_project(path: Path) -> object:
    import hidden_two_stream as hts

    with tempfile.TemporaryDirectory() as out:
        recognizer = hts.import_web(path, Path(out) / "run")
        return used(lambda: recognizer.predict(_CLIP, "1x1")), hts.inspect(Path(out) / "run")


def read_labels(path: Path, format: str) -> object:
    """Read a label file by its format and by its content, and write what was read as the package's JSON."""
    import hidden_two_stream as hts
    from hidden_two_stream.data.annotations.table import detect_format

    found = hts.read_annotations(path, format, fps=25, num_frames=500)
    with tempfile.TemporaryDirectory() as out:
        if found:
            hts.write_annotations(Path(out) / "again.json", found, "json", lossy=True)
    return detect_format(path)


def read_clip(path: Path) -> Any:
    """Decode a video as `hts check`, `hts train` and `hts predict` do; a refusal must be a VideoError."""
    from hidden_two_stream.data.clip_cache import decode_video
    from hidden_two_stream.video.reader import VideoReader

    try:
        found = decode_video(path, 32, 1 << 24, identify=True)
        with VideoReader(path) as reader:
            return found.num_frames, reader.read([found.num_frames - 1, 0]), reader.warning
    except HiddenTwoStreamError as error:
        if not isinstance(error, VideoError):
            raise TypeError(f"{type(error).__name__} about a video: {error}") from error
        raise
