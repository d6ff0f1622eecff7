"""An index in LanceDB on object storage: a server of moto stands in for S3."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from unreel.errors import InputError
from unreel.indexing.concepts.annotations import MarkedMoments
from unreel.indexing.concepts.concept_update import load_marks, update_concept
from unreel.indexing.homes.home import HomeDownError
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.index.clip_index import Index
from unreel.indexing.search.query import SearchQuery
from unreel.verbs.indexing.export import export
from unreel.verbs.indexing.search import search

KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "unsaid-secret", "AWS_REGION": "us-east-1"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server with the bucket `clips`, which the environment names."""
    pytest.importorskip("lancedb")
    moto, boto3 = pytest.importorskip("moto.server"), pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = KEYS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"], region_name="us-east-1").create_bucket(
        Bucket="clips"
    )
    yield server
    server.stop()


@pytest.mark.slow
def test_object_storage(s3: Any, index: Index) -> None:
    """Written twice, searched, marked by two at once; a bucket with a typo, and a server that went away."""
    address, query = "lancedb:s3://clips/a", SearchQuery(positive_rows=(3,))
    with pytest.raises(InputError, match="no index there in a table 'unreel'"):
        open_index(address)
    export(index, address)
    export(index, address, replace=True)
    there = open_index(address)
    assert [hit.path for hit in search(there, query)] == [hit.path for hit in search(index, query)]

    def mark(row: int) -> None:
        update_concept(open_index(address), "spin", MarkedMoments((row,)), MarkedMoments(), num_next=0)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(mark, range(4)))
    assert load_marks(there, "spin")[0].positives == (0, 1, 2, 3)
    with pytest.raises(HomeDownError, match="is the address right") as told:
        open_index("lancedb:s3://clpis/a")
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(told.value)
    s3.stop()
    with pytest.raises(HomeDownError, match="does it answer"):
        search(there, query)
