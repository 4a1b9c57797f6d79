"""Run a flow."""

from collections.abc import Callable
from typing import Any

from lamina._flows.effects import Effect, Flow, Result


def run(flow: Flow[Result], perform: Callable[[Effect], Any]) -> Result:
    """Perform a flow's effects until it returns; errors are thrown into the flow."""
    try:
        effect = next(flow)
        while True:
            try:
                result = perform(effect)
            except BaseException as error:  # noqa: BLE001 - it is raised in the flow
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        result_of_flow: Result = stop.value
        return result_of_flow
