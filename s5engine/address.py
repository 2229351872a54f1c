"""Addresses of sources: what kind they are, and how they are shown without their credentials."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from s5engine.errors import InvalidArgumentError, MissingExtraError, SourceError

StorageOptions = dict[str, Any]
Address: TypeAlias = "str | os.PathLike[str]"

#: What to install for the file systems that are no hard dependency.
_EXTRAS = {"s3": "s3", "s3a": "s3"}


#: What is read as an address: a scheme and two slashes, or file systems of fsspec in a chain.
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(://|::)")
_FILE = re.compile(r"file:/", re.IGNORECASE)


def is_http(url: str) -> bool:
    """Whether ``url`` is read over HTTP or HTTPS."""
    return url.lower().startswith(("http://", "https://"))


def local_path(address: Address) -> Path | None:
    """Return the path on this machine that an address stands for, or None if it is remote.

    ``~`` is the home folder; ``file:`` addresses are undone, percent signs in them too.
    """
    address = _as_text(address)
    if _FILE.match(address):
        parts = urlsplit(address)
        if parts.netloc not in ("", "localhost"):
            raise InvalidArgumentError(
                f"{address} is a file of the machine {parts.netloc}.",
                "Write file:///path, with three slashes, for one of this machine.",
            )
        # What looks like a query or a fragment is part of a file's name.
        rest = address[len("file:") :]
        return Path(unquote(rest.removeprefix("//localhost") if parts.netloc else _one(rest)))
    return None if _REMOTE.match(address) else _at_home(Path(address))


def _as_text(address: Address) -> str:
    """Return an address as text; a path that was made of one has lost a slash."""
    if isinstance(address, str):
        return address
    text = os.fspath(address)
    return (
        text if _FILE.match(text) else re.sub(r"^([A-Za-z][A-Za-z0-9+.\-]+):/(?!/)", r"\1://", text)
    )


def _one(path: str) -> str:
    """Return a path with one slash in front."""
    return "/" + path.lstrip("/")


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # no such user
        return path


def place_of(address: Address) -> Path | str:
    """Return a path on this machine, or the address of another one: what every door begins with."""
    path = local_path(address)
    return os.fspath(address) if path is None else path


def is_remote(address: Address) -> bool:
    """Return whether an address is read from another machine."""
    return local_path(address) is None


def local_file(address: Address, what: str) -> Path:
    """Return the path of a file or folder that has to be on this machine, absolute.

    Raises
    ------
    InvalidArgumentError
        If it is the address of another one; ``what`` says what should be here.
    """
    return on_this_machine(address, f"The {what} {{}} is not on this machine.", "Give a path.")


def on_this_machine(address: Address, what: str, fix: str = "") -> Path:
    """Return the path of an address, absolute.

    Parameters
    ----------
    address : str or Path
        A path, or a ``file://`` address.
    what, fix : str
        What is said of a remote address: ``what`` has it as ``{}``.

    Raises
    ------
    InvalidArgumentError
        If it is the address of another machine.
    """
    path = local_path(address)
    if path is None:
        raise InvalidArgumentError(what.format(shown(_as_text(address))), fix)
    return path.absolute()


def shown(url: str) -> str:
    """Return ``url`` as it may be printed or recorded: without user, password and query."""
    if local_path(url) is not None:
        return url
    scheme, mark, rest = url.rpartition("://")
    place = re.split(r"[?#]", rest, maxsplit=1)[0] if is_http(url) else rest.partition("?")[0]
    host, slash, path = place.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def recorded(address: Address) -> str:
    """Return an address as files remember it: a path absolute, a URL without credentials."""
    path = local_path(address)
    return shown(os.fspath(address)) if path is None else str(path.absolute())


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
