"""Comparison of hidden motion with other inputs of a temporal stream, on the same splits and seeds.

Every method trains the same backbone for the same number of steps on the same videos; only the input differs.
For each fold and seed, one spatial stream is trained and fused with every method.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import PLAN_FILE, RESULTS_FILE
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import CalibrationConfig, Recipe, StageConfig
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.config.validation import require_seed
from hidden_two_stream.data.background import require_no_background
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.duplicates import find_duplicates, require_separate
from hidden_two_stream.data.samples import below_common_folder, note_facts
from hidden_two_stream.data.splits import Split, draw_per_class
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.evaluation.comparison import ALONE, Comparison, Kind, MethodResult
from hidden_two_stream.experiments.baselines import Baseline, BaselineInput, fit_baseline, load_baseline
from hidden_two_stream.experiments.compare_speed import Milliseconds, measure_speed
from hidden_two_stream.experiments.folds import (
    SCORES_FILE,
    Folds,
    load_fold,
    open_folder,
    read_folds,
    read_one_split,
)
from hidden_two_stream.experiments.nearest import NEAREST
from hidden_two_stream.experiments.nearest_runs import (
    DescribedVideos,
    Nearest,
    describe_videos,
    fit_nearest,
    load_nearest,
)
from hidden_two_stream.experiments.precomputed_flow import FlowCache, extract_flow
from hidden_two_stream.files import folder_names, make_folder, write_json, write_text
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.motion.estimators.classical import ESTIMATORS
from hidden_two_stream.motion.estimators.plugins import LARGEST_FACTOR, enlarged_factor, find_estimator
from hidden_two_stream.motion.estimators.raft import RAFT
from hidden_two_stream.progress import kept_on_output_error, note, with_progress
from hidden_two_stream.recognition.fusion import fuse
from hidden_two_stream.reports.comparison import comparison_paragraph, comparison_table
from hidden_two_stream.reports.comparison_plot import comparison_svg
from hidden_two_stream.training.continuity import decoded_contents, keep_contents
from hidden_two_stream.training.fit import (
    FitTask,
    check_batches,
    check_run,
    decode_samples,
    fit,
    resolve_input,
    stages_to_train,
)
from hidden_two_stream.training.image_encoder import resolve_encoder
from hidden_two_stream.training.lock import folder_lock
from hidden_two_stream.training.logistic import LAST_LAYER
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.state import STATE_FILE

__all__ = ["METHODS", "available_methods", "baseline_input", "compare", "kind_of", "method_recipe"]

_PRECOMPUTED: Kind = "precomputed"
_PIXELS: tuple[BaselineInput, ...] = ("frames", "difference")
_SEQUENCE = ("sequence", "sequence-scratch", "sequence-frozen")
_HIDDEN = ("hidden-frozen", "hidden-joint", "branched", *_SEQUENCE)
_SHARED = "hidden-frozen"
"""The method whose MotionNet the other hidden methods start from, because they would train the same one."""
METHODS = ("spatial", *NEAREST, *_PIXELS, *ESTIMATORS, *_HIDDEN)
"""Methods by name. Further methods are flow estimators, see `motion.estimators.plugins.find_estimator`."""

_GOOD_SIZE = 128  # px; larger frames need not be enlarged for flow estimators
_OFF = StageConfig(steps=0)


@dataclass(frozen=True)
class _Study:
    """The inputs and settings that all methods share.

    Attributes:
        data: the dataset, as the user named it.
        folder: folder of the whole comparison.
        folds: training and test samples of each fold.
        recipe: recipe of the hidden two-stream network, with the input size filled in.
        resources: hardware and progress.
        fabric: a launched Fabric.
        protocol: test protocol.
        names: names of the folders of each method.
        resume: keep complete runs, and go on with others.
        allow_duplicates: test even on videos that are in training too.
        decoded: all decoded videos; None until they are decoded.
        flow: precomputed flow by method.
        described: descriptors of all videos by method, of nearest neighbors that have runs to make.
        clips: the largest number of training clips of each class; None: all clips.
    """

    data: str
    folder: Path
    folds: Folds
    recipe: Recipe
    resources: Resources
    fabric: Fabric
    protocol: str
    names: Mapping[str, str]
    resume: bool
    allow_duplicates: bool
    decoded: ClipCache | None = None
    flow: Mapping[str, FlowCache] = field(default_factory=dict)
    described: Mapping[str, DescribedVideos] = field(default_factory=dict)
    clips: int | None = None

    @property
    def cache(self) -> ClipCache:
        """All decoded videos."""
        assert self.decoded is not None
        return self.decoded

    def split(self, value: str, seed: int) -> Split:
        """Return the training and test samples of one training; the videos must be decoded."""
        split = self.folds.splits[value]
        if self.clips is None:
            return split
        readable = {sample.name for sample in self.cache.samples}
        return draw_per_class(split, self.clips, seed, readable)

    def run_folder(self, method: str, value: str, seed: int) -> Path:
        """Return the folder of one training."""
        name = self.names.get(method, method)  # the shared method may not be among the methods
        return self.folds.folder(self.folder / "runs" / name, value, f"seed_{seed}")

    def warm_start(self, method: str, value: str, seed: int) -> dict[str, str]:
        """Return the warm start of one training: the shared MotionNet, if the method uses it."""
        shared = self.run_folder(_SHARED, value, seed)
        uses = method in _HIDDEN and method != _SHARED
        return {"motion": str(shared)} if uses and (shared / SCORES_FILE).exists() else {}

    def is_complete(self, method: str, value: str, seed: int) -> bool:
        """Return whether one run is complete and kept."""
        return self.resume and (self.run_folder(method, value, seed) / SCORES_FILE).exists()

    def has_begun(self, method: str, value: str, seed: int) -> bool:
        """Return whether one training is complete, or goes on from a saved state."""
        state = self.run_folder(method, value, seed) / STATE_FILE
        return self.is_complete(method, value, seed) or (self.resume and state.exists())


def kind_of(method: str) -> Kind:
    """Return the kind of a method's input. Every other name is a flow estimator."""
    if method == "spatial":
        return "spatial"
    if method in NEAREST:
        return "nearest"
    if method in _PIXELS:
        return "pixels"
    return "hidden" if method in _HIDDEN else _PRECOMPUTED


