import numpy as np
import pandas as pd
import pytest

from sigap.errors import TrainingError
from sigap.training.features import prepare

from .conftest import made_up

USED = ("rata_lama_sekolah", "harapan_lama_sekolah", "rasio_guru_murid")
NEW_PROVINCES = {"P92", "P95", "P96", "P97"}


def _random(rows: int = 20, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = ["angka_melek_huruf", *USED, "anggaran_pendidikan_persen"]
    return pd.DataFrame(generator.uniform(5, 15, (rows, 5)), columns=names)


def test_until_2023_the_new_provinces_are_not_assessed_and_the_reason_names_what_is_missing(until_2023):
    prepared = until_2023.prepared
    assert prepared.period == 2023
    assert prepared.used == USED
    assert {entry.name for entry in prepared.left_out} == {"angka_melek_huruf", "anggaran_pendidikan_persen"}
    assert {each.entity for each in prepared.not_assessed} == NEW_PROVINCES
    assert len(prepared.matrix) == 34
    for each in prepared.not_assessed:
        assert each.missing == ("rata_lama_sekolah", "harapan_lama_sekolah")
        assert "Mean years of schooling" in each.reason.en
        assert "Rata-rata lama sekolah" in each.reason.id


def test_in_2024_all_provinces_are_assessed_and_each_figure_remembers_its_year(with_2024):
    prepared = with_2024.prepared
    assert prepared.period == 2024
    assert prepared.used == USED
    assert len(prepared.matrix) == 38
    assert prepared.not_assessed == ()
    years = prepared.now.figure_period.loc["P35"]
    assert (years["rata_lama_sekolah"], years["rasio_guru_murid"]) == (2024, 2023)


def test_a_feature_pieced_together_from_two_years_is_not_sufficiently_published(with_2024):
    # Carried forward literacy is known for 37 of 38; no year published it for more than 34.
    assert with_2024.prepared.now.values["angka_melek_huruf"].notna().sum() == 37
    share = {entry.name: entry.published_share for entry in with_2024.prepared.left_out}
    assert share["angka_melek_huruf"] == pytest.approx(34 / 38)
    assert share["anggaran_pendidikan_persen"] == pytest.approx(14 / 38)


def test_a_row_for_one_province_in_a_new_year_does_not_decide_what_is_published(education, figures):
    early = figures[(figures["provinsi_id"] == "P35") & (figures["tahun"] == 2024)].assign(
        tahun=2025, angka_melek_huruf=98.0
    )
    prepared = prepare(education, pd.concat([figures, early]))
    assert prepared.period == 2025
    assert prepared.used == USED
    assert len(prepared.matrix) == 38


def test_a_year_without_figures_is_not_the_newest(education, figures):
    empty = figures[figures["tahun"] == 2024].assign(tahun=2025)
    empty[list(education.feature_names)] = np.nan
    prepared = prepare(education, pd.concat([figures, empty]))
    assert prepared.period == 2024
    assert len(prepared.matrix) == 38


def test_a_figure_is_carried_only_as_far_as_declared(education, figures):
    later = figures[figures["tahun"] == 2024].assign(tahun=2026)
    prepared = prepare(education, pd.concat([figures, later]))
    assert prepared.used == ("rata_lama_sekolah", "harapan_lama_sekolah")
    assert {entry.name for entry in prepared.left_out} >= {"rasio_guru_murid"}


def test_the_order_of_the_rows_does_not_matter(education, figures):
    one, other = prepare(education, figures), prepare(education, figures.sample(frac=1, random_state=7))
    pd.testing.assert_frame_equal(one.matrix, other.matrix)
    assert one.places == other.places


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_a_missing_or_constant_feature_is_left_out_with_its_reason(education, value):
    prepared = prepare(education, made_up(education, _random().assign(rasio_guru_murid=value)))
    assert "rasio_guru_murid" not in prepared.used
    assert len(prepared.used) == 4
    (entry,) = prepared.left_out
    assert entry.published_share == (0 if np.isnan(value) else 1)
    assert ("published for only 0%" if np.isnan(value) else "same nearly everywhere") in entry.reason.en


def test_a_feature_that_differs_in_one_place_only_counts_as_constant(education):
    column = np.full(40, 7.0)
    column[3] = 30.0
    prepared = prepare(education, made_up(education, _random(40).assign(rasio_guru_murid=column)))
    assert "rasio_guru_murid" not in prepared.used


def test_a_feature_that_repeats_another_is_left_out(education):
    rows = _random()
    rows["rasio_guru_murid"] = 30 - 2 * rows["rata_lama_sekolah"]
    prepared = prepare(education, made_up(education, rows))
    assert "rasio_guru_murid" not in prepared.used
    assert prepared.left_out[0].reason.en == "it says the same as Mean years of schooling"


def test_tables_that_can_not_be_trained_on_are_named(education, figures):
    with pytest.raises(TrainingError, match="lacks the columns rasio_guru_murid"):
        prepare(education, figures.drop(columns="rasio_guru_murid"))
    with pytest.raises(TrainingError, match=r"key stands twice, first \(P35, 2024\)"):
        prepare(education, pd.concat([figures, figures[figures["provinsi_id"] == "P35"].tail(1)]))
    with pytest.raises(TrainingError, match=r"rata_lama_sekolah of \(P11, 2019\) is infinite"):
        prepare(education, figures.assign(rata_lama_sekolah=np.inf))
    with pytest.raises(TrainingError, match="not one figure is published"):
        prepare(education, made_up(education, _random() * np.nan))
    with pytest.raises(TrainingError, match="no feature can be used as of 2020"):
        prepare(education, made_up(education, _random() * 0 + 1))


def test_an_empty_snapshot_is_an_error(education, figures):
    with pytest.raises(TrainingError, match="not one figure is published in the snapshot's 0 rows"):
        prepare(education, figures.head(0))
