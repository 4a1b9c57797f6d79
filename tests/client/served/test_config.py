"""The SDK over real sockets, with both clients: what the documentation promises, sentence by sentence."""

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import lamina
from tests.client.sdk import Sdk, entered, listed, of


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"x": 27, "y": 450}."""
    made = await of(client.config(config_name, create=True))
    made |= {"x": 27, "y": 450}
    await of(made.commit("begin"))
    return made


@pytest.fixture
async def other(sdk: Sdk, target: str, cfg: Any) -> Any:
    """The same config, opened by another client."""
    return await of(sdk.connect(target, author="bob").config(cfg.name))


class TestOpening:
    async def test_a_missing_config_is_an_error(self, client: Any, config_name: str) -> None:
        with pytest.raises(lamina.NotFoundError, match=config_name) as caught:
            await of(client.config(config_name))
        assert caught.value.reason == "CONFIG_NOT_FOUND"
        assert isinstance(caught.value, LookupError)

    async def test_a_created_config_exists_with_its_first_key(self, client: Any, config_name: str) -> None:
        made = await of(client.config(config_name, create=True))
        assert (made.version, dict(made), made.name) == (0, {}, config_name)
        assert (await of(made.at(0))) == {}
        assert (await of(made.commit("without a key"))).number == 0
        with pytest.raises(lamina.NotFoundError):  # a config begins with its first key
            await of(client.config(config_name))
        made["x"] = 1
        assert (await of(made.commit())).number == 1
        assert (await of(client.config(config_name, create=True)))["x"] == 1

    async def test_two_clients_can_create_the_same_config(self, sdk: Sdk, target: str, config_name: str) -> None:
        one, two = [await of(sdk.connect(target).config(config_name, create=True)) for _ in range(2)]
        one["x"], two["y"] = 1, 2
        await of(one.commit())
        assert (await of(two.commit())).number == 2
        assert two == {"x": 1, "y": 2}

    @pytest.mark.parametrize("name", ["", "/x", "a//b", "a b", "ü", "x" * 256])
    async def test_a_bad_name_is_refused(self, client: Any, name: str) -> None:
        with pytest.raises(lamina.InvalidError) as caught:
            await of(client.config(name))
        assert caught.value.reason == "BAD_CONFIG_NAME"

    async def test_configs_are_listed_by_prefix(self, client: Any, config_name: str) -> None:
        for suffix in ("b", "a"):
            made = await of(client.config(f"{config_name}/{suffix}", create=True))
            made["x"] = 1
            await of(made.commit())
        made = await of(client.config(f"{config_name}/a"))
        made["x"] = 2
        version = await of(made.commit())
        found = await listed(client.configs(f"{config_name}/"))
        assert [(info.name, info.head) for info in found] == [(f"{config_name}/a", 2), (f"{config_name}/b", 1)]
        assert found[0].time == version.time
        assert found[0].created < version.time
        assert await listed(client.configs(f"{config_name}/nothing")) == []

    async def test_the_same_config_opened_twice_has_two_drafts(self, client: Any, cfg: Any) -> None:
        again = await of(client.config(cfg.name))
        again["x"] = 1
        assert cfg.changes == {}
        assert cfg["x"] == 27

    async def test_a_closed_client_refuses_verbs(self, client: Any, cfg: Any) -> None:
        await of(client.close())
        cfg["x"] = 1
        with pytest.raises(lamina.InvalidError, match="closed"):
            await of(cfg.commit())
        await of(client.close())

    async def test_a_client_is_a_context_manager(self, sdk: Sdk, target: str) -> None:
        async with entered(sdk.connect(target)) as client:
            await listed(client.configs())
        with pytest.raises(lamina.InvalidError, match="closed"):
            await listed(client.configs())

    async def test_the_second_address_is_used_if_the_first_is_down(self, sdk: Sdk, target: str, cfg: Any) -> None:
        client = sdk.connect(f"127.0.0.1:1,{target}")
        assert (await of(client.config(cfg.name)))["x"] == 27

    async def test_without_a_server_it_is_a_deadline_error(self, sdk: Sdk) -> None:
        client = sdk.connect("127.0.0.1:1", timeout=0.2)
        with pytest.raises(lamina.DeadlineError, match=r"within 0.2 s.*refused") as caught:
            await of(client.config("x"))
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(caught.value, TimeoutError)


VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "one": 1,
    "float": 1.0,
    "least": -(2**63),
    "text": "naïve \U0001f600\n\t",
    "empty": "",
    "bytes": b"\x00\xff",
    "list": [1, 1.0, True, None, "é", [], {}],
    "dict": {"b": {"ü": [0.1, -0.0, 1e300]}, "a": 2**63 - 1},
}


class TestValues:
    @pytest.mark.crossed
    async def test_a_value_of_every_kind_is_read_as_it_was_written(self, client: Any, config_name: str) -> None:
        made = await of(client.config(config_name, create=True))
        made |= VALUES
        await of(made.commit())
        found = await of(client.config(config_name))
        assert {key: repr(value) for key, value in found.items()} == {
            key: repr(VALUES[key]).replace("-0.0", "0.0") if key != "dict" else repr(found["dict"])
            for key in sorted(VALUES)
        }
        assert found["dict"] == VALUES["dict"]
        assert found == VALUES
        # The server and the client have the same canonical form, so the same values are no change.
        found |= VALUES
        assert found.changes == {}
        assert type(found.to_dict()["dict"]["b"]) is dict

    async def test_true_and_one_differ_on_the_server_too(self, cfg: Any) -> None:
        for number, value in enumerate((1, True, 1.0), start=2):
            cfg["x"] = value
            assert (await of(cfg.commit())).number == number

    async def test_in_place_operators_change_a_value(self, cfg: Any) -> None:
        cfg["hosts"] = ["h1"]
        await of(cfg.commit())
        cfg["hosts"] += ["h2"]
        cfg["x"] += 1
        await of(cfg.commit())
        assert (await of(cfg.at(3))) == {"hosts": ["h1", "h2"], "x": 28, "y": 450}

    async def test_a_value_above_the_server_s_limit_is_refused(self, cfg: Any) -> None:
        cfg["big"] = "x" * (1 << 20 | 1)
        with pytest.raises(lamina.LimitError) as caught:
            await of(cfg.commit())
        assert (caught.value.reason, caught.value.limit) == ("TOO_LARGE", 1 << 20)
        assert caught.value.actual is not None
        assert caught.value.actual > 1 << 20
        assert cfg.changes.keys() == {"big"}


class TestCommit:
    async def test_commit_returns_the_version(self, cfg: Any) -> None:
        before = datetime.now(UTC)
        cfg["x"] = 28
        version = await of(cfg.commit("raise x"))
        assert (version.number, version.config, version.parent) == (2, cfg.name, 1)
        assert (version.author, version.message, version.author_verified) == ("ann", "raise x", False)
        assert abs(version.time - before) < timedelta(minutes=1)
        assert version.time.tzinfo is UTC
        assert len(bytes.fromhex(version.hash)) == 32
        assert (version.key_count, version.change_count, version.changed_keys) == (2, 1, ("x",))
        assert [None, None, "third"][version] == "third"
        assert cfg.version == 2

    async def test_an_author_may_have_any_letters(self, sdk: Sdk, target: str, cfg: Any) -> None:
        author = "Zoë 50% <zoë@example.org>"
        found = await of(sdk.connect(target, author=author).config(cfg.name))
        found["x"] = 1
        assert (await of(found.commit())).author == author

    @pytest.mark.crossed
    async def test_changes_of_others_are_merged_and_shown(self, cfg: Any, other: Any) -> None:
        other["z"] = 1
        del other["y"]
        await of(other.commit())
        cfg["x"] = 28
        version = await of(cfg.commit())
        assert version.number == 3
        assert cfg == {"x": 28, "z": 1}
        assert (cfg.version, cfg.changes) == (3, {})
        assert {key: cfg.origin(key) for key in cfg} == {"x": 3, "z": 2}

    async def test_the_same_change_by_two_clients_is_one_version(self, cfg: Any, other: Any) -> None:
        for one in (cfg, other):
            one["x"] = 28
        first, second = await of(other.commit()), await of(cfg.commit())
        assert first == second
        assert cfg.version == 2

    async def test_a_commit_without_changes_moves_to_the_head(self, cfg: Any, other: Any) -> None:
        assert (await of(cfg.commit())).number == 1
        other["x"] = 28
        version = await of(other.commit())
        assert (await of(cfg.commit())) == version
        assert cfg["x"] == 28

    @pytest.mark.crossed
    async def test_a_conflict_names_both_sides(self, cfg: Any, other: Any) -> None:
        other["x"] = 30
        del other["y"]
        await of(other.commit())
        cfg |= {"x": 28, "y": 451, "z": 1}
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.commit())
        error = caught.value
        assert error.conflicts == {
            "x": lamina.Conflict("x", 27, 30, 28, 2, "bob"),
            "y": lamina.Conflict("y", 450, lamina.MISSING, 451, 2, "bob"),
        }
        assert error.head == 2
        assert error.request_id
        assert "'x' (version 2 by bob)" in str(error)
        assert (cfg.version, len(cfg.changes)) == (1, 3)

    @pytest.mark.crossed
    async def test_a_key_that_was_read_and_changed_conflicts_if_others_changed_it(self, cfg: Any, other: Any) -> None:
        for one in (cfg, other):
            one["x"] += 1
        await of(other.commit())
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.commit())
        assert caught.value.conflicts == {"x": lamina.Conflict("x", 27, 28, 28, 2, "bob")}
        await of(cfg.refresh(resolve=lambda one: one.theirs + one.yours - one.base))
        assert (await of(cfg.commit())).number == 3
        assert cfg["x"] == 29

    async def test_a_key_that_was_only_read_does_not_conflict(self, cfg: Any, other: Any) -> None:
        assert cfg["y"] == 450
        cfg["x"] = 28
        other["y"] = 451
        await of(other.commit())
        assert (await of(cfg.commit())).number == 3

    @pytest.mark.crossed
    async def test_a_commit_without_merging_requires_its_base(self, cfg: Any, other: Any) -> None:
        other["z"] = 1
        await of(other.commit())
        cfg["x"] = 28
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.commit(merge=False))
        assert caught.value.head == 2
        await of(cfg.refresh())
        assert (await of(cfg.commit(merge=False))).number == 3

    async def test_a_dry_run_checks_and_does_not_commit(self, cfg: Any, other: Any) -> None:
        cfg["x"] = 28
        version = await of(cfg.commit("try", dry_run=True))
        assert (version.number, version.hash) == (0, "")
        assert abs(version.time - datetime.now(UTC)) < timedelta(minutes=1)
        assert (cfg.version, cfg.changes.keys()) == (1, {"x"})
        other["x"] = 30
        assert (await of(other.commit())).number == 2
        with pytest.raises(lamina.ConflictError):
            await of(cfg.commit(dry_run=True))

    async def test_conflicts_may_have_large_values_and_many_keys(self, cfg: Any, other: Any) -> None:
        """There are more than a trailer can hold, so the client reads the rest."""
        keys = [f"k{number:03}" for number in range(300)]
        cfg |= dict.fromkeys(keys, "old" * 200)
        await of(cfg.commit())
        await of(other.refresh())
        other |= dict.fromkeys(keys[1:], "theirs" * 200)
        del other[keys[0]]
        await of(other.commit())
        cfg |= dict.fromkeys(keys[:200], "yours" * 200)
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.commit())
        conflicts = caught.value.conflicts
        assert list(conflicts) == keys[:200]
        assert conflicts[keys[0]] == lamina.Conflict(keys[0], "old" * 200, lamina.MISSING, "yours" * 200, 3, "bob")
        assert conflicts[keys[9]] == lamina.Conflict(keys[9], "old" * 200, "theirs" * 200, "yours" * 200, 3, "bob")
        cfg.discard()
        cfg[keys[5]] = "yours" * 200
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.commit())
        assert caught.value.conflicts == {keys[5]: conflicts[keys[5]]}


class TestRefresh:
    async def test_refresh_keeps_the_changes_on_the_new_head(self, cfg: Any, other: Any) -> None:
        other["z"] = 1
        await of(other.commit())
        cfg["x"] = 28
        await of(cfg.refresh())
        assert (cfg.version, cfg["z"], cfg.changes.keys()) == (2, 1, {"x"})

    @pytest.mark.parametrize(
        ("resolve", "x", "y"),
        [
            ("theirs", 30, lamina.MISSING),
            ("yours", 28, 451),
            (lambda one: one.theirs if one.key == "x" else one.yours + 1, 30, 452),
        ],
    )
    async def test_refresh_resolves_conflicts(self, cfg: Any, other: Any, resolve: Any, x: Any, y: Any) -> None:
        other["x"] = 30
        del other["y"]
        await of(other.commit())
        cfg |= {"x": 28, "y": 451, "z": 1}
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.refresh())
        assert caught.value.conflicts["y"] == lamina.Conflict("y", 450, lamina.MISSING, 451, 2, "bob")
        assert cfg.version == 1
        await of(cfg.refresh(resolve=resolve))
        assert (cfg.version, cfg["x"], cfg.get("y", lamina.MISSING), cfg["z"]) == (2, x, y, 1)
        assert (await of(cfg.commit())).number == 3

    async def test_discard_keeps_the_version(self, cfg: Any, other: Any) -> None:
        other["x"] = 30
        await of(other.commit())
        cfg["x"] = 28
        cfg.discard()
        assert (cfg.version, cfg["x"]) == (1, 27)
        await of(cfg.refresh())
        assert (cfg.version, cfg["x"]) == (2, 30)

    async def test_edit_begins_at_the_head_and_commits(self, cfg: Any, other: Any) -> None:
        other["y"] = 451
        await of(other.commit())
        async with entered(cfg.edit("raise x")) as draft:
            assert draft is cfg
            assert draft["y"] == 451
            draft["x"] = 28
        assert (cfg.version, cfg.changes) == (3, {})
        assert (await listed(cfg.log(limit=1)))[0].message == "raise x"

    async def test_an_exception_in_an_edit_discards(self, cfg: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with entered(cfg.edit()) as draft:
                draft["x"] = 1 / 0
        with pytest.raises(ZeroDivisionError):
            async with entered(cfg.edit()) as draft:
                draft["x"] = 28
                raise ZeroDivisionError
        assert (cfg.version, cfg.changes) == (1, {})

    async def test_an_edit_conflicts_if_others_commit_first(self, cfg: Any, other: Any) -> None:
        with pytest.raises(lamina.ConflictError):
            async with entered(cfg.edit()) as draft:
                draft["x"] += 1
                other["x"] = 1
                await of(other.commit())
        assert cfg.changes.keys() == {"x"}

    async def test_edit_and_revert_refuse_a_draft_with_changes(self, cfg: Any) -> None:
        cfg["x"] = 28
        with pytest.raises(lamina.InvalidError, match="without changes"):
            async with entered(cfg.edit()):
                raise AssertionError
        with pytest.raises(lamina.InvalidError, match="without changes"):
            await of(cfg.revert(to=1))
        assert cfg.changes.keys() == {"x"}


@pytest.fixture
async def old(cfg: Any) -> Any:
    """A config with a history: x is 27, 28, then deleted, then 30; y is always 450."""
    cfg["x"] = 28
    await of(cfg.commit("second"))
    del cfg["x"]
    await of(cfg.commit("third"))
    cfg["x"] = 30
    await of(cfg.commit("fourth"))
    return cfg


class TestHistory:
    async def test_a_version_of_another_config_is_refused(self, cfg: Any) -> None:
        copy = await of(cfg.fork(f"{cfg.name}/fork"))
        version = (await listed(copy.log()))[0]
        verb: Any
        for verb in (cfg.at, cfg.diff, lambda to: cfg.revert("x", to=to)):
            with pytest.raises(lamina.InvalidError, match="is no version of"):
                await of(verb(version))
        with pytest.raises(lamina.InvalidError, match="is no version of"):
            cfg.watch(after=version)

    async def test_a_point_of_another_type_is_a_type_error(self, old: Any) -> None:
        for verb in (old.at, old.diff):
            with pytest.raises(TypeError, match="a version is an int, a Version or a datetime, not str"):
                await of(verb("1"))

    @pytest.mark.crossed
    async def test_at_takes_a_number_a_version_or_a_time(self, old: Any) -> None:
        versions = {version.number: version for version in await listed(old.log())}
        for point in (2, versions[2], versions[2].time, versions[3].time - timedelta(microseconds=1)):
            snapshot = await of(old.at(point))
            assert (snapshot, snapshot.version, snapshot.config) == ({"x": 28, "y": 450}, 2, old.name)
        assert (await of(old.at(datetime.now(UTC) + timedelta(days=1)))).version == 4
        snapshot = await of(old.at(4))
        assert pickle.loads(pickle.dumps(snapshot)) == snapshot
        assert snapshot.origin("y") == 1

    async def test_a_missing_version_is_an_error(self, old: Any) -> None:
        with pytest.raises(lamina.NotFoundError) as caught:
            await of(old.at(5))
        assert caught.value.reason == "VERSION_NOT_FOUND"
        for point in (-1, datetime.now()):  # noqa: DTZ005 - the point
            with pytest.raises(lamina.InvalidError):
                await of(old.at(point))

    async def test_a_time_before_the_first_version_is_not_found(self, client: Any, old: Any) -> None:
        """This holds for every verb that takes a time: only the number 0 names the empty map."""
        first = (await listed(old.log()))[-1]
        before = first.time - timedelta(days=1)
        live = await of(client.live(old.name))
        verbs: list[Any] = [
            lambda: old.at(before),
            lambda: old.diff(before),
            lambda: old.diff(1, before),
            lambda: old.revert(to=before),
            lambda: old.revert("x", to=before),
            lambda: old.fork(f"{old.name}/fork", at=before),
            lambda: live.at(before),
            lambda: live.diff(before),
        ]
        for verb in verbs:
            with pytest.raises(lamina.NotFoundError) as caught:
                await of(verb())
            assert caught.value.reason == "VERSION_NOT_FOUND"
            assert before.isoformat() in str(caught.value)
            assert first.time.isoformat() in str(caught.value)
        assert (await of(old.at(0)), await of(old.at(first.time))) == ({}, {"x": 27, "y": 450})

    async def test_a_watch_after_a_time_before_the_first_version_has_all_changes(self, old: Any) -> None:
        first = (await listed(old.log()))[-1]
        async with entered(old.watch("x", after=first.time - timedelta(days=1))) as watch:
            assert [change.version for change in await listed(watch, 4)] == [1, 2, 3, 4]

    async def test_diff_between_two_versions(self, old: Any) -> None:
        change = lamina.Change
        assert (await of(old.diff(1, 4))) == {"x": change(27, 30)}
        assert (await of(old.diff(1))) == {"x": change(27, 30)}
        assert (await of(old.diff(4, 2))) == {"x": change(30, 28)}
        assert (await of(old.diff(2, 3))) == {"x": change(28, lamina.MISSING)}
        assert (await of(old.diff(0, 1))) == {"x": change(lamina.MISSING, 27), "y": change(lamina.MISSING, 450)}
        assert (await of(old.diff(2, 2))) == {}
        versions = {version.number: version for version in await listed(old.log())}
        assert (await of(old.diff(versions[1].time, versions[4]))) == {"x": change(27, 30)}

    async def test_log_lists_the_newest_versions_first(self, old: Any) -> None:
        found = await listed(old.log())
        assert [(one.number, one.message, one.changed_keys) for one in found] == [
            (4, "fourth", ("x",)),
            (3, "third", ("x",)),
            (2, "second", ("x",)),
            (1, "begin", ("x", "y")),
        ]
        assert [one.number for one in await listed(old.log(limit=3))] == [4, 3, 2]
        assert await listed(old.log(limit=0)) == []

    @pytest.mark.crossed
    async def test_history_lists_the_changes_of_a_key(self, old: Any) -> None:
        found = await listed(old.history("x"))
        assert [(one.value, one.version, one.deleted) for one in found] == [
            (27, 1, False),
            (28, 2, False),
            (lamina.MISSING, 3, True),
            (30, 4, False),
        ]
        assert {(one.key, one.author) for one in found} == {("x", "ann")}
        assert [one.message for one in found] == ["begin", "second", "third", "fourth"]
        assert [one.version for one in await listed(old.history("x", newest_first=True, limit=2))] == [4, 3]
        assert await listed(old.history("never")) == []

    async def test_origin_and_blame(self, old: Any) -> None:
        assert (old.origin("x"), old.origin("y")) == (4, 1)
        with pytest.raises(KeyError):
            old.origin("never")
        found = await of(old.blame())
        assert {key: (one.number, one.message) for key, one in found.items()} == {"x": (4, "fourth"), "y": (1, "begin")}
        assert (await of(old.blame("y"))) == {"y": found["y"]}
        with pytest.raises(KeyError):
            await of(old.blame("y", "never"))

    @pytest.mark.crossed
    async def test_revert_some_keys(self, old: Any) -> None:
        old["z"] = 1
        await of(old.commit())
        version = await of(old.revert("x", "z", to=2, message="undo"))
        assert (version.number, version.message) == (6, "undo")
        assert old == {"x": 28, "y": 450}
        with pytest.raises(KeyError):
            await of(old.revert("typo", to=2))

    async def test_revert_the_whole_map(self, old: Any) -> None:
        version = await of(old.revert(to=3))
        assert version.number == 5
        assert (old, old.version) == ({"y": 450}, 5)
        assert (await of(old.revert(to=0))).number == 6
        assert dict(old) == {}
        assert (await of(old.revert(to=0))).number == 6  # the map is the same already
        first = (await listed(old.log()))[-1]
        assert (await of(old.revert(to=first.time))).number == 7
        assert old == {"x": 27, "y": 450}
        assert old.origin("x") == 7

    async def test_revert_conflicts_with_changes_of_others(self, old: Any, other: Any) -> None:
        await of(other.refresh())
        other["y"] = 1
        await of(other.commit())
        with pytest.raises(lamina.ConflictError) as caught:
            await of(old.revert(to=1))
        assert caught.value.conflicts["y"].author == "bob"
        assert (await of(old.revert("x", to=1))).number == 6  # y is not reverted
        assert old == {"x": 27, "y": 1}

    async def test_fork_makes_a_new_config(self, client: Any, old: Any) -> None:
        made = await of(old.fork(f"{old.name}/eu", at=2, message="split"))
        assert (made.name, made.version, made.to_dict()) == (f"{old.name}/eu", 1, {"x": 28, "y": 450})
        version = (await listed(made.log()))[0]
        assert (version.message, version.source_config, version.source_version) == ("split", old.name, 2)
        made["x"] = 5
        await of(made.commit())
        assert (await of(client.config(old.name)))["x"] == 30
        with pytest.raises(lamina.ExistsError) as caught:
            await of(old.fork(f"{old.name}/eu"))
        assert caught.value.reason == "CONFIG_EXISTS"
        assert (await of(old.fork(f"{old.name}/us")))["x"] == 30


class TestLarge:
    async def test_only_the_changed_keys_of_a_large_map_are_read(self, client: Any, cfg: Any, other: Any) -> None:
        """With several pages and more than a thousand keys, only the changed keys are read, and the map is right."""
        cfg |= {f"k{number:04}": "v" * 1000 for number in range(2500)}
        await of(cfg.commit())
        await of(other.refresh())
        assert len(other) == 2502
        other["k0000"] = "changed"
        await of(other.commit())
        del other["k0001"]
        other["new"] = 1
        await of(other.commit())
        cfg["k0002"] = "mine"
        assert (await of(cfg.commit())).number == 5
        again = await of(client.config(cfg.name))
        assert cfg == again
        assert {key: cfg.origin(key) for key in cfg} == {key: again.origin(key) for key in again}
        assert (cfg["k0000"], "k0001" in cfg, cfg["new"], cfg["k0002"]) == ("changed", False, 1, "mine")
        assert len(await of(cfg.blame(*list(cfg)[:1500]))) == 1500
        assert len(await of(cfg.diff(1, 5))) == 2500

    @pytest.mark.crossed
    async def test_long_lists_are_read_page_by_page(self, client: Any, cfg: Any) -> None:
        for number in range(130):
            cfg["n"] = number
            await of(cfg.commit())
        assert [one.number for one in await listed(cfg.log())] == list(range(131, 0, -1))
        assert [one.value for one in await listed(cfg.history("n"))] == list(range(130))
        assert [one.value for one in await listed(cfg.history("n", newest_first=True, limit=3))] == [129, 128, 127]
