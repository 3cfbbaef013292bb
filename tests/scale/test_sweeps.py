"""Sweeps on a cluster give the scores of one machine to the last digit, though a worker is killed in the middle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sigap.catalog import declaration
from sigap.data.mock import mock_rows
from sigap.errors import TrainingError
from sigap.settings import Settings
from sigap.training.candidates import Scored, Source, Sweep, score
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import trainer
from tests.scale.conftest import Cluster
