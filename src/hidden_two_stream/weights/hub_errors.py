"""What goes wrong with the hub, as one line each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hidden_two_stream.errors import (
    CheckpointError,
    HiddenTwoStreamError,
    MissingDependencyError,
    OutputError,
    UsageError,
)

__all__ = ["hub_errors", "hub_library", "not_reached"]

_LOGIN = "log in with: hf auth login, or set HF_TOKEN"
_LONGEST_REASON = 300
_NOT_HERE = "there is no such folder or file here"


def hub_library(why: str) -> Any:
    """Return the module `huggingface_hub`.

    Args:
        why: what it is needed for, as the beginning of the message.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingDependencyError(
            f"{why} needs huggingface_hub; install it with: pip install 'hidden-two-stream[hub]'"
        ) from error


@contextmanager
def hub_errors(name: object, endpoint: str, *, pushing: bool = False) -> Iterator[None]:
    """Turn the errors of `huggingface_hub` in the block into one line of this package.

    Args:
        name: the model.
        endpoint: address of the hub.
        pushing: the model is written, not read.

    Raises:
        UsageError: there is no such model, revision or token.
        CheckpointError, OutputError: the model cannot be read, or be written, for another reason.
    """
    library, bars = (importlib.import_module(f"huggingface_hub{name}") for name in ("", ".utils"))
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity_error()  # the error says what several warnings about attempts would
    shown_or_off = bars.are_progress_bars_disabled() or (sys.stderr is not None and sys.stderr.isatty())
    if not shown_or_off:
        bars.disable_progress_bars()
    try:
        yield
    except HiddenTwoStreamError:
        raise
    except Exception as error:  # the network fails in many ways
        raise _explained(error, name, endpoint, pushing) from error
    finally:
        library.logging.set_verbosity(verbosity)
        if not shown_or_off:
            bars.enable_progress_bars()


def not_reached(error: Exception) -> bool:
    """Whether an error says that the hub was not asked or did not answer."""
    errors = importlib.import_module("huggingface_hub.errors")
    network = importlib.import_module("httpx2")
    kinds = (errors.OfflineModeIsEnabled, network.TransportError)
    return any(isinstance(one, kinds) for one in _chain(error))


def _explained(error: Exception, name: object, endpoint: str, pushing: bool) -> HiddenTwoStreamError:
    errors = importlib.import_module("huggingface_hub.errors")
    if isinstance(error, errors.GatedRepoError):
        return UsageError(
            f"{str(name)!r} is for registered users: ask for access on {endpoint}/{_repository(name)}, and "
            f"{_LOGIN}"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return _not_found(name, endpoint, pushing)
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(
            f"{_repository(name)!r} has no revision {getattr(name, 'revision', None)!r} on {endpoint}; name "
            "a branch, a tag or a commit of its page, or leave out @…"
        )
    refused = next((one for one in _chain(error) if isinstance(one, errors.HfHubHTTPError)), None)
    if refused is not None:
        return _answered(refused, name, endpoint, pushing)
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"{str(name)!r} is no name that the hub allows: {_first_line(error)}")
    return _not_reached(error, name, endpoint, pushing)


def _not_found(name: object, endpoint: str, pushing: bool) -> HiddenTwoStreamError:
    if pushing:
        return UsageError(
            f"cannot push to {str(name)!r} on {endpoint}: there is no such place, or the token may not see "
            "it; check the name and the token"
        )
    return UsageError(
        f"no run at {str(name)!r}: {_NOT_HERE}, and {endpoint} has no model "
        f"{_repository(name)!r}, or only a private one; check the name, or {_LOGIN}"
    )


def _answered(error: Any, name: object, endpoint: str, pushing: bool) -> HiddenTwoStreamError:
    """Return the error for a refusal of the hub."""
    kind = OutputError if pushing else CheckpointError
    doing = f"cannot {'push to' if pushing else 'load'} {str(name)!r}"
    code = error.response.status_code
    said = _cut(str(error.server_message or "")) or str(error.response.reason_phrase)
    if code == 401:
        return kind(f"{doing}: {endpoint} does not accept the token ({said}); {_LOGIN}")
    if code == 403:
        return kind(
            f"{doing}: {endpoint} does not allow it with this token ({said}); use a token with "
            f"{'write' if pushing else 'read'} access to it"
        )
    advice = "try again later" if code == 429 or code >= 500 else "check the name and HF_ENDPOINT"
    return kind(f"{doing}: {endpoint} answered {code} ({said}); {advice}")


def _not_reached(error: Exception, name: object, endpoint: str, pushing: bool) -> HiddenTwoStreamError:
    """Return the error for no network, a cache that lacks the model, and everything else."""
    errors = importlib.import_module("huggingface_hub.errors")
    constants = importlib.import_module("huggingface_hub.constants")
    network = importlib.import_module("httpx2")
    chain = list(_chain(error))
    doing = f"cannot push to {str(name)!r}" if pushing else f"no run at {str(name)!r}: {_NOT_HERE}"
    cache = "" if pushing else f", none in the cache {constants.HF_HUB_CACHE!r}"
    if any(isinstance(one, errors.OfflineModeIsEnabled) for one in chain):
        join = ":" if pushing else ", and"
        return (OutputError if pushing else UsageError)(
            f"{doing}{cache}{join} HF_HUB_OFFLINE is set; unset it to reach {endpoint}"
        )
    transport = next((one for one in chain if isinstance(one, network.TransportError)), None)
    if transport is not None:
        join = ":" if pushing else ", and"
        return (OutputError if pushing else CheckpointError)(
            f"{doing}{cache}{join} {endpoint} cannot be reached ({_first_line(transport)}); check the "
            "network and HF_ENDPOINT"
        )
    doing = f"cannot {'push to' if pushing else 'load'} {str(name)!r}"
    if isinstance(error, OSError) and error.errno is not None:
        return OutputError(
            f"{doing}: {error.strerror} ({error.filename or constants.HF_HUB_CACHE}); the cache needs a "
            "writable folder with free space: set HF_HOME"
        )
    return (OutputError if pushing else CheckpointError)(f"{doing}: {_first_line(error)}; try again")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _repository(name: object) -> str:
    return str(getattr(name, "repository", name))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _cut(lines[0]).rstrip(".") if lines else type(error).__name__


def _cut(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_REASON].rstrip(". ")
