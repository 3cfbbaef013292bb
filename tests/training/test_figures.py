import matplotlib.image
import pytest

from sigap.training.figures import FIGURES, cluster_profile, draw, elbow, parallel_coordinates, scatter_matrix


@pytest.mark.parametrize("language", ["id"])
def test_each_figure_is_drawn_and_not_blank(with_2024, tmp_path, language):
    paths = draw(tmp_path, with_2024, language)
    assert [path.stem for path in paths] == list(FIGURES)
    for path in paths:
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert (pixels[..., :3] < 0.9).any(axis=2).mean() > 0.005


def test_the_same_training_draws_the_same_bytes(with_2024, tmp_path):
    one, other = draw(tmp_path / "one", with_2024), draw(tmp_path / "other", with_2024)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_axes_name_the_features_with_their_units(with_2024):
    (axes,) = elbow(with_2024).axes
    assert axes.get_xticks().tolist() == [2, 3, 4, 5, 6]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["chosen", "admissible", "not admissible"]
    (axes,) = parallel_coordinates(with_2024, "id").axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names[0] == "Rata-rata lama sekolah\n(tahun)"
    assert names[2] == "Murid per guru\n(murid)\ndibalik: rendah lebih baik"
    figure = scatter_matrix(with_2024)
    assert len(figure.axes) == 9
    assert figure.axes[6].get_xlabel() == "Mean years of schooling\n(years)"
    (axes,) = cluster_profile(with_2024).axes
    assert "9.7 years" in [text.get_text() for text in axes.texts]