def compare(
    data: str | Path,
    out: str | Path,
    group: str | None = None,
    methods: Sequence[str] | None = None,
    recipe: str | Path | Recipe = "nano",
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    seeds: int = 1,
    seed: int = 0,
    protocol: str = DEFAULT_PROTOCOL,
    clips: int | None = None,
    num_folds: int | None = None,
    decoded: ClipCache | None = None,
    resume: bool = False,
    allow_duplicates: bool = False,
    resources: Resources | None = None,
) -> Comparison:
    """Train and test every method on every fold with every seed; write table, plot, scores and JSON.

    Args:
        data: as for `hidden_two_stream.train`; with `group` as for `cross_validate`.
        out: folder that gets `table.md`, `plot.svg`, `results.json`, `flow/METHOD` and
            `runs/METHOD/FOLD/seed_N`.
        group: column of the CSV whose values are held out in turn. None: the data's own split, or a random
            part of each class held back for the test.
        methods: names, see `METHODS`. None: all methods whose libraries are installed.
        recipe: recipe of the hidden two-stream network. All other methods get the same backbone, and as many
            steps as stages temporal and joint have together.
        overrides: changes of single fields, such as {"motion.steps": 0}.
        seeds: number of runs of each method.
        seed: seed of the first run. Each further run has the next number.
        protocol: test protocol with one crop: "center" or "Nx1". A nearest neighbor sees the whole video.
        clips: train on at most so many clips of each class, which each seed draws from the training part of
            each fold; the test part stays. None: all clips.
        num_folds: use the first so many folds alone, for a quick look; None: all folds.
        decoded: all videos of the folds, decoded by `training.fit.decode_samples` with the same recipe, so
            that several comparisons decode them once. None: decode them.
        resume: keep the precomputed flow and the complete runs in `out`, and go on with the others.
        allow_duplicates: test even on videos that are in training too, under another name or as frames.
        resources: hardware and progress.

    Raises:
        UsageError: an argument is wrong, an estimator fails, or `out` holds other runs.
        MissingDependencyError: the library of a method is missing.
        CheckpointError, DataError, TrainingError, Stopped: as `hidden_two_stream.train`.
    """
    folder, resources = Path(out), resources or Resources()
    chosen = resolve_encoder(_uncalibrated(load_recipe(recipe, overrides), resources.quiet))
    require_no_background(chosen.background, "compare")
    methods = _checked(available_methods(chosen) if methods is None else methods)
    if parse_protocol(protocol).crops != 1:
        raise UsageError(
            f"protocol {protocol} crops or mirrors frames, but not precomputed flow; give Nx1 or center"
        )
    if seeds < 1:
        raise UsageError(f"got {seeds} seeds; expected at least 1")
    if clips is not None and clips < 1:
        raise UsageError(f"got {clips} clips of each class; expected at least 1, or all without --clips")
    fabric = resources.single_device("compare")
    folds = (read_one_split(data, 0.25, seed) if group is None else read_folds(data, group)).first(num_folds)
    trained = [method for method in methods if kind_of(method) != "nearest"]
    check_run(chosen, folds.classes)
    for method in trained:
        check_run(method_recipe(chosen, method), folds.classes)
    if {_SHARED, "branched"} <= set(methods) and chosen.model.motion_frames:
        raise UsageError(
            f"branched begins with the MotionNet of {_SHARED}, but sees whole clips; model.motion_frames is "
            f"{chosen.model.motion_frames}; set it to 0, or leave out one of these methods"
        )
    chosen = resolve_input(chosen, folds.samples)
    for method in trained:
        method_chosen = method_recipe(chosen, method)
        check_batches(method_chosen, stages_to_train(method_chosen, STAGE_NAMES, ()))
    require_seed(seed)
    _try_estimators(methods, chosen.input.size)
    with open_folder(folder, folds, chosen, seed, protocol, resume, clips):
        names = folder_names(methods, allowed="-_.@")
        study = _Study(
            str(data), folder, folds, chosen, resources, fabric, protocol, names, resume, allow_duplicates,
            decoded=decoded, clips=clips,
        )  # fmt: skip
        numbers = tuple(range(seed, seed + seeds))
        _check_shared(study, methods, numbers)
        return _run_study(study, methods, numbers)


