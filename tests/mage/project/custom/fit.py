if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def fit(item, *_, **__):
    return {**item, "score": item["k"] / 10}


@test
def has_score(fitted, *_):
    assert fitted["score"] > 0
