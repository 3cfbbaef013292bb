"""The pages' logic, run without a browser against the stand-in API."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from frontend import catalogue
from frontend.api import Clusters, Model, Text
from frontend.catalogue import Decision, Detail
from frontend.views.model import refusal
from frontend.views.overview import attention, concerns
from frontend.words import Words
from tests.frontend.conftest import StandIn, clear_caches, opened, shown
from tests.frontend.five import REFUSED
from tests.frontend.standin import answers


def test_the_finding_stands_on_top_in_both_languages(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert "16 dari 38 provinsi berada di tingkat Tinggi. 6 masih di tingkat Rendah." in shown(app)
    app.segmented_control(key="lang").set_value("en").run()
    assert not app.exception
    assert "16 of 38 provinces are at High Readiness. 6 are still at Low Readiness." in shown(app)
    assert "en" in app.query_params["lang"]


def test_a_link_opens_its_province_and_language(app: AppTest) -> None:
    app.query_params.update({"lang": "en", "province": "P96"})
    app.run()
    page = shown(app)
    assert "<h3>Papua Tengah</h3>" in page
    assert "6.12 years" in page
    assert "needs 2.24 years more" in page
    assert "fewer" in page


def test_a_new_champion_is_not_drawn_from_what_was_read_before(app: AppTest, standin: StandIn) -> None:
    opened(app, "education", tab="about")
    assert "v3" in shown(app)
    # The list is asked again, a moment before the model itself would be.
    catalogue.entries.clear()
    with standin.serving("2"):
        opened(app, "education")
        assert "v2" in shown(app)
        assert "v3" not in shown(app)
        assert catalogue.detail("education").model_version == "v2"


@pytest.mark.parametrize("asked", ["P00", "<script>alert(1)</script>"])
def test_a_link_with_nonsense_opens_the_page(app: AppTest, asked: str) -> None:
    app.query_params.update({"lang": asked, "province": asked})
    app.run()
    assert not app.exception
    assert "<script>alert" not in shown(app)
    assert "<h3>Jawa Timur</h3>" in shown(app)


def test_choosing_a_province_shows_what_holds_it_back(app: AppTest) -> None:
    app.run()
    app.selectbox(key="province").set_value("P32").run()
    member = next(m for m in answers()["clusters"]["members"] if m["entity"] == "P32")
    assert "<h3>Jawa Barat</h3>" in shown(app)
    assert f"perlu berkurang {Words('id').number(-member['gap']['rasio_guru_murid'])} murid" in shown(app)
    assert "P32" in app.query_params["province"]


def test_left_out_features_and_versions_are_said(app: AppTest) -> None:
    app.query_params["tab"] = "about"
    app.run()
    page = shown(app)
    assert "Hanya terbit untuk 14 dari 38 provinsi." in page
    assert "Data v2: 212 baris, angka sampai 2024" in page
    assert "BPS" in page


def test_searching_the_table(app: AppTest) -> None:
    app.query_params["tab"] = "figures"
    app.run()
    app.text_input(key="search").set_value("papua (").run()
    assert not app.exception
    app.text_input(key="search").set_value("papua").run()
    assert len(app.dataframe[0].value) == 6


@pytest.mark.parametrize("levels", [2, 4, 5, 6])
def test_nothing_assumes_three_levels(app: AppTest, standin: StandIn, levels: int) -> None:
    with standin.serving(str(levels)):
        app.run()
        assert not app.exception
        page = shown(app)
    assert all(level["label"]["id"] in page for level in answers(levels)["model"]["levels"])


def test_without_a_champion_the_page_says_how_to_get_one(app: AppTest, standin: StandIn) -> None:
    with standin.serving("empty"):
        app.run()
        assert not app.exception
        assert "./run pipeline education" in shown(app)


def test_while_it_is_trained_nobody_is_told_to_train_it(app: AppTest, standin: StandIn) -> None:
    words, registry = Words("en"), standin.app.state.five.registry
    with standin.serving("empty"):
        for ended, said in ((False, "none.running"), (True, "none.again")):
            registry.training = {REFUSED: ended, "education": ended}
            try:
                clear_caches()
                for name in registry.training:
                    page = shown(opened(app, name))
                    assert words(said) in page, name
                    assert "./run pipeline" not in page, name
            finally:
                registry.training = {}


def test_with_the_api_down_the_page_is_calm(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_API_URL", "http://127.0.0.1:9")
    clear_caches()
    app.run()
    assert not app.exception
    assert not app.error
    assert "Data belum bisa dimuat" in shown(app)


def test_the_overview_says_what_needs_attention() -> None:
    model = Model.model_validate(answers()["model"])
    clusters = Clusters.model_validate(answers()["clusters"])
    notes = attention(model, clusters, Words("en"))
    assert any("Papua (2024)" in note for note in notes)
    assert any("Education budget" in note for note in notes)


def test_what_was_never_trained_is_no_fault() -> None:
    text = Text(id="Perahu", en="Boats")
    model = Detail(name="boats", title=text, question=text, task="regression", data_source=text, features=())
    running = Decision(outcome="running")
    assert concerns(model, (), Words("en")) == [(0, "Boats: not trained yet. Its card fills itself as soon as it is.")]
    # While the first training goes on, nobody says that all is well.
    ((weight, told),) = concerns(model, (running,), Words("en"))
    assert (weight, "for the first time" in told) == (1, True)
    refused = Decision(outcome="refused", reason="It is worse than its baseline.")
    assert concerns(model, (running, refused), Words("en")) == [(2, "Boats: no model is in use. Its card says why.")]
    waiting = Decision(outcome="waiting", rule="waiting", reason="It needs a person's approval.")
    assert concerns(model, (waiting, refused), Words("en")) == [
        (2, "Boats: a new model waits for somebody's approval.")
    ]


def test_a_first_training_that_goes_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text(id="Perahu", en="Boats")
    model = Detail(name="boats", title=text, question=text, task="regression", data_source=text, features=())
    monkeypatch.setattr(catalogue, "decisions", lambda names: {"boats": (Decision(outcome="running"),)})
    assert "being trained for the first time" in refusal(model, Words("en"))


def test_a_first_version_that_waits_is_not_called_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text(id="Perahu", en="Boats")
    model = Detail(name="boats", title=text, question=text, task="regression", data_source=text, features=())
    waiting = Decision(outcome="waiting", rule="waiting", reason="It needs a person's approval.", data_version="v1")
    monkeypatch.setattr(catalogue, "decisions", lambda names: {"boats": (waiting,)})
    told = refusal(model, Words("en"))
    assert "is good enough and waits" in told
    assert "none was good enough" not in told
