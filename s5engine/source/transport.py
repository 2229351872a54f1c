"""Byte ranges of a file, wherever it is: on disk, behind HTTP, or in any fsspec file system."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import IO, Any

from s5engine.address import (
    StorageOptions,
    is_http,
    local_path,
    open_filesystem,
    shown,
)
from s5engine.budget import format_bytes
from s5engine.console import say
from s5engine.errors import SourceChangedError, SourceError, SourceNotFoundError
from s5engine.source.deadline import ask_filesystem
from s5engine.source.disk import pread_all
from s5engine.source.http import HttpClient, Reply
from s5engine.source.replicas import Replicas
from s5engine.source.retry import CancelToken, RateGate, RetryPolicy, TransientError

#: Bytes of the first request: the TIFF header, and the directory where it comes right after.
HEAD = 1024

Buffer = bytes | bytearray


class RangeFile(ABC):
    """A file that is read by byte ranges; safe to use from several threads.

    Attributes
    ----------
    url : str
        The address as given.
    name : str
        The address as it may be printed.
    size : int
        Length in bytes.
    version : dict
        What tells this version of the file from another: ``etag`` or ``mtime``, if known.
    """

    def __init__(self, url: str, size: int, version: dict[str, Any]) -> None:
        self.url, self.name = url, shown(url)
        self.size, self.version = size, version
        self.fetched = 0

    def read(self, start: int, stop: int, cancel_token: CancelToken | None = None) -> Buffer:
        """Return exactly the bytes ``start``…``stop``.

        Raises
        ------
        SourceError
            If they cannot be read.
        SourceChangedError
            If the file is no longer the one that was opened.
        """
        if not 0 <= start <= stop <= self.size:
            raise SourceError(
                f"{self.name} is cut off: bytes {start}-{stop} are needed, it has {self.size}."
            )
        data = (
            self._read(start, stop, CancelToken() if cancel_token is None else cancel_token)
            if stop > start
            else b""
        )
        self.fetched += len(data)
        return data

    @abstractmethod
    def _read(self, start: int, stop: int, cancel_token: CancelToken) -> Buffer:
        """Return the bytes, which are known to be inside the file."""

    def close(self) -> None:  # noqa: B027 - most files hold nothing open
        """Release what is held open."""

    def changed(self, what: str) -> SourceChangedError:
        """Return the error for a file that is no longer the one that was opened."""
        return SourceChangedError(
            f"{self.name} was changed while it was read: {what}.", "Begin again."
        )


class LocalRangeFile(RangeFile):
    """A file on a local disk."""

    def __init__(self, path: str | os.PathLike[str], url: str | None = None) -> None:
        text = os.fspath(path)
        try:
            self._file: IO[bytes] = open(text, "rb", buffering=0)  # noqa: PTH123, SIM115
        except FileNotFoundError as error:
            raise SourceNotFoundError(f"{text} does not exist.") from error
        except OSError as error:
            raise SourceError(f"{text} cannot be read: {error.strerror}.") from error
        info = os.fstat(self._file.fileno())
        super().__init__(url or text, info.st_size, {"mtime": info.st_mtime_ns})

    def _read(self, start: int, stop: int, cancel_token: CancelToken) -> bytes:
        cancel_token.check()
        info = os.fstat(self._file.fileno())
        if (info.st_size, info.st_mtime_ns) != (self.size, self.version["mtime"]):
            raise self.changed(f"its size was {self.size} bytes and is {info.st_size}")
        return pread_all(self._file.fileno(), start, stop, self.name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class HttpRangeFile(RangeFile):
    """A file behind an HTTP server that knows ranges."""

    def __init__(
        self, client: HttpClient, url: str, size: int, version: dict[str, Any], head: Buffer
    ) -> None:
        super().__init__(url, size, version)
        self._client = client
        self._replicas = Replicas(version)
        self.fetched = len(head)

    def _read(self, start: int, stop: int, cancel_token: CancelToken) -> bytearray:
        body = self._part(start, stop, cancel_token)
        while start + len(body) < stop:  # servers may send fewer bytes than were asked for
            body += self._part(start + len(body), stop, cancel_token)
        return body

    def _part(self, start: int, stop: int, cancel_token: CancelToken) -> bytearray:
        def ask() -> Reply:
            reply = self._client.range(self.url, start, stop, cancel_token)
            if reply.total not in (self.size, None):
                raise self.changed(f"its size was {self.size} bytes and is {reply.total}")
            return reply

        reply = self._replicas.settle(ask, cancel_token)
        if reply.version not in self._replicas.known:
            raise self.changed(f"its version was {self.version} and is {reply.version}")
        return reply.body


class SpooledRangeFile(RangeFile):
    """A file whose server knows no ranges: a temporary copy on disk."""

    def __init__(self, url: str, copy: IO[bytes], version: dict[str, Any]) -> None:
        self._copy = copy
        super().__init__(url, os.fstat(copy.fileno()).st_size, version)
        self.fetched = self.size

    def _read(self, start: int, stop: int, cancel_token: CancelToken) -> bytes:
        cancel_token.check()
        self.fetched -= stop - start  # it was all counted when it came
        return pread_all(self._copy.fileno(), start, stop, self.name)

    def close(self) -> None:
        """Remove the copy."""
        self._copy.close()


class FsspecRangeFile(RangeFile):
    """A file in any other fsspec file system, S3 for example."""

    def __init__(self, url: str, options: StorageOptions | None, retry: RetryPolicy) -> None:
        self._fs, self._path = open_filesystem(url, options)
        self._retry, self._rate_gate = retry, RateGate()
        info = ask_filesystem(lambda: self._fs.info(self._path), shown(url), retry, CancelToken())
        super().__init__(url, int(info["size"]), _fsspec_version(info))

    def _read(self, start: int, stop: int, cancel_token: CancelToken) -> bytes:
        def attempt() -> bytes:
            data = bytes(self._fs.cat_file(self._path, start=start, end=stop))
            if len(data) != stop - start:
                raise TransientError(f"{len(data)} of {stop - start} bytes came")
            return data

        return ask_filesystem(
            attempt,
            self.name,
            self._retry,
            cancel_token,
            size=stop - start,
            rate_gate=self._rate_gate,
        )


class Transport:
    """Opens the files of one stack: shares one HTTP session, cleans up after all of them."""

    def __init__(
        self, storage_options: StorageOptions | None = None, retry: RetryPolicy | None = None
    ) -> None:
        self._options = storage_options
        self.retry = retry or RetryPolicy()
        self._http: HttpClient | None = None
        self._said = False

    @property
    def http(self) -> HttpClient:
        """The HTTP client, made when it is first needed."""
        if self._http is None:
            self._http = HttpClient(self._options, self.retry)
        return self._http

    def open(self, url: str, cancel_token: CancelToken | None = None) -> tuple[RangeFile, Buffer]:
        """Return the file at ``url`` and its first bytes (at most `HEAD`).

        Raises
        ------
        SourceNotFoundError
            If there is none.
        SourceError
            If it cannot be read, or is empty.
        """
        cancel_token = CancelToken() if cancel_token is None else cancel_token
        file: RangeFile
        path = local_path(url)
        if path is not None:
            file = LocalRangeFile(path, url)
        elif is_http(url):
            return self._open_http(url, cancel_token)
        else:
            file = FsspecRangeFile(url, self._options, self.retry)
        try:
            if file.size == 0:
                raise SourceError(f"{file.name} is empty.")
            return file, file.read(0, min(HEAD, file.size), cancel_token)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the HTTP session."""
        if self._http is not None:
            self._http.close()

    def _open_http(self, url: str, cancel_token: CancelToken) -> tuple[RangeFile, Buffer]:
        copy = tempfile.TemporaryFile(prefix="s5-layer-")  # noqa: SIM115
        file: RangeFile
        try:
            reply = self.http.range(url, 0, HEAD, cancel_token, sink=copy)
            size = reply.total
            if size is None:  # the ranges tell no size
                reply, head = self.http.whole(url, cancel_token, copy), reply
                reply = replace(reply, body=head.body)
                size = reply.total or 0
            if reply.status == 206:
                copy.close()
                file = HttpRangeFile(self.http, url, size, reply.version, reply.body)
                if len(reply.body) >= min(HEAD, size):
                    return file, reply.body
            else:
                file = SpooledRangeFile(url, copy, reply.version)
                self._tell(file)
            if file.size == 0:
                raise SourceError(f"{file.name} is empty.")
            return file, file.read(0, min(HEAD, file.size), cancel_token)
        except BaseException:
            copy.close()
            raise

    def _tell(self, file: RangeFile) -> None:
        if not self._said:
            self._said = True
            say(
                f"{file.name}: the server sends whole files only (no byte ranges); layers are "
                f"copied to {tempfile.gettempdir()} first, this one is {format_bytes(file.size)}"
            )


def _fsspec_version(info: dict[str, Any]) -> dict[str, Any]:
    for key, name in (
        ("ETag", "etag"),
        ("etag", "etag"),
        ("LastModified", "mtime"),
        ("mtime", "mtime"),
        ("created", "mtime"),
    ):
        if info.get(key) is not None:
            return {name: str(info[key])}
    return {}
