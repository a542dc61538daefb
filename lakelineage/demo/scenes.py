"""The scenes of the demo, in order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.demo import folder, owner, training
from lakelineage.demo.teller import Teller
from lakelineage.errors import LakelineageError, SnapshotLost

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage import Lake, Snapshot

MODEL = "diabetes"
#: Patients of the batch that is scored, and the one whose prediction is traced.
BATCH, PATIENT = 100, 7


@dataclass
class Story:
    """What the scenes share.

    Attributes:
        lake: the lake.
        place: its folder.
        tell: how to speak.
        run_ids: runs of the published table, in its order.
        metrics: their metrics as logged, by run.
        best_run: run with the least RMSE.
    """

    lake: "Lake"
    place: Path
    tell: Teller
    run_ids: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    best_run: str = ""

    @property
    def source(self) -> Path:
        """The table that the models are trained on. It is somebody else's."""
        return self.place / "data" / "diabetes"

    @property
    def patients(self) -> Path:
        """The table that is scored."""
        return self.place / "data" / "patients"

    @property
    def predictions(self) -> Path:
        """The table that scoring writes."""
        return self.place / "data" / "predictions"

    def shown(self, place: str) -> str:
        """An absolute place inside the folder, as the user named the folder."""
        base = f"{self.place.absolute()}/"
        return f"{self.place}/{place.removeprefix(base)}" if place.startswith(base) else place


def load(story: Story) -> None:
    """The sample becomes a Delta table."""
    from pyarrow import csv

    story.tell.scene("A table, owned by somebody else")
    rows = csv.read_csv(folder.sample("diabetes.csv"))
    owner.create(story.source, rows)
    story.tell.say(
        f"{rows.num_rows} patients of scikit-learn's diabetes data, {rows.num_columns} columns, "
        f"are now the Delta table [bold]{story.source}[/bold], version 0."
    )


def train(story: Story) -> None:
    """Three models on a pinned version, and the published table."""
    tell = story.tell
    tell.scene("Three ElasticNet models, trained on a pinned version")
    tell.code(
        f'lake = ll.open("{story.place}")\n'
        "for alpha, l1_ratio in [(0.01, 1.0), (0.01, 0.75), (0.01, 0.01)]:\n"
        '    with lake.start_run(experiment="diabetes", name=f"enet alpha={alpha} l1={l1_ratio}") as run:\n'
        f'        rows = run.use("{story.source}", version=0).to_pandas()\n'
        "        model, metrics, held_out = train(rows, alpha, l1_ratio)\n"
        '        run.log_params({"alpha": alpha, "l1_ratio": l1_ratio})\n'
        "        run.log_metrics(metrics)\n"
        '        run.log_model(model, "model", input_example=held_out.head(5))'
    )
    with tell.working("training; the first model that is logged loads mlflow …"):
        for published in training.TABLE:
            _train_one(story, published)
    found = [
        (p.alpha, p.l1_ratio, *_printed(story.metrics[r])) for p, r in zip(training.TABLE, story.run_ids, strict=True)
    ]
    tell.table(["alpha", "l1_ratio", "RMSE", "MAE", "R2"], found)
    tell.result("✓ equal to the published table in every printed digit")


def _train_one(story: Story, published: training.Published) -> None:
    alpha, l1_ratio = published.alpha, published.l1_ratio
    with story.lake.start_run(experiment="diabetes", name=f"enet alpha={alpha} l1={l1_ratio}") as run:
        pinned = run.use(story.source, version=0)
        model, metrics, features = training.train(pinned.to_pandas(), alpha, l1_ratio)
        run.log_params({"alpha": alpha, "l1_ratio": l1_ratio})
        run.log_metrics(metrics)
        run.log_model(model, "model", input_example=features.head(5))
    training.require_published(published, metrics)
    story.run_ids.append(run.id)
    story.metrics[run.id] = metrics


def _printed(metrics: dict[str, float]) -> list[str]:
    return [f"{metrics[name]:.4f}" for name in ("rmse", "mae", "r2")]


