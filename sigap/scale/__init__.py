"""Independent calls, done here or on the machines of a Dask cluster: the one seam through which work fans out.

Without `SIGAP_DASK_ADDRESS` calls are made in this process, or in a few processes of this machine. With it they are
tasks of the cluster. The results are the same to the last digit: each call brings its own seed, and runs on one thread.
"""

from sigap.scale.spread import Progress, completed, spread

__all__ = ["Progress", "completed", "spread"]
