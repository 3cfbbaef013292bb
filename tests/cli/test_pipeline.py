"""What `./run pipeline` and the first start say of pipelines, without a Mage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sigap.cli.output import Steps
from sigap.cli.pipeline import _shown_in, describe, run_word, set_aside, show_result
from sigap.cli.up import missing_champions, served_by_api, show_addresses, show_models, train, try_again
from sigap.errors import ServiceError, UnknownModelError
from sigap.services.supervisor import Supervisor
from sigap.settings import Settings
from tests.conftest import Checkout
from tests.registry.conftest import free_port


def away(folder: Path, **given: Any) -> Settings:
    """Settings of a system of which nothing runs."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    values = {
        "mage_url": nowhere, "mage_password": "x", "api_port": free_port(), "MLFLOW_TRACKING_URI": nowhere,
        "DATABASE_URL": "postgresql://me:pw@127.0.0.1:9/x",
    }  # fmt: skip
    return Settings(**{"_env_file": None, "state_dir": folder, **values, **given})


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"model": "cars", "data_version": "v1"}, "cars got no new version from data v1."),
        ({"model": "cars", "data_version": "v1", "reason": "Noise."}, "cars got no new version from data v1. Noise."),
        ({"model": "cars", "data_version": "v1", "model_version": "v3"}, "cars v3 on data v1 was not promoted."),
        (
            {"model": "cars", "data_version": "v1", "model_version": "v3", "promoted": True, "reason": "Better."},
            "cars v3 on data v1 is the champion now. Better.",
        ),
    ],
)
def test_a_decision_is_one_line(result: dict[str, Any], told: str) -> None:
    assert describe(result) == told


def test_rows_that_broke_the_contract_are_told_as_far_as_they_can_be_read(tmp_path: Path) -> None:
    assert set_aside(tmp_path, 1, "gone.csv") == "1 row breaks the contract and was not trained on."
    assert set_aside(tmp_path, 2, "gone.csv") == "2 rows break the contract."
    for text in ("", "key,field,found,expected\n", "key,field\na,b\n"):
        (tmp_path / "rejects.csv").write_text(text)
        assert set_aside(tmp_path, 2, "rejects.csv") == "2 rows break the contract."
    (tmp_path / "rejects.csv").write_text("id,year,field,found,expected\n4,2024,price,-1,at least 0\n")
    assert set_aside(tmp_path, 1, "rejects.csv") == (
        "1 row breaks the contract and stood aside. The first: 4, 2024: price is -1, expected at least 0. "
        "All: rejects.csv."
    )


def test_a_data_version_that_was_not_made_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(_env_file=None, root=tmp_path)
    result = {"model": "cars", "data_version": "v1", "model_version": "v1", "rejected": 3, "rejects_path": "no.csv"}
    show_result(settings, result, {"version": "v_2025"})
    said = capsys.readouterr().out
    assert "3 rows break the contract." in said
    assert "The data is the same as in v1, so no data version v_2025 was made." in said
    for asked in ({}, {"version": "v1"}):
        show_result(settings, {**result, "rejected": 0}, asked)
        assert len(capsys.readouterr().out.splitlines()) == 1


def test_events_of_a_run_become_steps_and_what_is_fanned_out_only_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps("Pipeline") as steps:
        show = _shown_in(steps, "cars: ")
        show({"event": "retry", "reason": "its process ended"})
        show({"event": "run", "run": 3})
        for block in ("load", "fit_candidate", "fit_candidate:ridge", "gate"):
            for status in ("initial", "running", "failed" if block == "gate" else "completed"):
                show({"event": "block", "block": block, "status": status})
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line.strip()]
    names = [line[1] for line in lines[1:]]
    assert names.pop(0) == "cars: Mage lost the run and it is started once more: its process ended"
    assert [name.removesuffix(" done").split() for name in names] == [
        ["cars:", "load"], ["cars:", "fit_candidate", "ridge"], ["cars:", "gate"],
    ]  # fmt: skip
    assert ["failed" in " ".join(line) for line in lines[2:]] == [False, False, True]


def test_while_sigap_is_just_starting_a_pipeline_waits_for_nobody(checkout: Checkout) -> None:
    settings = checkout.settings(_env_file=None)
    with Supervisor(settings.state), pytest.raises(ServiceError, match="just starting or stopping"):
        run_word(settings, "education", {})


def test_a_pipeline_that_can_not_be_run_holds_up_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = away(tmp_path)
    assert train(settings, []) == {}
    failures = train(settings, ["education", "car_price"])
    assert {*failures} == {"education", "car_price"}
    assert all("can't be reached" in reason for reason in failures.values())
    said = capsys.readouterr().out
    assert "2 pipelines, in Mage" in said
    assert "2 models in" in said
    show_models(settings, failures)
    said = capsys.readouterr().out
    assert "`./run pipeline car_price` tries again" in said
    assert "no champion: its pipeline failed" in said
    assert served_by_api(settings) == set()

    try_again(settings, [])
    assert capsys.readouterr().out == ""
    try_again(settings, ["education"])
    said = capsys.readouterr().out
    assert "tried again on the data of now: education." in said
    assert "car_price" not in said


def test_only_what_was_never_judged_is_trained_at_a_start(tmp_path: Path) -> None:
    untried, refused = missing_champions(away(tmp_path, train_at_start="education,car_price"))
    assert ({*untried}, refused) == ({"education", "car_price"}, [])
    with pytest.raises(UnknownModelError, match="boats"):
        missing_champions(away(tmp_path, train_at_start="boats"))


def test_addresses_name_no_password_where_others_read_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_addresses(away(tmp_path, watching=False), ["Nothing watches."])
    said = capsys.readouterr().out
    assert "your DATABASE_URL" in said
    assert "pw" not in said
    assert "Prometheus" not in said
    assert "Nothing watches." in said
    show_addresses(Settings(_env_file=None, state_dir=tmp_path, mage_password="for-mage"), [])
    said = capsys.readouterr().out
    assert "postgresql://sigap@127.0.0.1:" in said
    assert "for-mage" not in said
