"""What a process that reads files needs, imported once by the one that is forked for each of them."""

import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet
import python_calamine

from backend.files.arrow import without_pandas

without_pandas()

__all__ = ["pyarrow", "python_calamine"]
