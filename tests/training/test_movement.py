import pytest

from sigap import bundle
from sigap.training.movement import Previous, history, movement
from sigap.training.sweep import train

from .conftest import bundled, save


@pytest.fixture(scope="module")
def before(until_2023, tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    bundled(folder, until_2023)
    return bundle.read_members(folder)


def _moves(trained, members, version="v1"):
    return {each["entity"]: each for each in movement(trained, Previous("1", version, members))["moves"]}


def test_papuas_division_is_a_break_not_progress(with_2024, before):
    moved = movement(with_2024, Previous("7", "v1", before))
    assert moved["against"] == {"model_version": "7", "data_version": "v1", "period": 2023, "levels": 3}
    moves = {each["entity"]: each for each in moved["moves"]}
    papua = moves["P94"]
    # Mean years of schooling jump from 7.15 to 9.82 because the highlands are counted elsewhere now.
    assert (papua["kind"], papua["from"], papua["to"]) == ("break", 2, 0)
    assert papua["to_text"] == "Tinggi (High Readiness)"
    assert "split off" in papua["note"]["en"]
    assert "pemekaran" in papua["note"]["id"]
    assert moves["P91"]["kind"] == "break"
    assert {entity for entity, each in moves.items() if each["kind"] == "new"} == {"P92", "P95", "P96", "P97"}
    assert moves["P92"]["from_text"] is None
    assert moves["P35"]["kind"] == "same"
    # With what the figures were, the dashboard can say which one's change moved a province.
    assert papua["from_features"]["rata_lama_sekolah"] == 7.15
    assert set(papua["from_features"]) == set(with_2024.prepared.used)
    assert moves["P92"]["from_features"] is None
    assert len(moves) == 38


def test_a_break_before_the_last_champion_is_no_news(with_2024, tmp_path):
    bundled(tmp_path, with_2024)
    moves = _moves(with_2024, bundle.read_members(tmp_path))
    assert {each["kind"] for each in moves.values()} == {"same"}


def test_corrected_figures_move_a_province_up_and_down(education, quick, figures, with_2024, tmp_path):
    bundled(tmp_path, with_2024)
    table = figures.copy()
    newest = table["tahun"] == 2024
    table.loc[newest & (table["provinsi_id"] == "P96"), ["rata_lama_sekolah", "harapan_lama_sekolah"]] = [10.5, 14.5]
    table.loc[(table["provinsi_id"] == "P96") & (table["tahun"] == 2023), "rasio_guru_murid"] = 11.0
    table.loc[newest & (table["provinsi_id"] == "P31"), ["rata_lama_sekolah", "harapan_lama_sekolah"]] = [5.0, 10.0]
    table = table[table["provinsi_id"] != "P36"]
    moves = _moves(train(education, save(table, tmp_path), quick), bundle.read_members(tmp_path))
    assert (moves["P96"]["kind"], moves["P96"]["to_text"]) == ("up", "Tinggi (High Readiness)")
    assert moves["P31"]["kind"] == "down"
    assert (moves["P36"]["kind"], moves["P36"]["name"], moves["P36"]["to"]) == ("gone", "Banten", None)


def test_old_members_without_a_used_figure_are_new_and_say_so(with_2024, before):
    members = {**before, "members": [dict(each) for each in before["members"]]}
    first = members["members"][0]
    first["features"] = {**first["features"], "rasio_guru_murid": None}
    move = _moves(with_2024, members)[first["entity"]]
    assert (move["kind"], move["from"]) == ("new", None)
    assert "lack a feature" in move["note"]["en"]


def test_history_is_told_under_one_model_and_is_silent_where_figures_are(with_2024):
    rows = {(each["entity"], each["period"]): each["cluster"] for each in history(with_2024)}
    assert {period for _, period in rows} == set(range(2019, 2025))
    figures = {(each["entity"], each["period"]): each["features"] for each in history(with_2024)}
    assert figures["P94", 2023]["rata_lama_sekolah"] == 7.15
    assert figures["P94", 2019]["rasio_guru_murid"] is None
    # Pupils per teacher were first published for 2023.
    assert all(cluster is None for (_, period), cluster in rows.items() if period < 2023)
    assert rows["P96", 2023] is None
    assert rows["P35", 2023] is not None
    for entity, cluster in with_2024.ranks.items():
        assert rows[entity, 2024] == cluster
