"""Pushes a run to the Hugging Face Hub: weights, description, scores and a model card; nothing private."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hidden_two_stream._version import __version__
from hidden_two_stream.checkpoint import (
    CONFIG_FILE,
    DESCRIPTION_KEY,
    FRAME_LABELS_KEY,
    MODEL_FILE,
    RESULTS_FILE,
    RunInfo,
    load_run,
    read_description,
)
from hidden_two_stream.data.record import read_record
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import (
    atomic_folder,
    atomic_write,
    holds_nothing,
    read_limited,
    write_json,
    write_text,
)
from hidden_two_stream.inference.annotator import load_annotator
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.reports.run_card import inspect
from hidden_two_stream.sharing.card import PICTURE_FILE, CardFacts, model_card
from hidden_two_stream.sharing.picture import FlowPicture, flow_picture
from hidden_two_stream.sharing.public import audit, private_words, public_info, public_results
from hidden_two_stream.tensor_files import read_metadata
from hidden_two_stream.tensors import write_tensors
from hidden_two_stream.video.reader import Source
from hidden_two_stream.weights.hub import find_run
from hidden_two_stream.weights.hub_errors import hub_errors, hub_library
from hidden_two_stream.weights.hub_names import HubName, parse_hub_name

__all__ = ["CardOptions", "Pushed", "push"]

CARD_FILE = "README.md"
_KINDS = ("clips", "frame labels", "motion network")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


@dataclass(frozen=True)
class CardOptions:
    """What the author adds to the model card.

    Attributes:
        title: heading; None: the name of the model.
        license: identifier of the model's license on the hub, such as "apache-2.0" or "cc-by-4.0"; None: no
            license is given.
        data_name: what to call the training data; None: its name if it is a benchmark, and else "videos of
            the author's own".
        picture: a video whose middle frame and flow are shown, instead of a generated scene.
    """

    title: str | None = None
    license: str | None = None
    data_name: str | None = None
    picture: Source | None = None


@dataclass(frozen=True)
class Pushed:
    """What was pushed, or would be.

    Attributes:
        repository: "user/name".
        files: bytes of each file.
        folder: where the files were written instead; None: they were pushed.
        commit: commit hash of the push; None: nothing was pushed.
        url: page of the model.
        private: whether only its owner sees it; None: unknown.
    """

    repository: str
    files: Mapping[str, int]
    folder: Path | None = None
    commit: str | None = None
    url: str | None = None
    private: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "repository": self.repository,
            "files": dict(self.files),
            "folder": None if self.folder is None else str(self.folder),
            "commit": self.commit,
            "url": self.url,
            "private": self.private,
        }

    def __str__(self) -> str:
        files = ", ".join(f"{name} ({size:,} bytes)" for name, size in self.files.items())
        if self.folder is not None:
            return f"{self.folder}: {files}\nnothing was pushed; read {self.folder / CARD_FILE} first"
        seen = "private: only you see it" if self.private else "public"
        return (
            f"{self.url} ({seen})\n{files}\nload exactly these weights with: {self.repository}@{self.commit}"
        )


def push(
    run: str | Path,
    name: str,
    *,
    private: bool | None = None,
    options: CardOptions | None = None,
    keep_card: bool = False,
    token: str | None = None,
    dry_run: str | Path | None = None,
) -> Pushed:
    """Push a run to the hub, so that others load it with `hts.load("user/name")`.

    The weights, the description, the scores and a model card are pushed. Paths, names of videos, the value of
    a held-out group, the training state and logs stay here; `sharing.public` says what is published.

    Args:
        run: a run folder of `hts train` or `hts train-frames`, or a checkpoint file.
        name: "user/name". The model is made if there is none.
        private: whether only its owner may see it; None: a new model is private, and others stay as they are.
        options: what the author adds to the card.
        keep_card: leave the card on the hub as it is, for example because it was edited there.
        token: of the hub; None: HF_TOKEN, or that of `hf auth login`.
        dry_run: write the files into this new folder, and push nothing.

    Raises:
        UsageError: the run, the name, an option or the token is wrong, something private would be published,
            or `private` differs from what the model on the hub is.
        CheckpointError: the run is damaged, or cannot be shared.
        OutputError: the hub refuses the push or cannot be reached, or the folder is not writable.
        MissingDependencyError: `huggingface_hub` is not installed.
    """
    target = parse_hub_name(name)
    if target.revision is not None:
        raise UsageError(
            f"cannot push to {name!r}: a push makes a new revision; leave out @{target.revision}"
        )
    chosen = options or CardOptions()
    _check_options(chosen)
    if dry_run is not None:
        folder = Path(dry_run)
        if not holds_nothing(folder):
            raise UsageError(f"{str(folder)!r} is not empty; give a new folder for the files of --dry-run")
        with atomic_folder(folder) as part:
            files = _write(part, run, target, chosen)
        return Pushed(target.repository, files, folder=folder)
    api = _api(target, token)
    with tempfile.TemporaryDirectory(prefix="hts-push-") as temporary:
        files = _write(Path(temporary), run, target, chosen)
        if keep_card:
            files = {file: size for file, size in files.items() if file not in (CARD_FILE, PICTURE_FILE)}
        with hub_errors(target, api.endpoint, pushing=True):
            is_private = _make_repository(api, target, private)
            commit = _commit(api, target, Path(temporary), list(files))
    url = f"{api.endpoint}/{target.repository}"
    return Pushed(target.repository, files, commit=commit, url=url, private=is_private)


def _check_options(options: CardOptions) -> None:
    if options.license is not None and not _LICENSE.fullmatch(options.license):
        raise UsageError(
            f"got {options.license!r} as the license; expected an identifier of the hub, such as apache-2.0, "
            "cc-by-4.0, cc-by-nc-4.0 or other"
        )
    for field in ("title", "data_name"):
        text = getattr(options, field)
        if text is not None and not text.strip():
            raise UsageError(f"the {field.replace('_', ' ')} is empty; give one, or leave it out")


def _api(target: HubName, token: str | None) -> Any:
    """Return the client of the hub.

    Raises:
        UsageError: there is no token.
        MissingDependencyError: `huggingface_hub` is not installed.
    """
    library = hub_library("a push to the hub")
    api = library.HfApi(token=token, library_name="hidden-two-stream", library_version=__version__)
    with hub_errors(target, api.endpoint, pushing=True):
        if token is None and library.get_token() is None:
            raise UsageError("no token of the hub: log in with: hf auth login, or set HF_TOKEN")
    return api


def _make_repository(api: Any, target: HubName, private: bool | None) -> bool:
    """Make the model on the hub unless it exists, and return whether it is private.

    Raises:
        UsageError: it exists and is not as `private` says.
    """
    missing: Any = hub_library("a push to the hub").errors.RepositoryNotFoundError
    try:
        existing = bool(api.model_info(target.repository).private)
    except missing:
        is_private = private is None or private
        api.create_repo(target.repository, private=is_private)
        return is_private
    if private is not None and existing != private:
        is_now, wanted = ("private", "public") if existing else ("public", "private")
        raise UsageError(
            f"{target.repository!r} is {is_now} on {api.endpoint}, not {wanted}: nothing was pushed; change "
            "it in the settings of its page, or leave the choice out"
        )
    return existing


def _commit(api: Any, target: HubName, folder: Path, files: list[str]) -> str:
    """Push files in one commit and return its hash."""
    library = hub_library("a push to the hub")
    operations = [library.CommitOperationAdd(file, str(folder / file)) for file in files]
    done = api.create_commit(target.repository, operations, commit_message="Push a run with hts push")
    return str(done.oid)


# -- the files -------------------------------------------------------------------------------------


def _write(folder: Path, run: str | Path, target: HubName, options: CardOptions) -> dict[str, int]:
    """Write what is public of a run into a folder, and return the size of each file.

    Raises:
        UsageError, CheckpointError, OutputError: as `push`.
    """
    found = find_run(run)
    card = inspect(found.path)
    if card.kind not in _KINDS:
        raise CheckpointError(f"{str(run)!r} cannot be shared: it is no recognizer ({card.kind})")
    file, tensors, data, info = read_description(found.path)
    public = public_info(info, options.data_name)
    extra = {FRAME_LABELS_KEY: data[FRAME_LABELS_KEY]} if FRAME_LABELS_KEY in data else {}
    _write_model(folder, tensors, public, extra)
    results = public_results(card.results)
    if results:
        write_json(folder / RESULTS_FILE, results)
    picture = _picture(found.path, card.kind, info, options)
    if picture is not None:
        with atomic_write(folder / PICTURE_FILE) as part:
            part.write_bytes(picture.png)
    facts = CardFacts(
        card=replace(card, recipe=public.recipe, metadata=public.metadata, results=results, notes=()),
        repository=target.repository,
        title=options.title or target.repository.partition("/")[2],
        license=options.license,
        picture=picture,
        own_picture=options.picture is not None,
        num_bytes=(folder / MODEL_FILE).stat().st_size,
    )
    write_text(folder / CARD_FILE, model_card(facts))
    given = (*info.classes, target.repository, options.title, options.data_name, public.metadata.data_license)
    record = read_record(file)
    audit(_texts(folder), private_words(info, record, file.parent), [text for text in given if text])
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def _write_model(
    folder: Path, tensors: Mapping[str, Tensor], info: RunInfo, extra: Mapping[str, Any]
) -> None:
    description = info.to_dict() | dict(extra)
    write_tensors(folder / MODEL_FILE, tensors, {DESCRIPTION_KEY: json.dumps(description)})
    write_json(folder / CONFIG_FILE, description)


def _picture(run: Path, kind: str, info: RunInfo, options: CardOptions) -> FlowPicture | None:
    """Return the flow picture; None: the run has no MotionNet."""
    estimator = _estimator(run, kind, info)
    if estimator is None:
        if options.picture is not None:
            raise UsageError("this run sees no motion, so there is no flow to show: leave out the picture")
        return None
    return flow_picture(estimator, options.picture)


def _estimator(run: Path, kind: str, info: RunInfo) -> MotionEstimator | None:
    if tuple(info.recipe.model.streams) == ("spatial",):
        return None
    networks = load_annotator(run).networks if kind == "frame labels" else load_run(run)[0]
    return Recognizer(networks, info).motion_estimator


def _texts(folder: Path) -> dict[str, str]:
    """Return all text that is published, by the name of its file."""
    texts = {
        path.name: read_limited(path) for path in sorted(folder.iterdir()) if path.suffix in (".json", ".md")
    }
    texts[MODEL_FILE] = json.dumps(read_metadata(folder / MODEL_FILE))
    return texts
