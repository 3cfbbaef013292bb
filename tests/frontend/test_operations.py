"""Who may operate, and that every act is asked for once, confirmed once and done once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from frontend import acts, operator
from frontend.api import ApiDownError
from frontend.operator import Operator
from frontend.views import pipeline
from tests.frontend.conftest import ROOT, SECONDS, StandIn, opened, shown
from tests.frontend.desk import Desk


@pytest.fixture
def desk(standin: StandIn) -> Iterator[Desk]:
    """The stand-in's desk as it is at first, and again afterwards."""
    found: Desk = standin.app.state.desk
    found.__init__()  # type: ignore[misc]
    yield found
    found.__init__()  # type: ignore[misc]


def signed_in(app: AppTest, key: str = "operator-key") -> AppTest:
    page = opened(app, "operations", model="car_price")
    return sign_in(page, key)


def sign_in(page: AppTest, key: str) -> AppTest:
    page.text_input(key="operator_key").set_value(key)
    next(button for button in page.button if button.label == "Sign in").click()
    page.run()
    assert not page.exception
    return page


def confirmed(page: AppTest, button: str) -> AppTest:
    page.button(key=button).click().run()
    page.button(key="operator_confirm").click().run()
    assert not page.exception
    return page


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "Type your key first."), ("wrong", "This key is not known."), ("plain", "It needs the scope admin.")],
)
def test_without_a_key_that_may_nobody_gets_in(app: AppTest, desk: Desk, key: str, said: str) -> None:
    page = signed_in(app, key)
    assert said in shown(page)
    assert "Versions" not in shown(page)
    # A token of a key that may not operate is not left lying about.
    assert desk.tokens == {}


