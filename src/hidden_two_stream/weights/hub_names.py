"""Names of models on the hub: `user/name`, with a revision if wanted: `user/name@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hidden_two_stream.errors import UsageError

__all__ = ["COMMIT", "HubName", "hub_name", "parse_hub_name"]

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit hash, which a revision is pinned to."""

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[-.](?![-.]))*(?<![-.])"
_REPOSITORY = re.compile(f"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+-]|[./](?![./]))*(?<![./])")
_LONGEST_PART = 96
_LONGEST_REVISION = 200
_FILES = (".safetensors", ".onnx", ".pt2", ".pth", ".pt", ".json", ".caffemodel", ".git")


@dataclass(frozen=True)
class HubName:
    """The name of a model on the hub.

    Attributes:
        repository: "user/name".
        revision: branch, tag or commit hash; None: the newest on the main branch.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def hub_name(text: str) -> HubName | None:
    """Return the name of a model on the hub that a text can be; None: it can be none.

    Names that end like a file of weights are paths.
    """
    repository, at, revision = text.partition("@")
    fits = _REPOSITORY.fullmatch(repository) and not repository.lower().endswith(_FILES)
    if not fits or any(len(part) > _LONGEST_PART for part in repository.split("/")):
        return None
    if not at:
        return HubName(repository)
    if len(revision) > _LONGEST_REVISION or not _REVISION.fullmatch(revision):
        return None
    return HubName(repository, revision)


def parse_hub_name(text: str) -> HubName:
    """Return the name of a model on the hub.

    Raises:
        UsageError: the text is no such name.
    """
    found = hub_name(text)
    if found is None:
        raise UsageError(
            f"got {text!r} as the name of a model on the hub; expected USER/NAME of letters, digits, '-', "
            f"'_' and '.', at most {_LONGEST_PART} each, or USER/NAME@REVISION"
        )
    return found
