"""Servers behind one address: which of their versions are the same content."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from s5engine.source.http import Reply
from s5engine.source.retry import CancelToken

#: How often the known version is asked for again when another one came, and the longest pause
#: between, s: drawn, so that requests side by side do not take turns with the servers.
_TRIES, _PAUSE = 32, 0.02
#: Ranges that have to agree before another server's version is believed.
_AGREED = 3


class Replicas:
    """Tells servers that give one content different ETags from a content that was changed.

    What was changed does not come back. Where the version that was opened goes on coming beside
    another one, its bytes are taken, and those of both are compared.

    Parameters
    ----------
    version : dict
        Of the file as it was opened.

    Attributes
    ----------
    known : list of dict
        The versions of the file's content.
    """

    def __init__(self, version: dict[str, Any]) -> None:
        self.known = [version]
        self._agreed: Counter[str] = Counter()

    def settle(self, ask: Callable[[], Reply], cancel_token: CancelToken) -> Reply:
        """Return an answer of a known version; of another only if none of these comes again.

        Parameters
        ----------
        ask : callable
            Sends the same request each time it is called.
        cancel_token : CancelToken
            Ends it.
        """
        other = ask()
        if other.version in self.known:
            return other
        for _ in range(_TRIES):
            cancel_token.sleep(_PAUSE * random.random())
            reply = ask()
            if reply.version in self.known:
                return reply if self._agree(other, reply) else other
        return other

    def _agree(self, other: Reply, reply: Reply) -> bool:
        """Compare the bytes of two answers to one request, and remember how that went."""
        shared = min(len(other.body), len(reply.body))
        if other.body[:shared] != reply.body[:shared]:
            return False
        name = str(other.version)
        self._agreed[name] += 1
        if self._agreed[name] >= _AGREED and other.version not in self.known:
            self.known.append(other.version)
        return True
