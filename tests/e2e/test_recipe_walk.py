"""The walk of the recipe that the versioned map comes from, through the SDK, over a real socket."""

import lamina

FIRST = {"user_name": "twitter", "hash_id": "4fedffca37eaf", "x": 27, "y": 450}


def test_the_walk(target: str) -> None:
    with lamina.connect(target, author="ada") as client:
        cfg = client.config("recipe", create=True)
        cfg.update(FIRST)
        one = cfg.commit("create")
        cfg["user_name"] = "yahoo"
        two = cfg.commit("rename")

        assert [version.number for version in cfg.log()] == [2, 1]
        assert cfg == {**FIRST, "user_name": "yahoo"}
        assert cfg.at(one) == FIRST
        assert [(change.value, change.version) for change in cfg.history("user_name")] == [
            ("twitter", one.number),
            ("yahoo", two.number),
        ]
        assert (one.number, two.number, two.parent) == (1, 2, 1)


async def test_the_walk_with_asyncio(target: str) -> None:
    async with lamina.aio.connect(target, author="ada") as client:
        cfg = await client.config("recipe/aio", create=True)
        cfg.update(FIRST)
        one = await cfg.commit("create")
        cfg["user_name"] = "yahoo"
        two = await cfg.commit("rename")

        assert [version.number async for version in cfg.log()] == [2, 1]
        assert cfg == {**FIRST, "user_name": "yahoo"}
        assert await cfg.at(one) == FIRST
        history = [(change.value, change.version) async for change in cfg.history("user_name")]
        assert history == [("twitter", one.number), ("yahoo", two.number)]
