"""`hts train`: from a data set to a run folder with a tested recogniser and a report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import MODEL_FILE, PLAN_FILE
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.schema import STAGE_NAMES, Recipe
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex
from hidden_two_stream.data.splits import Split, divide
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.inference.protocol import parse_protocol
from hidden_two_stream.progress import note
from hidden_two_stream.reports.run_report import write_run_report
from hidden_two_stream.training.fit import (
    Fitted,
    Resources,
    begins_from_weights,
    decode_samples,
    fit,
    require_motion,
    resolve_input,
)
from hidden_two_stream.training.warm_start import open_parts
from hidden_two_stream.weights.pretrained import find_weights

__all__ = ["Plan", "open_run", "train_command"]

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Plan:
    """What a run sets out to do; kept in the run folder, so that `--resume` needs nothing else.

    Attributes:
        data: folder, CSV or data set by name.
        recipe: how to train; the input size filled in once the data is known.
        stages: names, in order.
        test_fraction: of each class, where the data has no split of its own.
        held_out: "column=value" of the samples that are kept for the test instead.
        seed: of the split and of everything random.
        motion_from, spatial_from, temporal_from: runs whose MotionNet, spatial stream, temporal stream
            (with its MotionNet) are taken.
        protocol: of the test.
        fingerprint: of the list of samples; empty before the data is read.
    """

    data: str
    recipe: Recipe
    stages: tuple[str, ...] = STAGE_NAMES
    test_fraction: float = 0.25
    seed: int = 0
    motion_from: str | None = None
    protocol: str = "10x1"
    held_out: str | None = None
    fingerprint: str = ""
    spatial_from: str | None = None
    temporal_from: str | None = None

    def taken(self) -> dict[str, str]:
        """Runs by the part that they give."""
        parts = {"motion": self.motion_from, "spatial": self.spatial_from, "temporal": self.temporal_from}
        return {name: source for name, source in parts.items() if source is not None}

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data."""
        return {**self.__dict__, "recipe": self.recipe.to_dict(), "stages": list(self.stages)}


def make_plan(
    data: str,
    model: str,
    overrides: Sequence[str],
    stage: str,
    *,
    test_fraction: float,
    seed: int,
    taken: Mapping[str, str],
    protocol: str,
    held_out: str | None = None,
) -> Plan:
    """A plan from what the command line says.

    Raises:
        UsageError: the recipe, a field, the stage, the protocol or the split of the data set is unknown.
    """
    if stage != "all" and stage not in STAGE_NAMES:
        raise UsageError(f"unknown stage {stage!r}; choose all, {', '.join(STAGE_NAMES)}")
    parse_protocol(protocol)  # a wrong one shall not show after the training
    stages = STAGE_NAMES if stage == "all" else (stage,)
    source = absolute_data(data)
    recipe = load_recipe(model, overrides)
    if recipe.motion_init not in ("none", "shipped") and Path(recipe.motion_init).is_file():
        recipe = dataclasses.replace(recipe, motion_init=str(Path(recipe.motion_init).resolve()))
    if recipe.motion_teacher != "none" and Path(recipe.motion_teacher).is_file():
        recipe = dataclasses.replace(recipe, motion_teacher=str(Path(recipe.motion_teacher).resolve()))
    if recipe.init not in ("none", "imagenet") and Path(recipe.init).is_file():
        recipe = dataclasses.replace(recipe, init=str(Path(recipe.init).resolve()))
    return Plan(
        data=source,
        recipe=recipe,
        stages=stages,
        test_fraction=test_fraction,
        seed=seed,
        **{f"{part}_from": str(Path(source).resolve()) for part, source in taken.items()},
        protocol=protocol,
        held_out=held_out,
    )


def fingerprint(listing: DatasetIndex) -> str:
    """Tells one list of samples from another: names, labels and splits, not the files' contents."""
    root = Path(listing.source).parent.as_posix()
    text = "\n".join(f"{s.name.removeprefix(root)}\t{s.label}\t{s.split}" for s in listing.samples)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def open_run(folder: Path, plan: Plan | None, resume: bool) -> Plan:
    """Make the run folder, or find the plan of the run that is there.

    Raises:
        UsageError: a run is there already and is not to be resumed, or there is none to resume.
        CheckpointError: its plan is damaged.
    """
    path = folder / PLAN_FILE
    if not resume:
        if path.exists() or (folder / MODEL_FILE).exists():
            raise UsageError(
                f"{str(folder)!r} already holds a run; add --resume to go on, or name another folder"
            )
        if plan is None:
            raise UsageError("no data given; add --data DATA")
        return plan
    if not path.exists():
        raise UsageError(f"no run to resume in {str(folder)!r}; check --out")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        recipe = recipe_from_dict(saved.pop("recipe"), f"recipe of {str(path)!r}")
        return Plan(recipe=recipe, stages=tuple(saved.pop("stages")), **saved)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; train again into another folder"
        ) from error