def lose_the_source(story: Story) -> None:
    """The owner changes the table, vacuums it and cleans its log."""
    from pyarrow import csv

    tell = story.tell
    tell.scene("The owner moves on: append, update, delete, VACUUM, log clean-up")
    appended = owner.append(story.source, csv.read_csv(folder.sample("diabetes.csv")).slice(0, 40))
    updated, second = owner.update(story.source, "age > 0.05", "bp", "bp * 1.1")
    deleted, third = owner.delete(story.source, "bmi > 0.1")
    removed = owner.forget(story.source)
    acts = [("append 40 rows", appended), (f"update {updated} rows", second), (f"delete {deleted} rows", third)]
    tell.table(["act", "version"], acts)
    tell.say(
        f"VACUUM with zero retention removed {removed} data files; the old log is gone too. Delta's own time travel:"
    )
    tell.code(f'DeltaTable("{story.source}", version=0)')
    error = owner.time_travel(story.source, 0)
    if error is None:
        raise LakelineageError("time travel to version 0 still works, so the demo proves nothing; please report it")
    tell.result(f"✗ time travel failed: {error}", style="red")


def reproduce(story: Story) -> None:
    """The training rows come back all the same, and so do the metrics, to the last bit."""
    tell = story.tell
    tell.scene("The training rows of a run come back all the same")
    run = story.lake.run(story.run_ids[0])
    tell.code(f'run = lake.run("{run.id}")\nrows = run.inputs["diabetes"].to_pandas()')
    pinned = run.inputs["diabetes"]
    rows = pinned.to_pandas()
    tell.say(
        f"{len(rows)} rows of version {pinned.version}, protected as [bold]{pinned.protection}[/bold]. Trained again:"
    )
    _, again, _ = training.train(rows, float(run.params["alpha"]), float(run.params["l1_ratio"]))
    compared = [(name, float(run.metrics[name]).hex(), value.hex()) for name, value in again.items()]
    tell.table(["metric", "logged", "trained again"], compared)
    wrong = [name for name, logged, value in compared if logged != value]
    if wrong:
        raise LakelineageError(
            f"{', '.join(wrong)} of run {run.id} came out otherwise when trained again; please report it"
        )
    tell.result("✓ metrics equal to the last bit")


#: What owners do, and what a pin of each level survives of it.
_FATES = (
    ("log clean-up", owner.clean_log, ("reference", "protected", "archived")),
    ("VACUUM", owner.vacuum, ("protected", "archived")),
    ("VACUUM RETAIN 0 HOURS", owner.vacuum_at_once, ("archived",)),
    ("the table is dropped", owner.drop, ("archived",)),
)


def protect(story: Story) -> None:
    """What a pin survives at each level: three copies of the table, and everything that their owner does to them."""
    from pyarrow import csv

    tell, lake = story.tell, story.lake
    tell.scene("Three levels of protection, and what each survives")
    rows = csv.read_csv(folder.sample("diabetes.csv"))
    levels = ("reference", "protected", "archived")
    places = {level: story.place / "data" / level for level in levels}
    tell.code(
        f'lake.snapshot("{places["reference"]}", protection="reference")\n'
        f'lake.pins.protect(lake.snapshot("{places["protected"]}", protection="reference"))  # the owner\'s act\n'
        f'lake.snapshot("{places["archived"]}", protection="archived")'
    )
    pins = {}
    for level, place in places.items():
        owner.create_forgetful(place, rows)
        pins[level] = lake.snapshot(place, protection="archived" if level == "archived" else "reference")
    lake.pins.protect(pins["protected"])
    for place in places.values():
        owner.replace_all(place, rows.slice(0, 10))
    told = [("overwritten", *("✓" for _ in levels))]
    for act, do, survivors in _FATES:
        for place in places.values():
            do(place)
        kept = tuple(level for level in levels if _comes_back(pins[level], rows))
        if kept != survivors:
            raise LakelineageError(f"after {act}, {kept} can be read back, not {survivors}; please report it")
        told.append((act, *("✓" if level in kept else "✗ lost" for level in levels)))
    tell.table(["what the owner does", *levels], told)
    tell.result("✓ each level survived what it promises; what was lost was said, never read wrongly")


def _comes_back(pin: "Snapshot", rows: "pa.Table") -> bool:
    try:
        return bool(pin.to_arrow().equals(rows))
    except SnapshotLost:
        return False


_WHICH = """select r.name, r.metrics['rmse'] as rmse, s.version as data_version, r.run_id
from runs r join inputs i using (run_id) join snapshots s using (snapshot_id)
group by all order by rmse"""


def ask(story: Story) -> None:
    """SQL tells which run was best, on which data."""
    tell = story.tell
    tell.scene("Which run was best, and on which version of the data? Ask in SQL")
    tell.code(f'lake.sql("""{_WHICH}""")')
    found = story.lake.sql(_WHICH).to_pylist()
    tell.table(list(found[0]), [[_short(v) for v in row.values()] for row in found], mark_first=True)
    story.best_run = found[0]["run_id"]


