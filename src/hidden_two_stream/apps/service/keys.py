"""API keys: where they come from, and the check of a request's key in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import read_limited

__all__ = ["KEY_VARIABLE", "SHORTEST_KEY", "KeyCheck", "read_keys", "require_key"]

KEY_VARIABLE = "HTS_API_KEY"
SHORTEST_KEY = 16
"""Characters of an API key; 16 random ones cannot be guessed."""

_KEY = re.compile(r"[\x21-\x7e]+")


def read_keys(file: Path | None) -> tuple[str, ...]:
    """Return the keys of a file, one per line, and that of the environment variable HTS_API_KEY.

    Args:
        file: empty lines and lines that begin with "#" don't count; None: there is no file.

    Raises:
        UsageError: the file cannot be read or holds no key, or a key is too short or not plain ASCII.
    """
    keys: list[str] = []
    if file is not None:
        try:
            lines = [line.strip() for line in read_limited(file).splitlines()]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"cannot read API keys from {str(file)!r}: {reason}; check the path") from error
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise UsageError(f"{str(file)!r} holds no API key; expected one key per line")
        for key in keys:
            require_key(key, repr(str(file)))
    given = os.environ.get(KEY_VARIABLE)
    if given is not None:
        require_key(given, KEY_VARIABLE)
        keys.append(given)
    return tuple(dict.fromkeys(keys))


def require_key(key: str, place: str) -> None:
    """Check an API key; the message does not show it.

    Raises:
        UsageError: it is too short, or holds more than visible ASCII characters.
    """
    if len(key) < SHORTEST_KEY or not _KEY.fullmatch(key):
        raise UsageError(
            f"{place} has an API key of {len(key)} characters; expected {SHORTEST_KEY} or more ASCII "
            "characters without spaces, such as those of: openssl rand -hex 32"
        )


class KeyCheck:
    """Whether a request brings a right key.

    Args:
        keys: the right ones; none: every request is right.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @property
    def is_required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._digests)

    def accepts(self, authorization: str | None, api_key: str | None) -> bool:
        """Return whether two headers bring a right key, and no wrong one.

        Every key is compared, digests have one length, and the comparison takes the same time wherever they
        differ, so the time of an answer says nothing about the keys.

        Args:
            authorization: header Authorization, "Bearer KEY".
            api_key: header X-API-Key.
        """
        if not self._digests:
            return True
        found = [api_key]
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            found.append(token.strip() if scheme.lower() == "bearer" else "")
        given = [_digest(key) for key in found if key is not None]
        are_right = [self._is_right(one) for one in given]
        return bool(given) and all(are_right)

    def _is_right(self, digest: bytes) -> bool:
        matches = [hmac.compare_digest(digest, right) for right in self._digests]  # all of them
        return any(matches)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
