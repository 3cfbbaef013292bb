"""The words of `./run` on registered versions, in this process: what they say, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigap.bundle import TAG_DECISION
from sigap.cli.drift import check_now, show_checks
from sigap.cli.lineage import show_lineage
from sigap.cli.performance import replay
from sigap.cli.summary import summary
from sigap.cli.versions import (
    approve_model,
    list_data,
    list_decisions,
    list_models,
    promote_model,
    rollback_data,
    rollback_model,
    show_card,
)
from sigap.errors import RegistryError, VersionError
from sigap.promotion import NothingBeforeError
from sigap.registry.decisions import decisions
from tests.registry.conftest import Line, Workshop, make_settings

MODEL = "education"
Out = pytest.CaptureFixture[str]


@pytest.fixture
def shelf(line: Line, tmp_path: Path) -> Workshop:
    """Small versions of a declared model, with PostgreSQL beside them."""
    return Workshop(line.settings, tmp_path, MODEL)


def told(shelf: Workshop) -> tuple[str, str]:
    """What the summary says of the model: its version and the decision."""
    found = {each.model: each for each in summary(shelf.settings)}[MODEL]
    return found.version, found.decision


def test_of_a_model_without_versions_every_word_says_so(shelf: Workshop, capsys: Out) -> None:
    given = shelf.settings
    for word in (list_models, list_data):
        word(given, MODEL)
    list_decisions(given, MODEL, 5)
    said = capsys.readouterr().out
    assert f"No version of {MODEL} is registered yet" in said
    assert f"There is no data version of {MODEL} yet" in said
    assert f"Nothing has been decided about {MODEL} yet" in said
    assert told(shelf) == ("", "not trained yet")
    for word in (
        lambda: show_card(given, MODEL, None),
        lambda: show_lineage(given, MODEL, None, "", as_json=False),
        lambda: replay(given, MODEL, 1),
    ):
        with pytest.raises(RegistryError, match=f"No version of {MODEL} is served"):
            word()
    assert check_now(given, MODEL, "") == 0, "what has no champion is no alarm"
    show_checks(given, MODEL, 3)
    said = capsys.readouterr().out
    assert said.count("no champion, or another check of it is under way") == 2
    assert "`./run drift check education --subject table` does it now" in said
    with pytest.raises(NothingBeforeError, match="before no version"):
        rollback_model(given, MODEL, None)
    for word in (promote_model, approve_model, rollback_model):
        with pytest.raises(RegistryError):
            word(given, MODEL, 9)
    with pytest.raises(VersionError, match="no data version 'v9'"):
        show_lineage(given, MODEL, None, "v9", as_json=False)
    with pytest.raises(VersionError, match="v9"):
        rollback_data(given, MODEL, "v9")


def test_by_hand_a_version_is_served_brought_back_and_written_down(shelf: Workshop, capsys: Out) -> None:
    given = shelf.settings
    first, second = shelf.register("one"), shelf.register("two", "1" * 32)
    promote_model(given, MODEL, first.number)
    assert told(shelf) == ("v1", "champion: put there by hand")
    promote_model(given, MODEL, second.number)
    rollback_model(given, MODEL, None)
    assert capsys.readouterr().out.splitlines() == [
        f"{MODEL} v1 (data v1) is served.",
        f"{MODEL} v2 (data v1) is served.",
        f"{MODEL} v1 (data v1) is served again.",
    ]
    # Asked once more, nothing moves and nothing is written down.
    rollback_model(given, MODEL, 1)
    promote_model(given, MODEL, 1)
    assert shelf.registry.champion(MODEL).number == 1
    list_decisions(given, MODEL, 9)
    said = capsys.readouterr().out
    assert "person:" in said
    assert said.index("rollback") < said.index("by_hand"), "the newest first"
    assert [each.rule for each in decisions(given, MODEL)] == ["rollback", "by_hand", "by_hand"]
    list_models(given, MODEL)
    rows = {each.split()[0]: each for each in capsys.readouterr().out.splitlines()}
    assert "champion" in rows["v1"]
    assert "champion" not in rows["v2"]
    replay(given, MODEL, 2)
    said = capsys.readouterr().out
    assert f"{MODEL}: v2 beside v1, which is served." in said
    assert "Answered" not in said, "there are no stored inputs to answer"
    for number in (None, 2):
        show_card(given, MODEL, number)
        assert "30" in capsys.readouterr().out, "rows it was trained on"


def test_a_person_approves_what_waits_and_nothing_else(shelf: Workshop) -> None:
    given, registry = shelf.settings, shelf.registry
    version = shelf.register("one")
    with pytest.raises(RegistryError, match=r"v1 does not wait for an approval. The gate has not decided on it"):
        approve_model(given, MODEL, 1)
    decision = {
        "run_id": version.run_id, "promote": False, "rule": "worse", "reason": "It is worse.", "champion_before": None,
    }  # fmt: skip
    registry.annotate(version, TAG_DECISION, json.dumps(decision))
    with pytest.raises(RegistryError, match=r"The gate said: It is worse\."):
        approve_model(given, MODEL, 1)
    # A tag that somebody wrote by hand is no decision.
    for text in ("no JSON", "[]"):
        registry.annotate(version, TAG_DECISION, text)
        with pytest.raises(RegistryError, match="has not decided on it"):
            approve_model(given, MODEL, 1)
    assert registry.champion(MODEL) is None
    registry.annotate(version, TAG_DECISION, json.dumps({**decision, "rule": "waiting"}))
    for _ in range(2):
        approve_model(given, MODEL, 1)
        assert told(shelf) == ("v1", "champion: approved by a person")

    other = shelf.register("two", "1" * 32)
    registry.annotate(other, TAG_DECISION, json.dumps({**decision, "rule": "waiting", "champion_before": "v7"}))
    with pytest.raises(RegistryError, match="stands on v1, expected v7"):
        approve_model(given, MODEL, other.number)


def test_the_way_back_and_on_is_told_as_a_tree_and_as_json(shelf: Workshop, capsys: Out) -> None:
    given = shelf.settings
    version = shelf.register("one")
    show_lineage(given, MODEL, 1, "", as_json=False)
    said = capsys.readouterr().out
    assert f"model version  {MODEL} v1, " in said
    assert f"run  {version.run_id}" in said
    assert "tag  none; not found here" in said, "no Git tag leads to this data"
    assert "rows  30, and 0 set aside, from education_data" in said
    assert "decision" not in said
    promote_model(given, MODEL, 1)
    show_lineage(given, MODEL, None, "", as_json=True)
    found = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (found["model_version"], found["aliases"], found["run"]["run_id"]) == ("v1", ["champion"], version.run_id)
    assert found["data"]["can_be_restored"] is False

    shelf.client.delete_run(version.run_id)
    show_lineage(given, MODEL, 1, "", as_json=False)
    assert "model version" in capsys.readouterr().out


def test_without_mlflow_words_name_what_is_away_and_the_summary_still_comes(tmp_path: Path) -> None:
    away = make_settings(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="does not answer at MLFLOW_TRACKING_URI"):
        list_models(away, MODEL)
    own = away.model_copy(update={"mlflow_tracking_uri": None, "mlflow_port": 9})
    with pytest.raises(RegistryError, match=r"does not answer at http://127\.0\.0\.1:9"):
        list_models(own, MODEL)
    lines = summary(away, {MODEL: "Mage is away."})
    assert {(each.decision, each.reason) for each in lines if each.model == MODEL} == {
        ("no champion: its pipeline failed", "Mage is away.")
    }
    assert {each.decision for each in lines if each.model != MODEL} == {"not trained yet"}
