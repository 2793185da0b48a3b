"""Runs by name: a folder or file here, or else a model of the Hugging Face Hub.

Only the named files of a run are downloaded, into the cache of `huggingface_hub`, which respects HF_HOME,
HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE. Sizes are limited, weights are safetensors, nothing is unpickled.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream._version import __version__
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import MAX_JSON_BYTES, file_sha256, read_json
from hidden_two_stream.weights.hub_errors import hub_errors, hub_library, not_reached
from hidden_two_stream.weights.hub_names import COMMIT, HubName, hub_name

__all__ = ["MAX_WEIGHTS_BYTES", "RUN_FILES", "FoundRun", "find_run", "hub_api", "run_place"]

MAX_WEIGHTS_BYTES = 8 << 30
"""Largest file of weights that is downloaded; the largest network of this package has 1.3 GB."""

RUN_FILES: dict[str, int] = {
    "config.json": MAX_JSON_BYTES,
    "model.safetensors": MAX_WEIGHTS_BYTES,
    "results.json": MAX_JSON_BYTES,
}
"""Files that are downloaded, with the largest size of each, in bytes."""

_OPTIONAL = ("results.json",)
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class FoundRun:
    """Where a run lies.

    Attributes:
        path: the run folder or checkpoint file on this machine.
        source: the run as to be stated: the path as it was given, or "user/name@commit" of the hub.
        hub: its name on the hub, pinned to the commit; None: a run of this machine.
    """

    path: Path
    source: str
    hub: HubName | None = None


def find_run(run: str | Path, *, token: str | None = None) -> FoundRun:
    """Return where a run lies, after a download if it is the name of a model on the hub.

    What exists under this name on this machine wins. A `Path` is never a name of the hub.

    Args:
        run: a run folder, a checkpoint file, "user/name" or "user/name@revision". The revision is a branch, a
            tag or a commit hash.
        token: of the hub; None: HF_TOKEN, or that of `hf auth login`.

    Raises:
        UsageError: there is nothing under this name, here or on the hub.
        CheckpointError: the hub cannot be reached, or the model is no run of this package.
        MissingDependencyError: `huggingface_hub` is not installed.
        OutputError: the cache is not writable.
    """
    if not str(run or ""):  # Path("") is the folder that one is in
        raise UsageError(f"got the run {run!r}; expected a run folder, a checkpoint file, or USER/NAME")
    name = hub_name(run) if isinstance(run, str) else None
    if name is None or os.path.lexists(run):
        return FoundRun(Path(run), str(run))
    return _downloaded(name, token)


def run_place(run: str | Path) -> str:
    """Return where a run lies, for a record: an absolute path, or "user/name@commit" of the hub.

    Raises:
        HiddenTwoStreamError: as `find_run`.
    """
    found = find_run(run)
    return str(found.path.resolve()) if found.hub is None else found.source


def hub_api(name: object, token: str | None = None) -> Any:
    """Return the client of the hub, an `HfApi`.

    Raises:
        MissingDependencyError: `huggingface_hub` is not installed.
    """
    library = hub_library(f"no run at {str(name)!r}: there is no such folder or file, and a look on the hub")
    return library.HfApi(token=token, library_name="hidden-two-stream", library_version=__version__)


def _downloaded(name: HubName, token: str | None) -> FoundRun:
    api = hub_api(name, token)
    with hub_errors(name, api.endpoint):
        commit = str(api.resolve_revision(name.repository, revision=name.revision).resolved)
        if not COMMIT.fullmatch(commit):
            raise CheckpointError(f"{api.endpoint} gave {commit[:60]!r} as the commit of {str(name)!r}")
        pinned = HubName(name.repository, commit)
        files = {file: _fetched(api, pinned, file) for file in RUN_FILES}
    folder = files["model.safetensors"]
    assert folder is not None  # it is not optional
    return FoundRun(folder.parent, str(pinned), pinned)


def _fetched(api: Any, name: HubName, file: str) -> Path | None:
    """Return the path of a file in the cache, after a download if needed; None if the model has none."""
    library, optional = hub_library("the hub"), file in _OPTIONAL
    cached = library.try_to_load_from_cache(name.repository, file, revision=name.revision)
    if isinstance(cached, str):
        return _checked(Path(cached), name, file)
    if cached is library._CACHED_NO_EXIST and optional:
        return None
    missing: Any = library.errors.EntryNotFoundError
    try:
        digest, size = _announced(api, name, file)
        path = _download(api, name, file, 2 * size + (1 << 20))
    except library.errors.LocalEntryNotFoundError:
        raise
    except missing as error:
        if not optional:
            raise CheckpointError(
                f"the model {str(name)!r} holds no {file}: it is no run that hts push wrote"
            ) from error
        with suppress(missing):
            _download(api, name, file, 1 << 20)  # the cache notes that there is none
        return None
    except Exception as error:
        if optional and not_reached(error):
            return None
        raise
    found = _checked(path, name, file)
    if len(digest) == 64 and file_sha256(found) != digest:
        found.resolve().unlink(missing_ok=True)
        raise CheckpointError(
            f"{file} of {str(name)!r} arrived damaged: its SHA-256 is not {digest}; try again"
        )
    return found


def _download(api: Any, name: HubName, file: str, most_bytes: int) -> Path:
    """Return the path of a file in the cache, after its download.

    Raises:
        CheckpointError: more bytes arrive than `most_bytes`.
    """
    path = hub_library("the hub").hf_hub_download(
        name.repository,
        file,
        revision=name.revision,
        token=api.token,
        endpoint=api.endpoint,
        library_name="hidden-two-stream",
        library_version=__version__,
        tqdm_class=_meter(most_bytes),
    )
    return Path(path)


def _announced(api: Any, name: HubName, file: str) -> tuple[str, int]:
    """Return the hash by which the hub names a file, and its size, after a check of what it says.

    Raises:
        CheckpointError: the file is too large, or the answer is no commit, hash and size.
    """
    library = hub_library("the hub")
    address = library.hf_hub_url(name.repository, file, revision=name.revision, endpoint=api.endpoint)
    found = api.get_hf_file_metadata(url=address)
    wrong = not _ETAG.fullmatch(found.etag or "") or found.commit_hash != name.revision
    if wrong or type(found.size) is not int or found.size < 0:
        raise CheckpointError(
            f"{api.endpoint} gave no valid commit, hash and size of {file} of {str(name)!r}; check "
            "HF_ENDPOINT"
        )
    if found.size > RUN_FILES[file]:
        raise CheckpointError(_too_large(file, found.size))
    return str(found.etag), found.size


def _checked(path: Path, name: HubName, file: str) -> Path:
    """Return the path of a file in the cache.

    Raises:
        CheckpointError: it is no regular file inside the cache, too large, or no description of a run.
    """
    target, folder = path.resolve(), Path(os.path.realpath(_cache()))
    if not target.is_file() or not target.is_relative_to(folder):
        raise CheckpointError(f"{str(path)!r} is no file inside the cache {str(folder)!r}; delete it")
    if target.stat().st_size > RUN_FILES[file]:
        raise CheckpointError(_too_large(file, target.stat().st_size))
    if file == "config.json":
        try:
            data = read_json(target)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file} of {str(name)!r} is damaged: {error}") from error
        if not (isinstance(data, dict) and "format_version" in data and "recipe" in data):
            raise CheckpointError(f"the model {str(name)!r} is no run of this package, by its {file}")
    return path


def _cache() -> str:
    return str(hub_library("the hub").constants.HF_HUB_CACHE)


def _too_large(file: str, size: int) -> str:
    return f"{file} has {size:,} bytes; expected at most {RUN_FILES[file]:,}: it is not downloaded"


def _meter(limit: int) -> type[Any]:
    """Return a progress bar that ends a download of more than `limit` bytes."""
    bar: Any = hub_library("the hub").utils.tqdm

    def update(self: Any, n: float | None = 1) -> Any:
        self.received += int(n or 0)
        if self.received > limit:
            raise CheckpointError(f"a download has more than {limit:,} bytes; it is stopped")
        return bar.update(self, n)

    return type("Meter", (bar,), {"received": 0, "update": update})