def train_command(
    folder: Path, plan: Plan | None, resources: Resources, resume: bool = False, title: str = "Training run"
) -> tuple[dict[str, Any], Fitted, ClipCache]:
    """Train, test and report.

    Returns:
        What `results.json` holds (nothing in processes other than the first), the fitted recogniser, and the
        decoded videos.
    """
    fabric = resources.fabric()
    if fabric.is_global_zero:
        plan = _prepare(folder, plan, resume)
    plan = fabric.broadcast(plan)
    assert plan is not None  # prepared by the first process
    resources = dataclasses.replace(
        resources, seed=plan.seed, quiet=resources.quiet or not fabric.is_global_zero
    )
    listing = read_dataset_index(plan.data)
    split = divide(listing, plan.held_out, plan.test_fraction, plan.seed)
    store = decode_samples(split.train + split.test, plan.recipe, resources, folder)
    fitted = fit(
        split,
        store,
        listing.classes,
        plan.recipe,
        folder,
        resources,
        fabric,
        protocol=plan.protocol,
        stages=plan.stages,
        taken=plan.taken(),
        resume=resume,
        provenance={"data": plan.data, "test_fraction": plan.test_fraction, "held_out": plan.held_out},
    )
    if not fabric.is_global_zero:
        return {}, fitted, store
    results = results_of(fitted)
    write_json(folder / RESULTS_FILE, results)
    write_run_report(
        folder,
        fitted.recognizer,
        fitted.evaluation,
        fitted.seconds,
        store.select(split.test or split.train),
        title,
    )
    return results, fitted, store


def _prepare(folder: Path, plan: Plan | None, resume: bool) -> Plan:
    """Open the run folder, read the data set, and write down what is to be done."""
    plan = open_run(folder, plan, resume)
    listing = read_dataset_index(plan.data)
    split = divide(listing, plan.held_out, plan.test_fraction, plan.seed)
    if not resume:  # a wrong name shall not show after the decoding
        if not (plan.taken() or any(plan.recipe.stage(name).steps for name in plan.stages)):
            raise UsageError(
                "there is nothing to train: the recipe gives no steps to the stages asked for; "
                "give streams with --spatial-from and --temporal-from, or steps"
            )
        open_parts(plan.recipe, listing.classes, plan.taken())
        require_motion(plan.recipe, plan.taken())
        if begins_from_weights(plan.recipe, plan.taken()):
            find_weights(plan.recipe.model.backbone, plan.recipe.init)
    make_folder(folder)
    for empty in listing.empty:
        note(f"no videos in {empty!r}: it is no class")
    note(f"{len(listing.samples)} videos, {len(listing.classes)} classes; {split.rule}")
    return _settle(plan, listing, split, folder)


def results_of(fitted: Fitted) -> dict[str, Any]:
    """Figures of a run, JSON-ready."""
    tested = {} if fitted.evaluation is None else fitted.evaluation.to_dict()
    return {**tested, "seconds": {name: round(value, 2) for name, value in fitted.seconds.items()}}


def _settle(plan: Plan, listing: DatasetIndex, split: Split, folder: Path) -> Plan:
    """Fill in what the data decides and write the plan; of a resumed run, check that its data is the same."""
    found = fingerprint(listing)
    if plan.fingerprint:
        if plan.fingerprint != found:
            raise UsageError(
                f"the videos in {plan.data!r} are not those that this run began with; train anew"
            )
        return plan
    recipe = resolve_input(plan.recipe, split.train)
    note(f"the networks see {recipe.input.size}×{recipe.input.size} px (input.size)")
    settled = Plan(**{**plan.__dict__, "recipe": recipe, "fingerprint": found})
    write_json(folder / PLAN_FILE, settled.to_dict())
    return settled
