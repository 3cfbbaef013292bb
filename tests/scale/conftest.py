"""What the tests of fanning out share."""

from tests.scale.cluster import make_cluster

__all__ = ["make_cluster"]
