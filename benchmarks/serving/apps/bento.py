"""A BentoML service as its documentation writes one: a data frame into the scikit-learn pipeline."""

import os
from pathlib import Path
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Model:
    """One pipeline, from the folder that `MODEL_FOLDER` names."""

    def __init__(self) -> None:
        self.model = joblib.load(Path(os.environ["MODEL_FOLDER"]) / "model.joblib")

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """What the pipeline says of each row."""
        frame = pd.DataFrame(rows)[list(self.model.feature_names_in_)]
        return [float(value) for value in self.model.predict(frame)]
