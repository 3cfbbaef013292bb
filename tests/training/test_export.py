import json

import numpy as np
import onnx
import onnxruntime
import pytest
import skops.io
from onnx import numpy_helper

from sigap import bundle
from sigap.errors import BundleError
from sigap.training import export, preprocess
from sigap.training.clusters import distances
from sigap.training.export import Previous, fingerprint, to_onnx, write_bundle

from .conftest import bundled


@pytest.fixture(scope="module")
def written(with_2024, until_2023, tmp_path_factory):
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    bundled(first, until_2023)
    bundled(second, with_2024, "v2", Previous("1", "v1", bundle.read_members(first)))
    return second


@pytest.fixture
def copy(written, tmp_path):
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_onnx_answers_as_scikit_learn_does(with_2024):
    session = onnxruntime.InferenceSession(to_onnx(with_2024.model), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("X", "tensor(double)", ["n", 3])
    known = with_2024.prepared.matrix
    generator = np.random.default_rng(0)
    anywhere = generator.uniform(0, 40, (2000, 3))
    for rows in (known.to_numpy(), anywhere):
        label, far = session.run(["label", "distances"], {"X": rows})
        frame = known.iloc[:0].reindex(range(len(rows)))
        frame[:] = rows
        assert label.dtype == np.int64
        assert label.tolist() == with_2024.model.predict(frame).tolist()
        np.testing.assert_allclose(far, with_2024.model.transform(frame), rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(far, distances(with_2024.model, frame), rtol=1e-12)


def test_the_manifest_says_what_the_model_is(written, with_2024, education):
    manifest = bundle.read_manifest(written)
    assert manifest.model == "education"
    assert manifest.features_used == with_2024.prepared.used
    assert [level.size for level in manifest.levels] == [16, 16, 6]
    assert {entry.k: entry.admissible for entry in manifest.sweep}[3]
    assert manifest.training_range["rata_lama_sekolah"].minimum == 4.21
    assert manifest.example.request == education.example
    session = onnxruntime.InferenceSession(written / bundle.MODEL, providers=["CPUExecutionProvider"])
    row = np.array([[education.example[name] for name in manifest.features_used]])
    label, far = session.run(None, {"X": row})
    assert (int(label[0]), float(far[0, label[0]])) == (
        manifest.example.cluster,
        manifest.example.distance_to_center,
    )


def test_the_same_training_writes_the_same_bytes(written, with_2024, tmp_path):
    members = bundle.read_members(written)["movement"]
    assert members is not None
    bundled(tmp_path / "one", with_2024)
    bundled(tmp_path / "other", with_2024)
    for name in (bundle.MANIFEST, bundle.MODEL, bundle.MEMBERS):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_the_fingerprint_follows_what_is_answered_and_nothing_else(written, until_2023, with_2024, tmp_path):
    manifest = bundle.read_manifest(written)
    # Neither the movement nor the name of the data is part of it.
    assert bundled(tmp_path, with_2024, "v_2025_Q1").fingerprint == manifest.fingerprint == fingerprint(with_2024)
    assert fingerprint(until_2023) != manifest.fingerprint


def test_members_carry_all_figures_with_their_years_and_the_gap_to_the_next_level(written):
    content = bundle.read_members(written)
    manifest = bundle.read_manifest(written)
    members = {member["entity"]: member for member in content["members"]}
    assert len(members) == 38
    assert content["not_assessed"] == []
    papua = members["P97"]
    assert papua["place"] == {
        "ibukota": "Wamena",
        "lat": pytest.approx(-4.1, abs=0.2),
        "lon": pytest.approx(138.9, abs=0.2),
    }
    assert papua["features"]["rata_lama_sekolah"] == 4.21
    assert papua["figure_period"]["rasio_guru_murid"] == 2023
    assert papua["features"]["anggaran_pendidikan_persen"] == 10.9
    middle = manifest.levels[1].center
    assert papua["gap"] == {
        "rata_lama_sekolah": pytest.approx(middle["rata_lama_sekolah"] - 4.21),
        "harapan_lama_sekolah": pytest.approx(middle["harapan_lama_sekolah"] - 9.97),
        "rasio_guru_murid": pytest.approx(middle["rasio_guru_murid"] - 34.24),
    }
    assert members["P31"]["cluster"] == 0
    assert members["P31"]["gap"] is None
    assert members["P96"]["features"]["anggaran_pendidikan_persen"] is None


def test_who_is_not_assessed_is_listed_with_the_reason(until_2023, tmp_path):
    bundled(tmp_path, until_2023)
    absent = {each["entity"]: each for each in bundle.read_members(tmp_path)["not_assessed"]}
    assert set(absent) == {"P92", "P95", "P96", "P97"}
    assert absent["P96"]["name"] == "Papua Tengah"
    assert absent["P96"]["missing"] == ["rata_lama_sekolah", "harapan_lama_sekolah"]
    assert absent["P96"]["features"]["rasio_guru_murid"] == 27.9
    assert absent["P96"]["place"]["ibukota"] == "Nabire"


@pytest.mark.parametrize("name", [bundle.MODEL, bundle.MEMBERS])
def test_an_altered_or_missing_file_is_refused(copy, name):
    path = copy / name
    original = path.read_bytes()
    altered = bytearray(original)
    altered[len(altered) // 2] ^= 1
    path.write_bytes(bytes(altered))
    with pytest.raises(BundleError, match=f"{name} is not the file"):
        bundle.read_manifest(copy)
    path.write_bytes(original[:-1])
    with pytest.raises(BundleError, match=f"{name} is not the file"):
        bundle.read_manifest(copy)
    path.unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        bundle.read_manifest(copy)


def test_a_manifest_that_lies_is_refused(copy):
    path = copy / bundle.MANIFEST
    content = json.loads(path.read_text())
    outside = {**content, "files": {**content["files"], "../secret": {"sha256": "0" * 64, "bytes": 1}}}
    path.write_text(json.dumps(outside))
    with pytest.raises(BundleError, match="not a plain file name"):
        bundle.read_manifest(copy)
    path.write_text(json.dumps({**content, "files": {bundle.MODEL: content["files"][bundle.MODEL]}}))
    with pytest.raises(BundleError, match=r"does not name members\.json"):
        bundle.read_manifest(copy)
    path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(BundleError, match="can't be read"):
        bundle.read_manifest(copy)
    path.write_text(json.dumps(content)[:-40])
    with pytest.raises(BundleError, match="can't be read"):
        bundle.read_manifest(copy)


def test_a_model_that_answers_otherwise_is_not_written(with_2024, tmp_path, monkeypatch):
    model = onnx.load_from_string(to_onnx(with_2024.model))
    centers = next(each for each in model.graph.initializer if each.name == "centers")
    moved = numpy_helper.to_array(centers)[:, ::-1].copy()
    centers.CopyFrom(numpy_helper.from_array(moved, "centers"))
    monkeypatch.setattr(export, "to_onnx", lambda pipeline: model.SerializeToString())
    with pytest.raises(BundleError, match=r"answers \d+ of \d+ rows otherwise than scikit-learn, first P"):
        bundled(tmp_path / "refused", with_2024)
    assert not (tmp_path / "refused").exists()


def test_a_bundle_cut_short_is_refused(copy, with_2024, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "members", full)
    with pytest.raises(OSError, match="No space left"):
        bundled(copy, with_2024)
    with pytest.raises(BundleError, match="can't be read"):
        bundle.read_manifest(copy)


def test_skops_brings_the_model_back_when_told_what_to_trust(with_2024):
    stored = skops.io.dumps(with_2024.model)
    assert set(skops.io.get_untrusted_types(data=stored)) <= set(preprocess.TRUSTED_TYPES)
    again = skops.io.loads(stored, trusted=list(preprocess.TRUSTED_TYPES))
    rows = with_2024.prepared.matrix
    assert again.predict(rows).tolist() == with_2024.ranks.tolist()


def test_write_bundle_notes_the_runs(with_2024, written, tmp_path):
    manifest = bundle.read_manifest(written)
    noted = write_bundle(
        tmp_path, with_2024, data=manifest.data, code=manifest.code, run_id="parent", candidate_runs={3: "third"}
    )
    assert noted.run_id == "parent"
    assert [entry.run_id for entry in noted.sweep] == ["", "third", "", "", ""]
