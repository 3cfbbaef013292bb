if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def decide(*_, **__):
    """What the gate says of a better challenger."""
    return {"promoted": True, "model_version": "v2", "rule": "better", "reason": "It is better."}
