if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def plan(started, *_, **__):
    items = [{"k": k, "greeting": started["greeting"]} for k in range(2, 2 + started["items"])]
    return [items, [{"block_uuid": f"k_{item['k']}"} for item in items]]
