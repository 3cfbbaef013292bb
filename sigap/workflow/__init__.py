"""The way of the data as steps: what Mage's blocks call one after another, and what `run` does in one process.

Every step takes and returns plain JSON (no NaN, no tuples), so that it can travel between processes. Every step may be
called again with the same input, after a crash or by an orchestrator's retry, and doubles nothing.
"""

from sigap.workflow.challenger import register
from sigap.workflow.data import clean, preview, snapshot
from sigap.workflow.decision import decide
from sigap.workflow.process import run, warm
from sigap.workflow.sweep import fit, plan

__all__ = ["clean", "decide", "fit", "plan", "preview", "register", "run", "snapshot", "warm"]
