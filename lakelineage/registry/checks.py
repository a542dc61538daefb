"""Which named checks a version has passed: the one place that rules ask.

A check that passed is told by the tag ``check.<name>`` with the value ``passed``; any other value, or none, is a check
that has not passed. Whoever runs checks sets these tags, and that is an act of the record like any other.
"""

from collections.abc import Mapping

from lakelineage.registry.states import State

TAG = "check."
PASSED = "passed"


def results(tags: Mapping[str, str]) -> dict[str, str]:
    """Each check of a version and its result, by name.

    Args:
        tags: of the version.
    """
    return {key.removeprefix(TAG): value for key, value in sorted(tags.items()) if key.startswith(TAG)}


def passed(state: State) -> frozenset[str]:
    """Names of the checks that a version has passed.

    Args:
        state: the newest row of the version in ``model_versions_history``.
    """
    return frozenset(name for name, result in results(dict(state["tags"] or ())).items() if result == PASSED)
