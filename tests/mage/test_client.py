from __future__ import annotations

from sigap.services.mage_client import run_pipeline


def test_a_run_is_recorded_with_every_block_completed(mage, mage_settings):
    events = []
    result = run_pipeline(mage_settings, "fan", {"greeting": "halo"}, events.append)
    assert result["candidates"] == [2, 3, 4, 5, 6]
    assert result["greeting"] == "halo"
    assert result["nested"] == {"none": None, "text": "é" * 5000}
    completed = [event["block"] for event in events if event.get("status") == "completed"]
    assert completed == ["start", "plan", "fit", *(f"fit:k_{k}" for k in range(2, 7)), "finish"]
    assert events[-1]["done"] == events[-1]["total"] == 9
