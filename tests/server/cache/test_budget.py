"""A cache that is bounded in bytes."""

from lamina_server.cache.budget import ByteBudget


def test_the_value_that_was_used_least_recently_goes_first() -> None:
    budget: ByteBudget[str, str] = ByteBudget(100)
    for key in "abc":
        budget.put(key, key.upper(), 30)
    assert budget.get("a") == "A"
    budget.put("d", "D", 30)
    assert list(budget) == ["c", "a", "d"]
    assert budget.get("b") is None


def test_a_value_counts_with_its_newest_size() -> None:
    budget: ByteBudget[str, str] = ByteBudget(100)
    budget.put("a", "A", 90)
    budget.put("a", "A2", 10)
    budget.put("b", "B", 90)
    assert (budget.get("a"), budget.get("b")) == ("A2", "B")
    budget.drop("b")
    budget.put("c", "C", 90)
    assert (budget.get("a"), "b" in budget, budget.get("c")) == ("A2", False, "C")


def test_a_value_beyond_the_limit_is_not_held_and_displaces_no_other() -> None:
    budget: ByteBudget[str, str] = ByteBudget(100)
    budget.put("a", "A", 60)
    budget.put("b", "B", 30)
    budget.put("c", "C", 101)
    assert list(budget) == ["a", "b"]
    budget.put("a", "A, grown", 101)
    assert list(budget) == ["b"]
    budget.put("d", "D", 70)
    assert list(budget) == ["b", "d"]
