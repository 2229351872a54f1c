"""Addresses of sources: what kind they are, and how they are shown without their credentials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from s5engine.errors import MissingExtraError, SourceError

StorageOptions = dict[str, Any]

#: What to install for the file systems that are no hard dependency.
_EXTRAS = {"s3": "s3", "s3a": "s3"}


def is_http(url: str) -> bool:
    """Whether ``url`` is read over HTTP or HTTPS."""
    return url.lower().startswith(("http://", "https://"))


def local_path(url: str) -> Path | None:
    """Return the local path that ``url`` stands for, or None if it is remote."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    return None if re.match(r"[A-Za-z][A-Za-z0-9+.\-]+:", url) else Path(url)


def shown(url: str) -> str:
    """Return ``url`` as it may be printed: without user, password and query."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def child(url: str, name: str) -> str:
    """Return the address of ``name`` in the folder ``url``; a query is kept."""
    if is_http(url):
        parts = urlsplit(url)
        path = parts.path.rstrip("/") + "/" + quote(name)
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    return f"{url.rstrip('/')}/{name}"


def open_filesystem(url: str, options: StorageOptions | None) -> tuple[Any, str]:
    """Return the fsspec file system of ``url`` and the path in it; S3 is anonymous by default.

    Raises
    ------
    MissingExtraError
        If the package for this kind of address is not installed.
    SourceError
        If no file system is known for it.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0].lower()
    options = dict(options or {})
    credentials = {"key", "secret", "token", "profile", "session", "anon"}
    if protocol in _EXTRAS and not credentials & options.keys():
        options["anon"] = True
    try:
        filesystem, path = url_to_fs(url, **options)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        install = f'pip install "s5engine[{extra}]"' if extra else f"the package for {protocol}://"
        raise MissingExtraError(
            f"{protocol}:// addresses cannot be read: {error}.", f"Install it: {install}"
        ) from error
    except ValueError as error:
        raise SourceError(
            f"{shown(url)} cannot be read: {error}.",
            "Give an http(s):// or s3:// address, or a local folder.",
        ) from error
    return filesystem, str(path)
