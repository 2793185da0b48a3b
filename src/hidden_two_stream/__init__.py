"""Hidden Two-Stream: action recognition from raw video, with motion learned inside the network, unlabeled.

    import hidden_two_stream as hts

    result = hts.train("videos/", out="runs/mine")
    print(result.evaluation.accuracy)

    recognizer = hts.load("runs/mine")
    print(recognizer.predict("video.mp4"))

    flow = hts.motion_estimator("nano").flow("video.mp4")  # (T-1, 2, h, w) px, without training

Importing the package is cheap: modules that need PyTorch or a video decoder are imported at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hidden_two_stream._version import __version__

if TYPE_CHECKING:
    from hidden_two_stream.apps.service.serving import serve
    from hidden_two_stream.apps.service.settings import ServeSettings
    from hidden_two_stream.apps.serving import app
    from hidden_two_stream.apps.settings import AppSettings
    from hidden_two_stream.bulk.collect import BulkResult
    from hidden_two_stream.bulk.predict import predict_table
    from hidden_two_stream.bulk.segment import segment_table
    from hidden_two_stream.checkpoint import RunInfo
    from hidden_two_stream.config.loading import load_recipe, recipe_names
    from hidden_two_stream.config.schema import Recipe
    from hidden_two_stream.data.annotations.files import read_annotations, write_annotations
    from hidden_two_stream.data.packing import PackResult, pack
    from hidden_two_stream.errors import HiddenTwoStreamError, VideoWarning
    from hidden_two_stream.evaluation.accuracy import Evaluation
    from hidden_two_stream.evaluation.comparison import Comparison
    from hidden_two_stream.evaluation.evaluate import evaluate
    from hidden_two_stream.evaluation.frame_metrics import FrameEvaluation
    from hidden_two_stream.evaluation.segments import SegmentEvaluation, evaluate_segments
    from hidden_two_stream.experiments.compare import compare
    from hidden_two_stream.experiments.cross_validation import CrossValidation, cross_validate
    from hidden_two_stream.export.export import Export, export_model
    from hidden_two_stream.export.web import WebExport, export_web
    from hidden_two_stream.export.web_project import import_web
    from hidden_two_stream.inference.annotator import Annotator, load_annotator
    from hidden_two_stream.inference.explanation import Explanation
    from hidden_two_stream.inference.frame_scores import FrameScores, FrameSettings
    from hidden_two_stream.inference.many import predict_many
    from hidden_two_stream.inference.motion_estimator import MotionEstimator, motion_estimator
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer, load_onnx
    from hidden_two_stream.inference.predictor import Recognizer, load
    from hidden_two_stream.inference.segment_settings import SegmentSettings
    from hidden_two_stream.inference.stream import StreamSettings
    from hidden_two_stream.inference.tracker import TrackedFrame, track
    from hidden_two_stream.reports.run_card import RunCard, inspect
    from hidden_two_stream.sharing.push import CardOptions, Pushed, push
    from hidden_two_stream.training.fit import TrainingResult
    from hidden_two_stream.training.frame_labels import FrameLabelSettings
    from hidden_two_stream.training.frame_runs import evaluate_annotator, train_frames
    from hidden_two_stream.training.resources import Resources
    from hidden_two_stream.training.runner import resume, train
    from hidden_two_stream.types import Decision, Prediction, Segment, WindowFeatures, WindowPrediction

_HOMES = {
    "Annotator": "inference.annotator",
    "AppSettings": "apps.settings",
    "BulkResult": "bulk.collect",
    "CardOptions": "sharing.push",
    "Comparison": "evaluation.comparison",
    "CrossValidation": "experiments.cross_validation",
    "Decision": "types",
    "Evaluation": "evaluation.accuracy",
    "Export": "export.export",
    "Explanation": "inference.explanation",
    "FrameEvaluation": "evaluation.frame_metrics",
    "FrameLabelSettings": "training.frame_labels",
    "FrameScores": "inference.frame_scores",
    "FrameSettings": "inference.frame_scores",
    "HiddenTwoStreamError": "errors",
    "MotionEstimator": "inference.motion_estimator",
    "OnnxRecognizer": "inference.onnx_recognizer",
    "PackResult": "data.packing",
    "Prediction": "types",
    "Pushed": "sharing.push",
    "Recipe": "config.schema",
    "Recognizer": "inference.predictor",
    "Resources": "training.resources",
    "RunCard": "reports.run_card",
    "RunInfo": "checkpoint",
    "Segment": "types",
    "SegmentEvaluation": "evaluation.segments",
    "SegmentSettings": "inference.segment_settings",
    "ServeSettings": "apps.service.settings",
    "StreamSettings": "inference.stream",
    "TrackedFrame": "inference.tracker",
    "TrainingResult": "training.fit",
    "VideoWarning": "errors",
    "WebExport": "export.web",
    "WindowFeatures": "types",
    "WindowPrediction": "types",
    "app": "apps.serving",
    "compare": "experiments.compare",
    "cross_validate": "experiments.cross_validation",
    "evaluate": "evaluation.evaluate",
    "evaluate_annotator": "training.frame_runs",
    "evaluate_segments": "evaluation.segments",
    "export_model": "export.export",
    "export_web": "export.web",
    "import_web": "export.web_project",
    "inspect": "reports.run_card",
    "load": "inference.predictor",
    "load_annotator": "inference.annotator",
    "load_onnx": "inference.onnx_recognizer",
    "load_recipe": "config.loading",
    "motion_estimator": "inference.motion_estimator",
    "pack": "data.packing",
    "push": "sharing.push",
    "predict_many": "inference.many",
    "predict_table": "bulk.predict",
    "read_annotations": "data.annotations.files",
    "recipe_names": "config.loading",
    "resume": "training.runner",
    "segment_table": "bulk.segment",
    "serve": "apps.service.serving",
    "track": "inference.tracker",
    "train": "training.runner",
    "train_frames": "training.frame_runs",
    "write_annotations": "data.annotations.files",
}
"""The module of each public name."""

__all__ = [
    "Annotator",
    "AppSettings",
    "BulkResult",
    "CardOptions",
    "Comparison",
    "CrossValidation",
    "Decision",
    "Evaluation",
    "Explanation",
    "Export",
    "FrameEvaluation",
    "FrameLabelSettings",
    "FrameScores",
    "FrameSettings",
    "HiddenTwoStreamError",
    "MotionEstimator",
    "OnnxRecognizer",
    "PackResult",
    "Prediction",
    "Pushed",
    "Recipe",
    "Recognizer",
    "Resources",
    "RunCard",
    "RunInfo",
    "Segment",
    "SegmentEvaluation",
    "SegmentSettings",
    "ServeSettings",
    "StreamSettings",
    "TrackedFrame",
    "TrainingResult",
    "VideoWarning",
    "WebExport",
    "WindowFeatures",
    "WindowPrediction",
    "__version__",
    "app",
    "compare",
    "cross_validate",
    "evaluate",
    "evaluate_annotator",
    "evaluate_segments",
    "export_model",
    "export_web",
    "import_web",
    "inspect",
    "load",
    "load_annotator",
    "load_onnx",
    "load_recipe",
    "motion_estimator",
    "pack",
    "predict_many",
    "predict_table",
    "push",
    "read_annotations",
    "recipe_names",
    "resume",
    "segment_table",
    "serve",
    "track",
    "train",
    "train_frames",
    "write_annotations",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hidden_two_stream.environment import collector_paused

    with collector_paused():
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