def _run_study(study: _Study, methods: Sequence[str], numbers: tuple[int, ...]) -> Comparison:
    """Train and test every method, and write table, plot and results."""
    chosen, folder, folds = study.recipe, study.folder, study.folds
    note_facts(next(iter(folds.indexes.values())))
    cache = _decoded(study)
    duplicates = find_duplicates(cache.samples, cache.videos)
    require_separate(duplicates, folds.splits.values(), allow=study.allow_duplicates)
    keep_contents(folder / PLAN_FILE, decoded_contents(cache), study.data)
    _warn_of_small_frames(chosen, methods)
    flow = {
        method: _precompute_flow(
            cache, method, folder / "flow" / study.names[method], chosen, study.resources
        )
        for method in methods
        if kind_of(method) == _PRECOMPUTED
    }
    study = dataclasses.replace(study, decoded=cache, flow=flow)
    study = dataclasses.replace(study, described=_described(study, methods, numbers))
    scores = {
        (method, value, number): _scores(study, method, value, number)
        for number in numbers
        for value in folds.splits
        for method in sorted(methods, key=lambda name: name != _SHARED)  # its MotionNet is needed first
    }
    last = tuple(folds.splits)[-1]
    runs = {method: _trained(study, method, last, numbers[0]) for method in methods}
    speed = measure_speed(runs, flow, cache, chosen)
    comparison = _comparison(study, methods, numbers, scores, speed)
    table, paragraph = comparison_table(comparison), comparison_paragraph(comparison)
    with kept_on_output_error(lambda: f"{table}\n{paragraph}"):
        write_text(folder / "table.md", f"{table}\n{paragraph}\n")
        write_text(folder / "plot.svg", comparison_svg(comparison))
        write_json(folder / RESULTS_FILE, comparison.to_dict())
    return comparison