def _short(value: Any) -> Any:
    """A number in four digits, a run id by its first sixteen."""
    if isinstance(value, str) and len(value) == 32:
        return f"{value[:16]}…"
    return round(value, 4) if isinstance(value, float) else value


def promote(story: Story) -> None:
    """What was trained on version 0 is found by lineage, registered, and the best is made champion."""
    tell, lake = story.tell, story.lake
    tell.scene("The best model, chosen by lineage")
    source = f"{story.source}@0"
    tell.code(
        f'touched = lake.lineage("{source}").downstream().to_pylist()\n'
        'for run_id in sorted(row["node"].removeprefix("run:") for row in touched if row["kind"] == "run"):\n'
        f'    lake.models.register("{MODEL}", run_id)\n'
        f'best = lake.models.find(trained_on="{story.source}", version=0, order_by="metrics.rmse")[0]\n'
        f'lake.models.set_alias("{MODEL}", "champion", best.version)'
    )
    for run_id in _runs_in(lake.lineage(source).downstream()):
        lake.models.register(MODEL, run_id)
    best = lake.models.find(trained_on=str(story.source), version=0, order_by="metrics.rmse")[0]
    if best.run_id != story.best_run:
        raise LakelineageError(f"lineage chose run {best.run_id}, SQL chose {story.best_run}; please report it")
    champion = lake.models.set_alias(MODEL, "champion", best.version, comment="least RMSE on version 0")
    tell.result(f"✓ {champion.uri} is the champion: least RMSE of {len(lake.models.versions(MODEL))} on version 0")


def _runs_in(found: "pa.Table") -> list[str]:
    """Ids of the runs in a frame of lineage, oldest first."""
    return sorted(row["node"].removeprefix("run:") for row in found.to_pylist() if row["kind"] == "run")


def score(story: Story) -> None:
    """A batch of patients is scored."""
    import pyarrow as pa
    from pyarrow import csv

    tell = story.tell
    tell.scene("A batch of patients, scored by the champion")
    rows = csv.read_csv(folder.sample("diabetes.csv")).slice(0, BATCH).drop_columns([training.TARGET])
    owner.create(story.patients, rows.add_column(0, "patient_id", pa.array(range(1, BATCH + 1), pa.int64())))
    tell.code(
        f'lake.score("models:/{MODEL}@champion", input="{story.patients}",\n           output="{story.predictions}")'
    )
    done = story.lake.score(f"models:/{MODEL}@champion", str(story.patients), str(story.predictions))
    where = story.shown(done.output_uri)
    tell.result(f"✓ {done.rows} predictions by {MODEL} version {done.model_version}, in {where}@{done.output_version}")


def trace_back(story: Story) -> None:
    """From one prediction back to the version of the input."""
    tell = story.tell
    where = f"patient_id = {PATIENT}"
    tell.scene("From one prediction back to the data")
    tell.code(f'lake.trace_prediction("{story.predictions}", "{where}")')
    traced = story.lake.trace_prediction(str(story.predictions), where).to_pylist()[0]
    names = (
        "prediction",
        "_model",
        "_run_id",
        "_input_uri",
        "_input_version",
        "_trained_on",
        "_trained_version",
        "_code",
    )
    tell.table(["of patient 7", ""], [(n, story.shown(str(traced[n]))) for n in names])
    tell.code(f'print(lake.lineage("{story.predictions}@0").tree("upstream"))')
    tell.tree(story.lake.lineage(f"{story.predictions}@0").tree("upstream"), story.shown)


def blast_radius(story: Story) -> None:
    """From the version of the source forward to all that it touched."""
    tell = story.tell
    tell.scene("And forward: all that version 0 of the source touched")
    tell.code(f'print(lake.lineage("{story.source}@0").tree("downstream"))')
    asked = story.lake.lineage(f"{story.source}@0")
    tell.tree(asked.tree("downstream"), story.shown)
    counts = ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in asked.impact().counts.items())
    tell.result(f"✓ version 0 of {story.source} touched {counts}")


ALL: tuple[Callable[[Story], None], ...] = (
    load,
    train,
    lose_the_source,
    reproduce,
    protect,
    ask,
    promote,
    score,
    trace_back,
    blast_radius,
)
