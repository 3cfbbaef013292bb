import os
import time
from pathlib import Path

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@data_loader
def start(*_, **variables):
    """Does what the run's variables say: raise, write its process id, sleep."""
    if "raises" in variables:
        raise ValueError(f"There is no table {variables['raises']!r}.")
    if "pid_file" in variables:
        Path(variables["pid_file"]).write_text(str(os.getpid()))
    time.sleep(variables.get("seconds", 0))
    return {"items": variables.get("items", 5), "greeting": variables.get("greeting", "hello")}


@test
def is_reasonable(started, *_):
    assert started["items"] < 100, f"{started['items']} items are too many."