def _decoded(study: _Study) -> ClipCache:
    """Return all videos of the folds, decoded here or before.

    Raises:
        UsageError: videos that were decoded before are others, or have another size.
    """
    recipe, samples = study.recipe, study.folds.samples
    if study.decoded is None:
        return decode_samples(samples, recipe, study.resources, study.folder)
    cache = study.decoded.select(samples)
    missing = len(samples) - len(cache.samples) - len(cache.unreadable)
    if missing or cache.size != recipe.input.resize:
        raise UsageError(
            f"the decoded videos have size {cache.size} and lack {missing} of {len(samples)}; expected all "
            f"with size {recipe.input.resize}, see decode_samples"
        )
    return cache


def _described(study: _Study, methods: Sequence[str], numbers: Sequence[int]) -> dict[str, DescribedVideos]:
    """Return the descriptors of all videos, for each nearest neighbor that has a run to make."""
    folds, cache, quiet = study.folds.splits, study.cache, study.resources.quiet
    return {
        method: with_progress(method, len(cache.videos), quiet, partial(describe_videos, method, cache))
        for method in methods
        if kind_of(method) == "nearest"
        and not all(study.is_complete(method, value, seed) for value in folds for seed in numbers)
    }


def _check_shared(study: _Study, methods: Sequence[str], numbers: Sequence[int]) -> None:
    """Check, before anything is decoded, that every run can begin with the MotionNet that it will share.

    Raises:
        UsageError: a complete run of the shared method in the folder does not fit one of `methods`.
    """
    for method in methods:
        for value in study.folds.splits:
            for number in numbers:
                warm_start = study.warm_start(method, value, number)
                if warm_start and not study.has_begun(method, value, number):
                    check_run(method_recipe(study.recipe, method), study.folds.classes, warm_start=warm_start)


def _uncalibrated(recipe: Recipe, quiet: bool) -> Recipe:
    """Return the recipe without calibration: methods are compared with the same fixed fusion."""
    if recipe.calibration.method == "none":
        return recipe
    note("no method is calibrated: all are fused with the fixed weights of the recipe", quiet=quiet)
    return dataclasses.replace(recipe, calibration=CalibrationConfig())


def method_recipe(recipe: Recipe, method: str) -> Recipe:
    """Return the recipe of one method. Methods differ only in the input of the temporal stream."""
    kind = kind_of(method)
    # Neither MotionNet nor anything that was trained behind one.
    without = dataclasses.replace(recipe, motion_init="none", temporal_init="none", motion=_OFF, joint=_OFF)
    if kind == "nearest":
        return dataclasses.replace(without, spatial=_OFF, temporal=_OFF)
    if kind == "spatial":
        model = dataclasses.replace(recipe.model, streams=("spatial",), motion_frames=0, temporal="stacked")
        return dataclasses.replace(without, model=model, temporal=_OFF)
    backbone = recipe.model.temporal_backbone
    model = dataclasses.replace(recipe.model, streams=("temporal",), backbone=backbone, encoder="")
    whole = dataclasses.replace(recipe.temporal, steps=recipe.temporal.steps + recipe.joint.steps)
    if kind == "hidden":
        if method in _SEQUENCE:
            return _sequence_recipe(dataclasses.replace(recipe, model=model, spatial=_OFF), method)
        if method == "branched":
            model = dataclasses.replace(model, temporal="branched", motion_frames=0)
        elif model.temporal in ("branched", "sequence"):
            model = dataclasses.replace(model, temporal="stacked")
        changed = dataclasses.replace(recipe, model=model, temporal_init="none", spatial=_OFF)
        return changed if method != _SHARED else dataclasses.replace(changed, temporal=whole, joint=_OFF)
    model = dataclasses.replace(model, motion_frames=0, temporal="stacked")
    return dataclasses.replace(without, model=model, spatial=_OFF, temporal=whole)


def _sequence_recipe(recipe: Recipe, method: str) -> Recipe:
    """Return the recipe of a temporal stream of the form "sequence".

    It is pre-trained as the recipe asks for, from scratch, or pre-trained and frozen except for its last
    layer, which is fitted by logistic regression.

    Raises:
        UsageError: the last is asked for, but the recipe has no pre-trained stream.
    """
    model = dataclasses.replace(recipe.model, temporal="sequence", backbone="small")
    recipe = dataclasses.replace(recipe, model=model)
    if method == "sequence-scratch":
        return dataclasses.replace(recipe, temporal_init="none")
    if method == "sequence":
        return recipe
    if recipe.temporal_init == "none":
        raise UsageError(
            "sequence-frozen needs a pre-trained temporal stream, but temporal_init is none; set "
            "temporal_init=shipped, or leave this method out"
        )
    return dataclasses.replace(recipe, temporal=LAST_LAYER, joint=_OFF)


