"""`hts compare`: hidden motion against what else a temporal stream could see, on the same splits and seeds.

Every method is the same backbone with the same number of steps on the same videos; only what it sees differs.
One spatial stream per fold and seed is shared by all: it is fused with each of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from hidden_two_stream.config.schema import Recipe, StageConfig
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.samples import below_common_folder
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, load_scores
from hidden_two_stream.evaluation.comparison import Comparison, Kind, MethodResult
from hidden_two_stream.experiments.compare_speed import Milliseconds, measure_speed
from hidden_two_stream.experiments.folds import Folds, open_folder, read_folds, read_one_split
from hidden_two_stream.experiments.stored_flow import ExtractedFlow, extract_flow
from hidden_two_stream.files import make_folder, write_json, write_text
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.protocol import parse_protocol
from hidden_two_stream.motion.estimators.classical import ESTIMATORS
from hidden_two_stream.motion.estimators.plugins import LARGEST_FACTOR, enlarged_factor, find_estimator
from hidden_two_stream.motion.estimators.raft import RAFT
from hidden_two_stream.progress import note, with_progress
from hidden_two_stream.recognition.fusion import fuse
from hidden_two_stream.reports.comparison_json import comparison_json
from hidden_two_stream.reports.comparison_plot import comparison_svg
from hidden_two_stream.reports.comparison_text import comparison_paragraph, comparison_table
from hidden_two_stream.training.fit import Resources, decode_samples, fit, require_motion, resolve_input
from hidden_two_stream.training.runner import RESULTS_FILE

__all__ = ["METHODS", "available_methods", "compare_command", "method_recipe"]

PIXELS = ("frames", "difference")
HIDDEN = ("hidden-frozen", "hidden-joint", "branched")
SHARED = "hidden-frozen"
"""Its MotionNet is what the other hidden methods would learn, so they take it where it is there."""
METHODS = ("spatial", *PIXELS, *ESTIMATORS, *HIDDEN)
"""Methods by name; further ones are flow estimators, see `motion.estimators.plugins.find_estimator`."""

GOOD_SIZE = 128  # px, from which on estimators need no enlarging
SCORES_FILE = "scores.npz"
_OFF = StageConfig(steps=0)


@dataclass(frozen=True)
class _Study:
    """What stays the same for all methods.

    Attributes:
        data: as the user named it.
        folder: of the whole comparison.
        folds: splits.
        recipe: of the hidden two-stream, the input size filled in.
        resources: machine; its seed is that of the first run.
        fabric: launched.
        protocol: of the tests.
        store: all decoded videos.
        given: extracted flow by method.
        resume: keep what is complete.
    """

    data: str
    folder: Path
    folds: Folds
    recipe: Recipe
    resources: Resources
    fabric: Fabric
    protocol: str
    store: ClipCache
    given: Mapping[str, ExtractedFlow]
    resume: bool

    def run_folder(self, method: str, value: str, seed: int) -> Path:
        """Of one training."""
        return self.folds.folder(self.folder / "runs" / method.replace(":", "_"), value) / f"seed_{seed}"


def kind_of(method: str) -> Kind:
    """What a method sees; whatever is unknown here is a flow estimator."""
    if method == "spatial":
        return "spatial"
    if method in PIXELS:
        return "pixels"
    return "hidden" if method in HIDDEN else "given"


def compare_command(
    data: str,
    group: str | None,
    folder: Path,
    recipe: Recipe,
    resources: Resources,
    *,
    methods: Sequence[str],
    seeds: int,
    protocol: str,
    resume: bool,
) -> dict[str, Any]:
    """Train and test every method on every fold with every seed; write table, plot, scores and JSON.

    Args:
        data: as of `hts train`; with `group` as of `hts cross-validate`.
        group: column to leave one out of; None: the data's own split, or one held-out part.
        folder: gets `table.md`, `plot.svg`, `results.json`, `flow/METHOD` and `runs/METHOD/FOLD/seed_N`.
        recipe: of the hidden two-stream. All other methods get the same backbone, and as many steps as its
            stages temporal and joint have together.
        resources: machine and first seed.
        methods: names, see `METHODS`.
        seeds: how many runs of each; they have the numbers from `resources.seed` on.
        protocol: of the tests; one crop.
        resume: keep flow that is extracted and runs that are complete.

    Returns:
        What `results.json` holds, and "text": table and paragraph.

    Raises:
        UsageError: a method is unknown, an estimator fails, or the protocol has several crops.
        MissingDependencyError: the library of a method is missing.
    """
    methods = _checked(methods)
    if parse_protocol(protocol).crops != 1:
        raise UsageError(f"protocol {protocol} flips pictures, not stored flow; give Nx1 or center")
    if resources.devices != "1":
        raise UsageError("compare trains on one device; leave out --devices")
    if seeds < 1:
        raise UsageError(f"--seeds is {seeds}; expected at least 1")
    fabric = resources.fabric()
    folds = read_one_split(data, 0.25, resources.seed) if group is None else read_folds(data, group)
    for method in methods:
        require_motion(method_recipe(recipe, method), {})
    recipe = resolve_input(recipe, folds.samples)
    _try_estimators(methods, recipe.input.size)
    plan = {
        "data": folds.fingerprint(), "group": folds.group, "recipe": recipe.to_dict(),
        "seed": resources.seed, "protocol": protocol,
    }  # fmt: skip
    open_folder(folder, plan, resume)
    store = decode_samples(folds.samples, recipe, resources, folder)
    _warn_of_small_pictures(recipe, methods)
    given = _extracted(store, methods, folder, recipe, resources)
    study = _Study(data, folder, folds, recipe, resources, fabric, protocol, store, given, resume)
    numbers = range(resources.seed, resources.seed + seeds)
    scores = {
        (method, value, seed): _scores(study, method, value, seed)
        for seed in numbers
        for value in folds.splits
        for method in sorted(methods, key=lambda name: name != SHARED)  # what others take goes first
    }
    last = tuple(folds.splits)[-1]
    runs = {method: load(study.run_folder(method, last, numbers[0])) for method in methods}
    speed = measure_speed(runs, given, store, recipe)
    comparison = _comparison(study, methods, tuple(numbers), scores, speed)
    return _written(comparison, folder)


def method_recipe(recipe: Recipe, method: str) -> Recipe:
    """The recipe of one method: what differs between them, and nothing else."""
    kind = kind_of(method)
    if kind == "spatial":
        model = dataclasses.replace(recipe.model, streams=("spatial",), motion_frames=0, temporal="stacked")
        return dataclasses.replace(
            recipe, model=model, motion_init="none", motion=_OFF, temporal=_OFF, joint=_OFF
        )
    model = dataclasses.replace(recipe.model, streams=("temporal",))
    whole = dataclasses.replace(recipe.temporal, steps=recipe.temporal.steps + recipe.joint.steps)
    if kind == "hidden":
        if method == "branched":
            model = dataclasses.replace(model, temporal="branched", motion_frames=0)
        elif model.temporal == "branched":
            model = dataclasses.replace(model, temporal="stacked")
        changed = dataclasses.replace(recipe, model=model, spatial=_OFF)
        return changed if method != SHARED else dataclasses.replace(changed, temporal=whole, joint=_OFF)
    seen: Any = method if kind == "pixels" else "flow"
    model = dataclasses.replace(model, temporal_input=seen, motion_frames=0, temporal="stacked")
    return dataclasses.replace(
        recipe, model=model, motion_init="none", motion=_OFF, spatial=_OFF, temporal=whole, joint=_OFF
    )


def _checked(methods: Sequence[str]) -> tuple[str, ...]:
    """The methods, each once, the spatial stream first; an unknown one is an error."""
    if not methods:
        raise UsageError(
            f"no method is named; choose of {', '.join((*METHODS, *RAFT))}, or leave out --methods"
        )
    for method in methods:
        if method in METHODS and method not in ESTIMATORS:
            continue
        name, factor = enlarged_factor(method)
        if factor > 1 and name in METHODS and name not in ESTIMATORS:
            raise UsageError(
                f"@{factor} is for flow estimators, such as dis-medium@{factor}; {name!r} is none"
            )
        if name not in (*ESTIMATORS, *RAFT) and ":" not in name:
            known = ", ".join((*METHODS, *RAFT))
            raise UsageError(
                f"unknown method {method!r}; choose of {known}, or your own flow as package.module:function; "
                "flow of pictures twice as large is dis-medium@2"
            )
        find_estimator(method)
    return tuple(dict.fromkeys(("spatial", *methods)))


def _try_estimators(methods: Sequence[str], size: int) -> None:
    """Let all estimators see two frames: what cannot work shall not show hours later.

    Raises:
        UsageError: one fails, or gives what is no flow of them.
    """
    frames = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    for method in methods:
        if kind_of(method) == "given":
            find_estimator(method)(frames)


def available_methods() -> tuple[str, ...]:
    """All `METHODS` but the flow estimators whose library is missing, which are named."""
    found = []
    for method in METHODS:
        try:
            _checked([method])
        except MissingDependencyError as error:
            note(f"without {method}: {error}")
        else:
            found.append(method)
    return tuple(found)


def _warn_of_small_pictures(recipe: Recipe, methods: Sequence[str]) -> None:
    """Nano enlarges small pictures itself; an estimator that doesn't is a weaker rival than it could be."""
    size = recipe.input.size
    given = [name for name in methods if kind_of(name) == "given"]
    if given and size < GOOD_SIZE and all(enlarged_factor(name)[1] == 1 for name in given):
        factor = min(LARGEST_FACTOR, -(-GOOD_SIZE // size))
        note(
            f"the networks see pictures of {size} px: computed flow may be better on enlarged ones, as of "
            f"--methods {given[0]}@{factor}"
        )


def _extracted(
    store: ClipCache, methods: Sequence[str], folder: Path, recipe: Recipe, resources: Resources
) -> dict[str, ExtractedFlow]:
    found = {}
    for method in methods:
        if kind_of(method) != "given":
            continue
        into = folder / "flow" / method.replace(":", "_")

        def work(progress: Any, method: str = method, into: Path = into) -> ExtractedFlow:
            stride, workers = recipe.input.frame_stride, resources.workers
            return extract_flow(store, method, into, stride=stride, workers=workers, progress=progress)

        found[method] = with_progress(method, len(store.videos), resources.quiet, work)
    return found


def _scores(study: _Study, method: str, value: str, seed: int) -> Evaluation:
    """Train and test one method on one fold with one seed, unless that was done before."""
    folder = study.run_folder(method, value, seed)
    if study.resume and (folder / SCORES_FILE).exists():
        return load_scores(folder / SCORES_FILE, study.protocol)
    note(f"{method}, {study.folds.group} {value}, seed {seed}")
    recipe = method_recipe(study.recipe, method)
    shared = study.run_folder(SHARED, value, seed)
    takes = method in HIDDEN and method != SHARED and (shared / SCORES_FILE).exists()
    taken = {"motion": str(shared)} if takes else {}
    store = study.given[method].store if method in study.given else study.store
    fitted = fit(
        study.folds.splits[value],
        store,
        study.folds.classes,
        recipe,
        make_folder(folder),
        dataclasses.replace(study.resources, seed=seed),
        study.fabric,
        protocol=study.protocol,
        taken=taken,
        resume=study.resume,
        provenance=study.folds.sources[value],
    )
    if fitted.evaluation is None:
        raise UsageError(f"no readable test video with {study.folds.group} {value}")
    fitted.evaluation.save_scores(folder / SCORES_FILE)
    (name, share), *_ = fitted.evaluation.accuracy().items()  # of the one stream, before it is fused
    note(f"  {name} {share:.1%}")
    return fitted.evaluation


def _comparison(
    study: _Study,
    methods: Sequence[str],
    seeds: tuple[int, ...],
    scores: Mapping[tuple[str, str, int], Evaluation],
    speed: Mapping[str, Milliseconds],
) -> Comparison:
    results = []
    for method in methods:
        alone, fused = [], []
        for seed in seeds:
            pairs = [
                (scores[method, value, seed], scores["spatial", value, seed]) for value in study.folds.splits
            ]
            alone.append(np.concatenate([_correct(own, own.fused) for own, _ in pairs]))
            fused.append(
                np.concatenate([_correct(own, _fused(study.recipe, own, other)) for own, other in pairs])
            )
        given = study.given.get(method)
        ms = speed[method]
        results.append(
            MethodResult(
                name=method,
                kind=kind_of(method),
                alone=np.stack(alone),
                fused=None if method == "spatial" else np.stack(fused),
                decode_ms=ms.decoding,
                motion_ms=ms.motion,
                recognition_ms=ms.recognition,
                bytes_stored=given.num_bytes if given else 0,
                seconds_extracted=given.seconds if given else 0.0,
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
        num_unreadable=len(study.store.unreadable),
    )


def _fused(recipe: Recipe, own: Evaluation, spatial: Evaluation) -> npt.NDArray[np.float32]:
    """Late fusion of two runs on the same videos, as the recipe weighs its streams."""
    if below_common_folder(own.names) != below_common_folder(spatial.names):
        raise UsageError("the runs were tested on different videos; compare again in another folder")
    fusion = recipe.fusion
    logits = [next(iter(part.logits.values())) for part in (spatial, own)]
    return fuse(logits, [fusion.spatial_weight, fusion.temporal_weight], fusion.method)


def _correct(evaluation: Evaluation, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    correct: npt.NDArray[np.bool_] = scores.argmax(axis=1) == evaluation.truth
    return correct


def _written(comparison: Comparison, folder: Path) -> dict[str, Any]:
    table, paragraph = comparison_table(comparison), comparison_paragraph(comparison)
    write_text(folder / "table.md", f"{table}\n{paragraph}\n")
    write_text(folder / "plot.svg", comparison_svg(comparison))
    results = comparison_json(comparison)
    write_json(folder / RESULTS_FILE, results)
    return {**results, "text": f"{table}\n{paragraph}"}
