"""Index pages with odd links, and S3 listings: what is listed is found, what is odd is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_server import Asked, Packet, RawServer, reply
from s5engine.errors import SourceError
from s5engine.source import RetryPolicy, list_layers
from s5engine.source.index_page import folder_names, names_on

ONCE = RetryPolicy(attempts=1, timeout=5)
ODD = [
    '<a href="http://[::1/x">bad host</a>',
    '<a href="http://[v1.x]/00.tif">bad host</a>',
    f'<a href="{"9" * 5000}">many digits</a>',
    f'<a href="&#{"9" * 5000};">a character that is none</a>',
    f'<a href="http://x:{"9" * 5000}/">a port that is none</a>',
    "<![foo]>",
    "<![CDATA[ x ]]>",
    "<![if IE]>",
    "<!DOCTYPE html [<!ENTITY a 'b'>]>",
    "<!>",
    "<!-->",
    "<?xml version='1.0'?>",
    "</>",
    "<a href>nothing</a>",
    "<a href=''>nothing</a>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="mailto:a@b">x</a>',
    '<a href="../">up</a>',
    '<a href="/">root</a>',
    '<a href="?C=N;O=D">sorted</a>',
    '<a href="http://elsewhere.example/7.tif">elsewhere</a>',
    '<a href="x\x00y">NUL</a>',
    '<a href="%ff%fe">no UTF-8</a>',
    '<a href="%">no code</a>',
    "<a href=\"a' b\" title='>'>x</a>",
    "<a " + "b " * 500 + ">",
    "&#xFFFFFFFFFFFF;",
]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer(lambda asked: [reply(b"")]) as opened:
        yield opened


@settings(max_examples=80, deadline=None)
@given(
    odd=st.lists(st.sampled_from(ODD), min_size=1, max_size=4),
    places=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    spelling=st.sampled_from(['<a href="{}">', "<A HREF='{}'>", "<a\nhref={}>", '<a href="./{}">']),
)
def test_odd_links_lose_no_others(
    server: RawServer, odd: list[str], places: list[int], spelling: str
) -> None:
    parts = [spelling.format(f"{number}.tif") for number in range(3)]
    for link, place in zip(odd, places, strict=False):
        parts.insert(place, link)
    page = "\n".join(parts).encode()
    server.answer = lambda asked: [reply(page, Content_Type="text/html")]
    assert list(list_layers(server.url + "/s/layers/", retry=ONCE)) == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 12),
    paged=st.sampled_from([None, "token", "marker", "last key"]),
    size=st.integers(1, 5),
    above=st.sampled_from(["", "a/", "bucket/my seg/"]),
    named=st.booleans(),
    spaces=st.sampled_from(["", "\n  "]),
)
def test_s3_listings_are_followed_to_their_end(
    server: RawServer,
    count: int,
    paged: str | None,
    size: int,
    above: str,
    named: bool,
    spaces: str,
) -> None:
    inside = above.removeprefix("bucket/")
    keys = [f"{inside}layers/{number:02d}.tif" for number in range(count)]

    def answer(asked: Asked) -> list[Packet]:
        from urllib.parse import parse_qs

        query = {key: value[0] for key, value in parse_qs(asked.query).items()}
        after = query.get("continuation-token", "").removeprefix("+/=") or query.get("marker", "")
        rest = [key for key in keys if key > after]
        page = rest[:size] if paged else rest
        more = len(page) < len(rest)
        told = [f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in page]
        told += [f"<IsTruncated>{str(more).lower()}</IsTruncated>"]
        if more and paged == "token":
            told += [f"<NextContinuationToken>+/={page[-1]}</NextContinuationToken>"]
        if more and paged == "marker":
            told += [f"<NextMarker>{page[-1]}</NextMarker>"]
        body = spaces.join(["<ListBucketResult xmlns='x'><Name>b</Name>", *told])
        return [reply(f"<?xml version='1.0'?>{body}</ListBucketResult>".encode())]

    server.answer = answer
    address = server.url + "/" + above.replace(" ", "%20") + "layers/"
    if named:
        root = "/bucket" if above.startswith("bucket/") else ""
        prefix = f"{inside}layers/".replace(" ", "%20")
        address = f"{server.url}{root}/?list-type=2&prefix={prefix}&key=secret"
    index = list_layers(address, retry=ONCE)
    assert list(index) == list(range(count))
    end = "?key=secret" if named else ""
    path = above.replace(" ", "%20")
    assert index[0].url == f"{server.url}/{path}layers/00.tif{end}"


def test_folders_of_a_listing_are_folders() -> None:
    text = (
        "<ListBucketResult><Prefix>s/</Prefix><EncodingType>url</EncodingType>"
        "<Contents><Key>s/</Key></Contents><Contents><Key>s/a%2Bb.txt</Key></Contents>"
        "<CommonPrefixes><Prefix>s/layers/</Prefix></CommonPrefixes></ListBucketResult>"
    )
    assert folder_names("http://h/s/", lambda url: (text, url))[1] == ["a+b.txt", "layers/"]


def test_a_listing_without_an_end_is_told() -> None:
    text = (
        "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>00.tif</Key></Contents>"
        "<NextContinuationToken>same</NextContinuationToken></ListBucketResult>"
    )
    with pytest.raises(SourceError, match="goes on without an end"):
        folder_names("http://h/s/", lambda url: (text, url))


@pytest.mark.parametrize(
    "part", ["<!", "<!--", "<a ", "<a href=", "&#", "<![", "</a", "<?", "<a '"]
)
def test_no_page_takes_long_to_read(part: str) -> None:
    start = time.process_time()
    names_on(part * (2**17 // len(part)), "http://h/")
    assert time.process_time() - start < 3
