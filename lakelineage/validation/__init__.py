"""Named checks that versions of registered models have to pass: what there is, and running them."""

from lakelineage.registry.checks import CheckResult
from lakelineage.validation.data import InputSchema
from lakelineage.validation.evaluation import Evaluation
from lakelineage.validation.fresh import LoadAndPredict
from lakelineage.validation.kinds import Check
from lakelineage.validation.known import Documentation, Metric, Signature
from lakelineage.validation.run import Validation

__all__ = [
    "Check",
    "CheckResult",
    "Documentation",
    "Evaluation",
    "InputSchema",
    "LoadAndPredict",
    "Metric",
    "Signature",
    "Validation",
]
