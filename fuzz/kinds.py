"""The kinds of files that are damaged: how a small whole one is written, and what reads it.

`KINDS` is the one table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fuzz import lists, readers, studies, videos, writers
from hidden_two_stream.data.annotations.table import FORMATS

__all__ = ["KINDS", "Kind", "of_group"]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: its name on the command line.
        group: "files" or "videos".
        write: writes whole files into an empty folder.
        read: reads the file or folder `entry` of such a folder, as a command would.
        entry: what `read` is given.
        damaged: patterns of the files that are damaged, one of them in each variant.
        needs: modules without which the kind is left out.
    """

    name: str
    group: str
    write: Callable[[Path], None]
    read: Callable[[Path], object]
    entry: str
    damaged: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def targets(self, folder: Path) -> list[Path]:
        """Return the files that may be damaged, in order."""
        patterns = self.damaged or (self.entry,)
        return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _label_kind(name: str) -> Kind:
    entry = writers.label_entry(name)
    damaged = ("labels/**/*",) if name == "thumos14" else (entry,)
    read = partial(readers.read_labels, format=name)
    return Kind(f"labels-{name}", "files", partial(writers.write_labels, name), read, entry, damaged)


def _video_kind(name: str, needs: tuple[str, ...] = ()) -> Kind:
    damaged = ("clip/*",) if name.startswith("folder") else ()
    entry = "clip" if damaged else f"clip.{name.partition('-')[0]}"
    return Kind(
        f"video-{name}", "videos", partial(videos.write_clip, name), readers.read_clip, entry, damaged, needs
    )


_WEIGHTS = ("run/model.safetensors",)
_RUN_FILES = ("config.json", "plan.json", "results.json", "metrics.jsonl", "samples.json", "unreadable.txt")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("checkpoint", "files", writers.write_run, readers.load_and_predict, "run", _WEIGHTS),
        Kind("run-card", "files", writers.write_run, readers.inspect_run, "run",
             tuple(f"run/{name}" for name in (*_RUN_FILES, "model.safetensors"))),
        Kind("old-run", "files", writers.copy_old_run, readers.inspect_run, "run", ("run/*.json*",)),
        Kind("unfinished-run", "files", writers.write_unfinished, readers.inspect_run, "run",
             ("run/plan.json", "run/metrics.jsonl")),
        Kind("plan", "files", writers.write_unfinished, readers.read_plan, "run", ("run/plan.json",)),
        Kind("training-state", "files", writers.write_unfinished, readers.read_state, "run",
             ("run/state.safetensors",)),
        Kind("run-scores", "files", writers.write_run, readers.read_run_scores, "run", ("run/*.npz",)),
        Kind("annotator", "files", writers.write_annotator, readers.annotate, "run", _WEIGHTS),
        Kind("scores-npz", "files", writers.write_scores, readers.read_score_file, "scores.npz"),
        Kind("scores-csv", "files", writers.write_scores, readers.read_score_file, "scores.csv"),
        Kind("scores-mat", "files", writers.write_scores, readers.read_score_file, "scores.mat",
             needs=("scipy",)),
        Kind("caffemodel", "files", writers.write_caffemodel, readers.read_caffe, "net.caffemodel"),
        Kind("class-names", "files", writers.write_class_names, readers.read_class_list, "classInd.txt"),
        Kind("motion-weights", "files", writers.write_motion_weights, readers.read_motion,
             "motion.safetensors"),
        Kind("image-weights", "files", writers.write_image_weights, readers.read_weights, "weights.pth"),
        Kind("image-encoder", "files", writers.write_encoder, readers.read_encoder, "encoder",
             ("encoder/*.json",), ("transformers",)),
        Kind("segments", "files", writers.write_segments_table, readers.read_dataset, "labels.csv"),
        Kind("dataset", "files", writers.write_dataset_table, readers.read_dataset, "labels.csv"),
        Kind("frame-dataset", "files", writers.write_frame_dataset, readers.read_frame_labels, "labels.csv"),
        Kind("ignored", "files", writers.write_segments_table, readers.read_ignored_times, "labels.csv"),
        Kind("kinetics", "files", writers.write_kinetics, readers.read_kinetics_list, "kinetics_val.csv"),
        Kind("activitynet-set", "files", writers.write_activitynet, readers.read_activitynet_set, ".",
             ("*.json",)),
        Kind("recipe", "files", writers.write_recipe, readers.read_recipe, "recipe.yaml"),
        Kind("onnx", "files", writers.write_onnx, readers.load_and_predict_onnx, "model.onnx",
             needs=("onnx", "onnxruntime")),
        Kind("pt2", "files", writers.write_pt2, readers.load_and_predict, "model.pt2"),
        Kind("flow", "files", writers.write_flow, readers.read_flow, "a.flo"),
        Kind("web-project", "files", writers.write_web_project, readers.import_project, "taught.safetensors"),
        Kind("ucf101", "files", lists.write_ucf101, lists.read_ucf101_lists, "set", ("set/*/*.txt",)),
        Kind("hmdb51", "files", lists.write_hmdb51, lists.read_hmdb51_lists, "set", ("set/*/*.txt",)),
        Kind("tsn", "files", lists.write_tsn, lists.read_tsn_lists, "train.txt", ("*.txt",)),
        Kind("ground-truth", "files", lists.write_ground_truth, lists.read_ground_truth, "clip.flow.npz"),
        Kind("temporal-weights", "files", lists.write_pretrained, lists.read_pretrained,
             "temporal.safetensors"),
        Kind("app-project", "files", lists.write_app_project, lists.read_app_project, "projects",
             ("projects/one/project.json",)),
        Kind("baseline", "files", studies.write_baseline, studies.read_baseline, "run", _WEIGHTS),
        Kind("nearest", "files", studies.write_nearest, studies.read_nearest, "run", _WEIGHTS),
        Kind("flow-cache", "files", studies.write_flow_cache, studies.read_flow_cache, "flow", ("flow/*",),
             ("cv2",)),
        Kind("folds", "files", studies.write_folds, studies.read_folds_plan, "runs", ("runs/plan.json",)),
        *map(_label_kind, FORMATS),
        *(_video_kind(name) for name in videos.RECIPES),
    )
}  # fmt: skip


def of_group(group: str) -> list[Kind]:
    """Return the kinds of a group whose modules are installed."""
    from importlib.util import find_spec

    return [
        kind for kind in KINDS.values() if kind.group == group and all(find_spec(name) for name in kind.needs)
    ]
