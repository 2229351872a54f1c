"""Names on a server's index page: links of HTML, or keys of an S3 listing."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import (
    SplitResult,
    parse_qsl,
    quote,
    unquote,
    urldefrag,
    urlencode,
    urljoin,
    urlsplit,
)

from s5engine.address import shown
from s5engine.errors import SourceError

#: The most pages of one S3 listing, and the most keys.
_MOST_PAGES, _MOST_KEYS = 1000, 10**6
#: What an address asks of an S3 listing; the rest of its query goes with every request.
_ASKED = {
    "list-type",
    "prefix",
    "delimiter",
    "max-keys",
    "encoding-type",
    "marker",
    "start-after",
    "continuation-token",
    "fetch-owner",
}
#: Declarations, which the parser of HTML takes for errors, and characters by numbers that no
#: character has.
_ODD = re.compile(r"<!---?>|<!(?!--)[^<>]*>?|&#\w{9,};?")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the address of a link."""
        found = [value for key, value in attrs if key == "href" and value]
        if tag == "a":
            self.links += found
        elif tag == "base" and found:
            self.base = self.base or found[0]


def folder_names(folder: str, page: Callable[[str], tuple[str, str]]) -> tuple[str, list[str]]:
    """Return the folder that an index page is about, and the names in it.

    Parameters
    ----------
    folder : str
        Its address; a query is kept.
    page : callable
        Returns the text at an address and the address that it came from after redirects.

    Raises
    ------
    SourceError
        If an S3 listing goes on without an end.
    """
    parts = urlsplit(folder)
    address = parts._replace(path=parts.path.rstrip("/") + "/", fragment="").geturl()
    text, final = page(address)
    if "<ListBucketResult" not in text[:2000]:
        return folder, names_on(text, final)
    keys: dict[str, None] = {}
    asked = {address}
    while True:
        found = _keys(text)
        keys.update(dict.fromkeys(found))
        following = _following(address, text, found)
        if following is None:
            place, prefix = _listed_folder(parts, keys)
            return place, _right_below(prefix, keys)
        if following in asked or len(asked) > _MOST_PAGES or len(keys) > _MOST_KEYS:
            raise SourceError(
                f"The listing of {shown(folder)} goes on without an end: {len(keys)} names came "
                f"on {len(asked)} pages.",
                "Give the folder that holds the layers, or copy them to this machine.",
            )
        asked.add(following)
        text, _ = page(following)


def names_on(text: str, page: str) -> list[str]:
    """Return the names that an index page's links lead to."""
    parser = _Links()
    parser.feed(_ODD.sub(" ", text))
    return list(children(page, parser.links, parser.base))


def children(page: str, links: list[str], base_link: str = "") -> Iterator[str]:
    """Yield the names that the links of an index page lead to, right below it.

    Links to the parent, to other places, with a query of their own (the page's sort links), and
    those that are no address are left out; percent-encoding is undone.
    """
    base = urlsplit(page)
    root = unquote(base.path).rpartition("/")[0] + "/"
    for link in dict.fromkeys(links):
        try:
            target = urlsplit(urldefrag(urljoin(urljoin(page, base_link), link.strip())).url)
        except ValueError:
            continue
        path = unquote(target.path)
        same = (target.hostname, target.scheme[:4]) == (base.hostname, base.scheme[:4])
        if not same or target.query not in ("", base.query) or not path.startswith(root):
            continue
        name = path[len(root) :]
        if name and "/" not in name.rstrip("/"):
            yield name


# --- S3 ------------------------------------------------------------------------------------------


def _tags(name: str, text: str, before: str = "") -> list[str]:
    found = re.findall(rf"{before}<{name}>([^<]*)</{name}>", text)
    return [html.unescape(value) for value in found]


def _keys(text: str) -> list[str]:
    """Return the keys and the common prefixes of a listing."""
    text = re.sub(r"&#\w{9,};?", "", text)
    found = _tags("Key", text) + _tags("Prefix", text, before=r"<CommonPrefixes>\s*")
    return [unquote(key) for key in found] if _tags("EncodingType", text) == ["url"] else found


def _following(address: str, text: str, keys: list[str]) -> str | None:
    """Return the address of a listing's next page; None after the last one."""
    if _tags("IsTruncated", text)[:1] != ["true"]:
        return None
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    token, marker = _tags("NextContinuationToken", text), _tags("NextMarker", text)
    if token:
        query |= {"list-type": "2", "continuation-token": token[0]}
    elif marker or keys:
        query |= {"marker": marker[0] if marker else max(keys)}
    return parts._replace(query=urlencode(query)).geturl()


def _listed_folder(parts: SplitResult, keys: dict[str, None]) -> tuple[str, str]:
    """Return the address of the folder that is listed, and what its keys begin with."""
    query = parse_qsl(parts.query, keep_blank_values=True)
    asked = dict(query).get("prefix", "")
    kept = urlencode([item for item in query if item[0] not in _ASKED])
    if asked:
        prefix = asked.rpartition("/")[0] + "/" if "/" in asked else ""
        path = parts.path.rstrip("/") + "/" + quote(prefix)
    else:
        # A key begins with as much of the address as lies within the bucket.
        path, folders = parts.path, unquote(parts.path).strip("/").split("/")
        ends = ["/".join([*folders[n:], ""]) for n in range(len(folders))]
        prefix = next((e for e in ends if any(k.startswith(e) and k != e for k in keys)), "")
    listing = any(name in _ASKED for name, _ in query)
    place = parts._replace(path=path, query=kept if listing else parts.query)
    return (place.geturl() if listing else parts.geturl()), prefix


def _right_below(prefix: str, keys: dict[str, None]) -> list[str]:
    """Return the names of the files and folders right below a prefix."""
    below = [key[len(prefix) :] for key in keys if key.startswith(prefix) and key != prefix]
    names = (first + slash for first, slash, _ in (key.partition("/") for key in below))
    return [name for name in dict.fromkeys(names) if name]
