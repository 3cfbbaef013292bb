"""Classes of a regression's target, cut where K-Means cuts it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from sigap.bundle import Bilingual, SegmentEntry
from sigap.catalog.declaration import Segments
from sigap.training.evaluation import Floats


def cut_segments(declared: Segments, target: Floats, seed: int) -> tuple[SegmentEntry, ...]:
    """K-Means on the target alone; the bounds lie midway between neighbouring centres, from the lowest up.

    A value is in the segment of its nearest centre, so that bounds and centres never contradict each other.
    """
    labels = declared.labels
    with threadpool_limits(limits=1):
        kmeans = KMeans(len(labels), n_init=10, random_state=seed).fit(target[:, None])
    centers = np.sort(kmeans.cluster_centers_[:, 0])
    bounds = [float(bound) for bound in (centers[:-1] + centers[1:]) / 2]
    lower, upper = [None, *bounds], [*bounds, None]
    entries = tuple(
        SegmentEntry(label=Bilingual(id=label.id, en=label.en), minimum=low, maximum=high, rows=0)
        for label, low, high in zip(labels, lower, upper, strict=True)
    )
    counts = np.bincount(segment_of(entries, target), minlength=len(entries))
    return tuple(entry.model_copy(update={"rows": int(count)}) for entry, count in zip(entries, counts, strict=True))


def segment_of(segments: tuple[SegmentEntry, ...], values: Floats) -> NDArray[np.int64]:
    """Each value's segment, by position; shape (n,)."""
    bounds = [entry.maximum for entry in segments if entry.maximum is not None]
    return np.searchsorted(np.array(bounds), values, side="right")
