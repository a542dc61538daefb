"""Which named checks a version has passed: the one place that rules ask.

A check that passed is told by the tag ``check.<name>`` with the value ``passed``; any other value, or none, is a check
that has not passed. Whoever runs checks sets these tags, and that is an act of the record like any other.
"""

from lakelineage.registry.states import State

TAG = "check."
PASSED = "passed"


def passed(state: State) -> frozenset[str]:
    """Names of the checks that a version has passed.

    Args:
        state: the newest row of the version in ``model_versions_history``.
    """
    tags: dict[str, str] = dict(state["tags"] or ())
    return frozenset(key.removeprefix(TAG) for key, value in tags.items() if key.startswith(TAG) and value == PASSED)
