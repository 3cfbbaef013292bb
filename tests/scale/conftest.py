"""What the tests of fanning out share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scale.cluster import Cluster, make_cluster

__all__ = ["make_cluster"]


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two workers for all tests here; a test that kills one adds it first."""
    made = Cluster(tmp_path_factory.mktemp("dask"))
    made.add(2)
    yield made
    made.close()