def baseline_input(method: str) -> BaselineInput:
    """Return the input of a method without hidden motion, for `BaselineModel`."""
    return method if method in _PIXELS else "flow"


def _is_baseline(method: str) -> bool:
    return kind_of(method) in ("pixels", _PRECOMPUTED)


def _trained(study: _Study, method: str, value: str, seed: int) -> Recognizer | Baseline | Nearest:
    folder = study.run_folder(method, value, seed)
    if kind_of(method) == "nearest":
        return load_nearest(folder)
    return load_baseline(folder) if _is_baseline(method) else load(folder)


def _checked(methods: Sequence[str]) -> tuple[str, ...]:
    """Return the methods, each once and the spatial stream first, or raise an error about a wrong one."""
    if isinstance(methods, str):
        raise UsageError(f"methods is the text {methods!r}; expected a list of names, such as [{methods!r}]")
    if not methods:
        raise UsageError(
            f"no method is named; choose from {', '.join((*METHODS, *RAFT))}, or leave out --methods"
        )
    for method in methods:
        if method in METHODS and method not in ESTIMATORS:
            continue
        name, factor = enlarged_factor(method)
        if factor > 1 and name in METHODS and name not in ESTIMATORS:
            raise UsageError(
                f"@{factor} is for flow estimators, such as dis-medium@{factor}; {name!r} is not one"
            )
        if name not in (*ESTIMATORS, *RAFT) and ":" not in name:
            known = ", ".join((*METHODS, *RAFT))
            raise UsageError(
                f"unknown method {method!r}; choose from {known}, or name your own flow estimator as "
                "package.module:function; dis-medium@2 enlarges the frames of dis-medium two times"
            )
        find_estimator(method)
    return tuple(dict.fromkeys(("spatial", *methods)))


def _try_estimators(methods: Sequence[str], size: int) -> None:
    """Run every flow estimator on two frames, to find a broken one before the long part begins.

    Raises:
        UsageError: an estimator fails, or its result is not the flow of the frames.
    """
    frames = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    for method in methods:
        if kind_of(method) == _PRECOMPUTED:
            find_estimator(method)(frames)


def available_methods(recipe: Recipe | None = None) -> tuple[str, ...]:
    """Return all `METHODS` whose libraries are installed, and name the others on stderr.

    For a recipe without a pre-trained temporal stream, "sequence" alone stands for all sequences.
    """
    pretrained = recipe is None or recipe.temporal_init != "none"
    found = []
    for method in METHODS:
        if method in _SEQUENCE[1:] and not pretrained:
            continue
        try:
            _checked([method])
        except MissingDependencyError as error:
            note(f"method {method} is left out: {error}")
        else:
            found.append(method)
    return tuple(found)


