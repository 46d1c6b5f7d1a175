"""Addresses: what is one, which are refused, and that no secret is shown."""

import pytest

from resmlp.config import Data
from resmlp.config.evaluation import EvalData
from resmlp.tasks.complete import absolute
from resmlp.utils.address import is_address, join_address
from resmlp.utils.errors import UserError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("https://host/folder", True),
        ("s3://bucket/folder/", True),
        ("S3://bucket", True),
        ("gs://b/x", True),
        ("folder", False),
        ("/data/https://x", False),
        ("c:/data", False),
        ("https:/host", False),
        ("", False),
        (None, False),
    ],
)
def test_what_an_address_is(path, expected):
    assert is_address(path) is expected


def test_an_address_stays_as_it_is():
    assert absolute("https://host/a/../b/") == "https://host/a/../b/"


@pytest.mark.parametrize(
    "address",
    [
        "https://me:secret@host/x",
        "https://secret@host/x",
        "https://host/x?sig=secret",
        "https://host/x#secret",
        "s3://key:secret@bucket/x",
        "https://[secret/x",
    ],
)
@pytest.mark.parametrize("settings", [Data, EvalData])
def test_a_secret_is_refused_and_not_shown(address, settings):
    with pytest.raises(UserError) as caught:
        settings(root=address)
    assert "secret" not in str(caught.value)
    assert address.partition(":")[0] in str(caught.value)


def test_names_are_quoted_where_the_protocol_asks_for_it():
    assert join_address("https://host/x", "a b?.tar") == "https://host/x/a%20b%3F.tar"
    assert join_address("s3://bucket/x", "a b?.tar") == "s3://bucket/x/a b?.tar"
