import time

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader


@data_loader
def start(*_, **variables):
    if variables.get("raises"):
        raise ValueError(f"There is no table {variables['raises']!r}.")
    time.sleep(variables.get("seconds", 0))
    return {"items": variables.get("items", 5), "greeting": variables.get("greeting", "hello")}