def _warn_of_small_frames(recipe: Recipe, methods: Sequence[str]) -> None:
    """Suggest enlarged frames for flow estimators. Nano enlarges small frames itself."""
    size = recipe.input.size
    estimators = [name for name in methods if kind_of(name) == _PRECOMPUTED]
    if estimators and size < _GOOD_SIZE and all(enlarged_factor(name)[1] == 1 for name in estimators):
        factor = min(LARGEST_FACTOR, -(-_GOOD_SIZE // size))
        note(
            f"the networks see frames of {size} px; flow estimators may be more accurate on enlarged frames: "
            f"--methods {estimators[0]}@{factor}"
        )


def _precompute_flow(
    cache: ClipCache, method: str, folder: Path, recipe: Recipe, resources: Resources
) -> FlowCache:
    """Return the flow of one estimator on all videos; flow that is already in `folder` is kept."""
    make_folder(folder)
    stride, workers = recipe.input.frame_stride, resources.workers
    with folder_lock(folder):
        return with_progress(
            method,
            len(cache.videos),
            resources.quiet,
            lambda progress: extract_flow(
                cache, method, folder, stride=stride, workers=workers, progress=progress
            ),
        )


def _scores(study: _Study, method: str, value: str, seed: int) -> Evaluation:
    """Return the test result of one method on one fold with one seed; train unless it is complete."""
    folder = study.run_folder(method, value, seed)
    recipe = method_recipe(study.recipe, method)
    if study.is_complete(method, value, seed):
        tested = study.cache.select(study.folds.splits[value].test).samples
        names = [sample.name for sample in tested]
        return load_fold(folder, study.folds, value, recipe, seed, study.protocol, names)
    note(f"{method}, {study.folds.group} {value}, seed {seed}", quiet=study.resources.quiet)
    task = FitTask(
        split=study.split(value, seed),
        cache={**study.flow, **study.described}.get(method, study.cache),
        classes=study.folds.classes,
        recipe=recipe,
        folder=make_folder(folder),
        seed=seed,
        protocol=study.protocol,
        warm_start=study.warm_start(method, value, seed),
        metadata=study.folds.metadata[value],
        resume=study.resume,
    )
    with folder_lock(folder):
        evaluation: Evaluation | None
        if kind_of(method) == "nearest":
            evaluation = fit_nearest(task, method, study.resources)
        elif _is_baseline(method):
            evaluation = fit_baseline(task, baseline_input(method), study.resources, study.fabric)
        else:
            evaluation = fit(task, study.resources, study.fabric).evaluation
        if evaluation is None:
            raise UsageError(f"no readable test video with {study.folds.group} {value}")
        with kept_on_output_error(
            lambda: f"{method}, {study.folds.group} {value}, seed {seed}: {evaluation}"
        ):
            evaluation.save_scores(folder / SCORES_FILE)
    (name, accuracy), *_ = evaluation.accuracy.items()  # of the method's only stream
    note(f"  {name} {accuracy:.1%}", quiet=study.resources.quiet)
    return evaluation


def _comparison(
    study: _Study,
    methods: Sequence[str],
    seeds: tuple[int, ...],
    scores: Mapping[tuple[str, str, int], Evaluation],
    speed: Mapping[str, Milliseconds],
) -> Comparison:
    results = []
    for method in methods:
        alone, fused, kind = [], [], kind_of(method)
        for seed in seeds:
            pairs = [
                (scores[method, value, seed], scores["spatial", value, seed]) for value in study.folds.splits
            ]
            alone.append(np.concatenate([_correct(own, own.fused) for own, _ in pairs]))
            fused.append(
                np.concatenate([_correct(own, _fused(study.recipe, own, other)) for own, other in pairs])
            )
        flow = study.flow.get(method)
        ms = speed[method]
        results.append(
            MethodResult(
                name=method,
                kind=kind,
                alone=np.stack(alone),
                fused=None if kind in ALONE else np.stack(fused),
                decode_ms=ms.decoding,
                motion_ms=ms.motion,
                recognition_ms=ms.recognition,
                bytes_stored=flow.num_bytes if flow else 0,
                seconds_extracted=flow.seconds if flow else 0.0,
            )
        )
    first = [scores["spatial", value, seeds[0]] for value in study.folds.splits]
    return Comparison(
        data=study.data,
        group=study.folds.group,
        protocol=study.protocol,
        seeds=seeds,
        folds=tuple(study.folds.splits),
        classes=study.folds.classes,
        truth=tuple(part.classes[number] for part in first for number in part.truth.tolist()),
        methods=tuple(results),
        machine=machine(),
        recipe=study.recipe.to_dict(),
        num_unreadable=len(study.cache.unreadable),
        clips=study.clips,
    )


def _fused(recipe: Recipe, own: Evaluation, spatial: Evaluation) -> npt.NDArray[np.float32]:
    """Return the late fusion of two runs on the same videos, with the recipe's method and weights."""
    if below_common_folder(own.names) != below_common_folder(spatial.names):
        raise UsageError("the runs were tested on different videos; compare again in another folder")
    fusion = recipe.fusion
    logits = [next(iter(part.logits.values())) for part in (spatial, own)]
    return fuse(logits, [fusion.spatial_weight, fusion.temporal_weight], fusion.method)


def _correct(evaluation: Evaluation, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    correct: npt.NDArray[np.bool_] = scores.argmax(axis=1) == evaluation.truth
    return correct