def test_the_token_stays_in_the_session(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    (token,) = desk.tokens
    assert "Signed in as sari" in shown(page)
    assert token not in str(page.query_params)
    assert token not in shown(page)
    assert token not in repr(page.session_state[operator.SESSION])
    assert "operator-key" not in str(page.session_state)
    page.button(key="operator_out").click().run()
    assert desk.revoked == ["sari"]
    assert page.text_input(key="operator_key").value == ""


def test_approving_says_what_will_happen_and_what_has(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.button(key="operator_approve").click().run()
    assert desk.acts == []
    assert "Car price: version v4 will answer instead of v3." in shown(page)
    assert "v3 has been in use since 20 November 2026" in shown(page)
    assert "It is recorded as done by sari." in shown(page)
    page.button(key="operator_confirm").click().run()
    assert desk.acts == [("sari", "update", {})]
    assert "Car price: version v4 is in use now." in shown(page)
    assert acts.INTENT not in page.session_state or page.session_state[acts.INTENT] is None


def test_an_act_that_is_given_up_is_not_done(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.button(key="operator_approve").click().run()
    page.button(key="operator_cancel").click().run()
    assert desk.acts == []
    assert "will answer instead" not in shown(page)


def test_rolling_back_to_a_chosen_version(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    assert page.selectbox(key="operator_back_car_price_v3").value == "v2"
    page.selectbox(key="operator_back_car_price_v3").set_value("v1").run()
    confirmed(page, "operator_rollback")
    assert desk.acts == [("sari", "rollback", {"version": "v1"})]
    assert "version v1 is in use again, instead of v3" in shown(page)


def test_what_somebody_changed_meanwhile_is_not_done_over(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.button(key="operator_rollback").click().run()
    desk.move("v1")
    page.button(key="operator_confirm").click().run()
    assert desk.acts == []
    assert "Meanwhile somebody else changed which version is in use." in shown(page)


def test_a_pipeline_is_started_once_and_followed(app: AppTest, desk: Desk) -> None:
    page = confirmed(signed_in(app), "operator_start")
    assert "Car price: run 1 of the pipeline has started." in shown(page)
    assert "Run 1: running" in shown(page)
    assert "Train a candidate (k = 2)" in shown(page)
    assert page.button(key="operator_start").disabled
    desk.end("There is no table 'cars'.")
    page.run()
    assert "There is no table &#x27;cars&#x27;." in shown(page)
    assert not page.button(key="operator_start").disabled


def test_a_run_that_somebody_started_meanwhile_is_told(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.button(key="operator_start").click().run()
    desk.start("api: budi")
    page.button(key="operator_confirm").click().run()
    assert "nothing was changed" in shown(page)
    assert "Run 1 goes on." in shown(page)
    assert len(desk.runs) == 1


def test_a_token_that_ended_is_asked_for_anew_and_nothing_is_done(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.button(key="operator_approve").click().run()
    desk.tokens.clear()
    page.button(key="operator_confirm").click().run()
    assert desk.acts == []
    assert "The sign-in has ended." in shown(page)
    assert "Sign in again, then ask once more." in shown(page)
    sign_in(page, "operator-key")
    confirmed(page, "operator_approve")
    assert desk.acts == [("sari", "update", {})]


def test_a_token_ends_by_itself(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    known: Operator = page.session_state[operator.SESSION]
    page.session_state[operator.SESSION] = Operator(known.name, known.token, 1.0)
    page.run()
    assert "The sign-in has ended." in shown(page)
    assert page.session_state[operator.SESSION] is None


def test_two_tabs_act_each_in_its_own_name(app: AppTest, desk: Desk) -> None:
    other = AppTest.from_file(str(ROOT / "frontend" / "app.py"), default_timeout=SECONDS)
    one, two = signed_in(app), signed_in(other, "second-key")
    confirmed(two, "operator_start")
    confirmed(one, "operator_approve")
    assert [(name, act) for name, act, _ in desk.acts] == [("budi", "pipeline"), ("sari", "update")]
    one.button(key="operator_out").click().run()
    two.run()
    assert "Signed in as budi" in shown(two)


def test_an_act_whose_answer_was_lost_is_not_called_done(
    app: AppTest, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = signed_in(app)
    page.button(key="operator_start").click().run()
    real = operator.ask

    def lost(who: Operator, method: str, path: str, body: object = None) -> object:
        real(who, method, path)
        if method == "POST":
            raise ApiDownError("The API can't be reached.")
        return real(who, method, path)

    monkeypatch.setattr(operator, "ask", lost)
    page.button(key="operator_confirm").click().run()
    assert "not sure whether it was done" in shown(page)
    assert len(desk.runs) == 1


CARS = b"Price,hp\n1,=1+1\n9000,90\n9500,95\n"


def dropped(page: AppTest, name: str, content: bytes) -> AppTest:
    page.file_uploader[0].upload(name, content, "text/csv")
    page.run()
    assert not page.exception
    return page


def test_a_file_is_looked_at_then_asked_for_then_brought_in_once(app: AppTest, desk: Desk) -> None:
    page = dropped(signed_in(app), "mobil.csv", CARS)
    assert (desk.acts, desk.looked) == ([], 1)
    told = shown(page)
    assert "What mobil.csv would do" in told
    assert "Made-up rows that give way: 250." in told
    assert "Not in the file: Engine size." in told
    # What was expected, in the reader's own words.
    assert "Power: 20–800 horsepower" in told
    page.run()
    assert desk.looked == 1
    page.button(key="operator_import").click().run()
    assert "of the 3 rows of mobil.csv, 2 are added and 0 are changed" in shown(page)
    assert "Set aside, each with its reason: 1." in shown(page)
    page.button(key="operator_confirm").click().run()
    assert desk.acts == [("sari", "import", "mobil.csv")]
    assert "Car price: 2 rows added, 0 changed." in shown(page)
    assert "by sari" in shown(page)
    # The box is empty, and what was brought in is not looked at again.
    page.run()
    assert desk.looked == 1
    assert len(desk.acts) == 1


def test_rows_that_say_they_are_mock_are_warned_of(app: AppTest, desk: Desk) -> None:
    page = dropped(signed_in(app), "mobil.csv", b"Price,hp,origin\n1,=1+1,mock\n9000,90,mock\n")
    warning = "These rows say that they are mock (2, column origin)."
    assert warning in shown(page)
    page.button(key="operator_import").click().run()
    assert shown(page).count(warning) == 2, "before it is asked for, and where it is confirmed"


@pytest.mark.parametrize(
    ("watched", "before", "after"),
    [
        ("all", "starts by itself", "Nothing more is needed: training on them starts by itself"),
        ("education, car_price", "starts by itself", "Nothing more is needed: training on them starts by itself"),
        ("none", "are not trained on by themselves here", "Start the pipeline to train on them"),
        ("education", "are not trained on by themselves here", "Start the pipeline to train on them"),
    ],
)
def test_whether_a_training_follows_an_import_is_said(
    app: AppTest, desk: Desk, monkeypatch: pytest.MonkeyPatch, watched: str, before: str, after: str
) -> None:
    monkeypatch.setenv("SIGAP_RETRAIN_ON_CHANGE", watched)
    page = dropped(signed_in(app), "mobil.csv", CARS)
    page.button(key="operator_import").click().run()
    assert before in shown(page)
    page.button(key="operator_confirm").click().run()
    assert after in shown(page)


def test_a_file_that_does_not_fit_changes_nothing(app: AppTest, desk: Desk) -> None:
    page = dropped(signed_in(app), "mobil.csv", b"\xff\xfe\x00")
    assert "The file can&#x27;t be used as it is" in shown(page)
    assert "The file lacks the columns of the table cars." in shown(page)
    assert not [button for button in page.button if button.key == "operator_import"]
    assert desk.acts == []


def test_data_is_brought_back_and_trained_on(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    assert page.selectbox(key="operator_data_car_price_v2").value == "v1"
    page.button(key="operator_return").click().run()
    assert "data version v1 is checked out instead of v2" in shown(page)
    page.button(key="operator_confirm").click().run()
    assert desk.acts == [("sari", "data", {"version": "v1"})]
    assert "Car price: data version v1 is checked out again." in shown(page)
    confirmed(page, "operator_train_on")
    assert desk.acts[1:] == [("sari", "pipeline", {"data_version": "v1"})]


def test_data_that_somebody_returned_meanwhile_is_left(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.button(key="operator_return").click().run()
    desk.data = "v1"
    page.button(key="operator_confirm").click().run()
    assert desk.acts == []
    assert "Meanwhile somebody else changed" in shown(page)


def test_live_inputs_are_shifted_once_and_what_came_of_it_is_told(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.select_slider(key="operator_shift_car_price").set_value(-1.5).run()
    page.button(key="operator_simulate").click().run()
    assert desk.acts == []
    assert "Car price: 200 real requests are sent to the service" in shown(page)
    assert "shifted by −1.5 standard deviations" in shown(page)
    assert "It is recorded as done by sari." in shown(page)
    page.button(key="operator_confirm").click().run()
    page.run()
    assert desk.acts == [("sari", "simulate", {"into": "live", "shift": -1.5, "rows": 200, "undo": False})]
    assert "Car price: 200 requests were sent, 199 of them were answered." in shown(page)
    assert "422: Too much." in shown(page)
    assert "<span>Power</span><b>+0.9 standard deviations</b>" in shown(page)
    assert not [button for button in page.button if button.key == "operator_unshift"]
    # One go raises no alarm, and what can't be tested is no part of what the check tells.
    assert "an alarm takes 2 of the last 3 windows: after the next check, shift once more." in shown(page)
    assert "1 of these 2 features are checked. The others are personal" in shown(page)


def test_a_shifted_table_is_taken_back(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.segmented_control(key="operator_into_car_price").set_value("table").run()
    page.button(key="operator_simulate").click().run()
    assert "numbers of at most 200 rows of the table are shifted by +1.0 standard deviations" in shown(page)
    page.button(key="operator_confirm").click().run()
    assert "Car price: 200 rows of the table are shifted." in shown(page)
    assert "The table holds a simulated shift since 20 November 2026" in shown(page)
    # Another one would have to be refused.
    assert page.button(key="operator_simulate").disabled
    confirmed(page, "operator_unshift")
    assert [(act, body["undo"]) for _, act, body in desk.acts] == [("simulate", False), ("simulate", True)]
    assert "rows of the table are what they were." in shown(page)
    assert "left as they are: 2." in shown(page)
    assert not [button for button in page.button if button.key == "operator_unshift"]


def test_a_table_that_somebody_shifted_meanwhile_is_not_shifted_again(app: AppTest, desk: Desk) -> None:
    page = signed_in(app)
    page.segmented_control(key="operator_into_car_price").set_value("table").run()
    page.button(key="operator_simulate").click().run()
    desk.shifted = True
    page.button(key="operator_confirm").click().run()
    assert "Car price: nothing was changed" in shown(page)
    assert "holds a simulated shift already." in shown(page)


def test_steps_stand_in_the_pipelines_order_and_the_total_does_not_jump() -> None:
    def run(*blocks: tuple[str, str]) -> acts.RunDetail:
        listed = [{"block": name, "status": status} for name, status in blocks]
        return acts.RunDetail.model_validate({"run": 1, "status": "running", "blocks": listed})

    early = run(("take_snapshot", "running"), ("promote_champion", "initial"), ("fit_candidate", "completed"),
                ("plan_sweep", "initial"))  # fmt: skip
    blocks, planned = pipeline.in_order(early)
    assert [(block.block, block.status) for block in blocks][1:3] == [
        ("plan_sweep", "initial"), ("fit_candidate", "initial")]  # fmt: skip
    assert not planned
    late = run(("take_snapshot", "completed"), ("register_challenger", "initial"), ("fit_candidate", "completed"),
               ("fit_candidate:k_2", "running"), ("plan_sweep", "completed"))  # fmt: skip
    blocks, planned = pipeline.in_order(late)
    names = [block.block for block in blocks]
    assert (names, planned) == (["take_snapshot", "plan_sweep", "fit_candidate:k_2", "register_challenger"], True)
