"""The process that imports Evidently: `python -m sigap.monitoring.evidently_report GIVEN MADE`."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path


def main(given: Path, made: Path) -> None:
    """Writes `report.html` and `report.json` into `made`, of the samples in `given`."""
    # Before it is imported: it would send its makers that it was used.
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    about = json.loads((given / "about.json").read_text(encoding="utf-8"))
    columns = DataDefinition(numerical_columns=about["numbers"], categorical_columns=about["categories"])
    reference, now = (
        Dataset.from_pandas(pd.read_parquet(given / f"{side}.parquet"), data_definition=columns)
        for side in ("reference", "now")
    )
    report = Report([DataDriftPreset(drift_share=about["share"])], metadata={"sigap": json.dumps(about["note"])})
    snapshot = report.run(current_data=now, reference_data=reference)
    snapshot.save_html(str(made / "report.html"))
    content = {"sigap": about["note"], "evidently": json.loads(snapshot.json())}
    (made / "report.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
