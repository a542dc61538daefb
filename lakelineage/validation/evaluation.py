"""The check that a model predicts well on pinned data, or no worse than the version that is in use."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from lakelineage.errors import InvalidInput, MissingExtra, NotTrusted
from lakelineage.inference.scorer import Scorer
from lakelineage.inference.scoring import BATCH_SIZE
from lakelineage.inference.source import of_snapshot
from lakelineage.model import validate
from lakelineage.registry.names import alias_name
from lakelineage.snapshots import Snapshot, load
from lakelineage.validation.data import OnRows
from lakelineage.validation.kinds import Between, Finding, Unknowable, bound, options
from lakelineage.validation.subject import Subject

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: How scikit-learn ends the names of metrics of which less is better; those that end in ``_score`` are the others.
#: Source: scikit-learn user guide, "Metrics and scoring", on the conventions of ``sklearn.metrics``.
_LESS_IS_BETTER = ("_error", "_loss", "_deviance")


@dataclass(frozen=True, kw_only=True)
class Evaluation(OnRows):
    """The model's predictions for pinned rows are good, by a metric of scikit-learn.

    The model sees the rows as ``lake.score`` would show them, in batches; labels and predictions are held in memory.

    Attributes:
        metric: a function of ``sklearn.metrics`` of true and predicted values: "root_mean_squared_error",
            "accuracy_score", "f1_score", …
        label: column with the true values.
        min: the metric is at least this.
        max: at most this.
        against: alias of the version to compare with, on the same rows, such as "champion". Without such a version, or
            if it is the one that is checked, there is nothing to be worse than.
        margin: by how much it has to be better than that, in units of the metric; below 0, how much worse it may be.
        options: further arguments of the metric, such as ``{"average": "macro"}``.
        prediction: column of the predictions that is compared, if the model gives several.
    """

    metric: str
    label: str
    min: float | None = None
    max: float | None = None
    against: str | None = None
    margin: float = 0.0
    options: Mapping[str, Any] | None = None
    prediction: str = "prediction"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.key(self.metric, "metric")
        validate.key(self.label, "label")
        validate.key(self.prediction, "prediction")
        options(self.options, "options")
        bound(self.margin, "margin")
        if self.against is None and not self._bounds:
            raise InvalidInput(f"an evaluation by {self.metric} wants min, max or against, or it could not fail")
        if self.against is not None:
            alias_name(self.against)
        elif self.margin:
            raise InvalidInput(f"margin={self.margin} goes with against, the alias of the version to compare with")

    def pinned(self, engine: "Engine") -> Self:  # noqa: D102
        _function(self.metric)
        made = super().pinned(engine)
        there = load(engine, made.data).schema.names
        if self.label not in there:
            raise InvalidInput(f"label {self.label!r} is no column of the data; it has {there}")
        return made

    @property
    def _bounds(self) -> Between:
        return Between.of(self.min, self.max)

    def judge(self, subject: Subject) -> Finding:  # noqa: D102
        snapshot = self.snapshot(subject)
        value = self._measured(subject, snapshot, subject.version.version)
        told = [f"{self.metric} is {value:g}"] + ([f"wanted {self._bounds}"] if self._bounds else [])
        other, good = None, self._bounds.holds(value)
        if self.against is not None:
            other = subject.checks.named(self.against)
            better, remark = self._compared(subject, snapshot, value, other)
            good, told = good and better, [*told, remark]
        if _trained_on(subject, snapshot):
            told.append("and careful, it was trained on this very version of the data")
        return Finding(good, ", ".join(told), value, other)

    def _compared(self, subject: Subject, snapshot: Snapshot, value: float, other: int | None) -> tuple[bool, str]:
        """Whether it is better than another version by the margin, and that in words."""
        if other is None:
            return True, f"{self.against} names no version to compare with"
        if other == subject.version.version:
            return True, f"it is {self.against} itself"
        theirs = self._theirs(subject, snapshot, other)
        gain = theirs - value if self.metric.endswith(_LESS_IS_BETTER) else value - theirs
        wanted = f"better by {self.margin:g} than" if self.margin > 0 else "no worse than"
        if self.margin < 0:
            wanted = f"at most {-self.margin:g} worse than"
        return gain >= self.margin, f"wanted {wanted} {theirs:g} of {self.against}, version {other}"

    def _theirs(self, subject: Subject, snapshot: Snapshot, other: int) -> float:
        """What the other version measures. That it cannot be measured is no fault of the one that is checked."""
        what = f"{self.against}, version {other}, cannot be compared with"
        try:
            theirs = self._measured(subject, snapshot, other)
        except NotTrusted:  # whoever runs the checks has to decide
            raise
        except Exception as error:
            raise Unknowable(f"{what}: {type(error).__name__}: {error}") from error
        if math.isnan(theirs):
            raise Unknowable(f"{what}: its {self.metric} is NaN")
        return theirs

    def _measured(self, subject: Subject, snapshot: Snapshot, version: int) -> float:
        import pyarrow as pa

        batches = list(self._predicted(subject, snapshot, version))
        if not batches:
            raise Unknowable(f"there are no rows to evaluate on{f' where {self.where}' if self.where else ''}")
        true, predicted = (pa.chunked_array([batch.column(i) for batch in batches]) for i in (0, 1))
        if true.null_count:
            raise Unknowable(
                f"{true.null_count:,} of {len(true):,} rows have no {self.label!r}; leave them out by where"
            )
        function = _function(self.metric)
        return float(function(_plain(true), _plain(predicted), **(self.options or {})))

    def _predicted(self, subject: Subject, snapshot: Snapshot, version: int) -> "Iterator[pa.RecordBatch]":
        """True and predicted values, in batches."""
        source, model = of_snapshot(snapshot), subject.model(version)
        others = [name for name in source.schema.names if name != self.label] if model.inputs is None else None
        begun = Scorer(subject.place(version), source, others, BATCH_SIZE, None).start(model)
        if begun is None:
            return
        schema, batches = begun
        if self.prediction not in schema.names:
            there = [name for name in schema.names if name.startswith("prediction")]
            raise InvalidInput(f"the model gives no {self.prediction!r}; it gives {there}: choose by prediction=")
        for batch in batches:
            yield batch.select([self.label, self.prediction])


def _trained_on(subject: Subject, snapshot: Snapshot) -> bool:
    sql = "select 1 from inputs where run_id = ? and snapshot_id = ? and context = 'training' limit 1"
    return subject.run is not None and bool(subject.engine.query(sql, (subject.run["run_id"], snapshot.id)).num_rows)


def _function(name: object) -> Callable[..., Any]:
    """A metric of scikit-learn, by its name.

    Raises:
        InvalidInput: it has none of this name.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtra("evaluating models needs scikit-learn: pip install lakelineage[mlflow]") from error
    suffixes = ("_score", *_LESS_IS_BETTER)
    known = [each for each in metrics.__all__ if each.endswith(suffixes)]
    if name not in known:
        raise InvalidInput(f"metric {name!r} is none of scikit-learn's; choose one of {', '.join(sorted(known))}")
    found: Callable[..., Any] = getattr(metrics, str(name))
    return found


def _plain(values: "pa.ChunkedArray") -> Any:
    """Values as NumPy has them."""
    return values.to_pandas().to_numpy()
