"""What descends from versions of a table, on a lake where all of it happened."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import lakelineage as ll
from lakelineage.cli.app import main
from lakelineage.errors import InvalidInput, SnapshotNotFound

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("impact")


@pytest.fixture(scope="module")
def homes(folder: Path) -> str:
    """A table of three versions, 0 to 2."""
    place = str(folder / "homes")
    for count in (10, 20, 30):
        pl.DataFrame({"size": [float(n) for n in range(count)], "rent": [9.0 * n for n in range(count)]}).write_delta(
            place, mode="overwrite"
        )
    return place


def trained(lake: ll.Lake, source: str, version: int | None, name: str) -> str:
    """Register a model that was trained on a version of a table; gives its URI."""
    with lake.start_run("rents") as run:
        frame = run.use(source, version=version).to_pandas()
        run.log_model(
            LinearRegression().fit(frame[["size"]], frame["rent"]), "model", input_example=frame[["size"]][:2]
        )
    return lake.models.register(name, run.id).uri


@pytest.fixture(scope="module")
def story(homes: str, folder: Path) -> Iterator[ll.Lake]:
    """Versions 1 to 3 of a model of versions 0 to 2 of the table; the second is in Production."""
    lake = ll.open(folder / "lake")
    for version in range(3):
        uri = trained(lake, homes, version, "rents")
        lake.score(uri, homes, folder / f"scored-{version}", columns=["size"])
    lake.score("models:/rents/1", homes, folder / "scored-0", columns=["size"])
    lake.models.set_stage("rents", 2, "Production")
    lake.models.set_stage("rents", 3, "Archived")
    lake.models.set_alias("rents", "champion", 3)
    with lake.start_run("rents") as run:  # logged, never registered, and scored with
        run.log_model(LinearRegression().fit([[1.0]], [2.0]), "model")
    yield lake
    lake.close()


def numbers(impact: object) -> list[int]:
    return impact.models.column("version").to_pylist()  # type: ignore[attr-defined]


def test_models_and_predictions_of_versions_before_a_fix_are_one_call(story: ll.Lake, homes: str, folder: Path) -> None:
    before = story.impact(homes, "< 2")
    assert before.versions == (0, 1)
    assert numbers(before) == [1, 2]
    assert before.models.column("trained_version").to_pylist() == [0, 1]
    written = sorted(
        zip(*(before.predictions.column(c).to_pylist() for c in ("table_uri", "table_version")), strict=True)
    )
    assert written == [(f"{folder}/scored-0", 0), (f"{folder}/scored-0", 1), (f"{folder}/scored-1", 0)]
    assert dict(before.counts) == {"versions": 2, "runs": 2, "models": 2, "predictions": 3}
    assert str(before).endswith("2 runs, 2 model versions, 3 writes of predictions")


def test_a_stage_and_an_alias_narrow_models_and_what_they_predicted(story: ll.Lake, homes: str, folder: Path) -> None:
    production = story.impact(homes, stage="production")
    assert numbers(production) == [2]
    assert production.predictions.column("table_uri").to_pylist() == [f"{folder}/scored-1"]
    champion = story.impact(homes, alias="champion")
    assert numbers(champion) == [3]
    assert story.impact(homes, "< 2", alias="champion").counts["models"] == 0
    assert numbers(story.impact(homes, stage="Staging")) == []


def test_descent_goes_through_tables_that_were_derived(lake: ll.Lake, homes: str, tmp_path: Path) -> None:
    scored = str(tmp_path / "scored")
    lake.score(trained(lake, homes, 0, "rents"), homes, scored, columns=["size"])
    trained(lake, scored, 0, "second")
    told = lake.impact(homes, 0).models.select(["name", "version", "trained_version"]).to_pylist()
    assert told == [
        {"name": "rents", "version": 1, "trained_version": 0},
        {"name": "second", "version": 1, "trained_version": None},
    ]


def test_files_that_were_scored_with_unregistered_count_where_no_stage_is_asked_for(
    lake: ll.Lake, homes: str, tmp_path: Path
) -> None:
    with lake.start_run("rents") as run:
        frame = run.use(homes).to_pandas()
        logged = run.log_model(LinearRegression().fit(frame[["size"]], frame["rent"]), "model")
    lake.score(logged.uri, homes, tmp_path / "scored", columns=["size"])
    assert lake.impact(homes).predictions.column("model").to_pylist() == [logged.node]
    assert lake.impact(homes, stage="Production").predictions.num_rows == 0


def test_the_past_is_told_as_it_was(story: ll.Lake, homes: str) -> None:
    from datetime import UTC, datetime

    moment = datetime.now(UTC)
    story.models.set_alias("rents", "newer", 1)
    assert numbers(story.impact(homes, alias="newer")) == [1]
    with story.at(moment) as then:
        assert numbers(then.impact(homes, alias="newer")) == []


def test_what_cannot_be_answered_is_said_so(story: ll.Lake, homes: str, tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFound, match="nowhere"):
        story.impact(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="Shop"):
        story.impact(homes, stage="Shop")
    with pytest.raises(InvalidInput, match="newest"):
        story.impact(homes, "newest")
    assert story.impact(homes, "> 7").counts == {"versions": 0, "runs": 0, "models": 0, "predictions": 0}


def test_the_command_tells_the_same(story: ll.Lake, homes: str, capsys: pytest.CaptureFixture[str]) -> None:
    story.flush()
    assert main(["--lake", story.uri, "impact", homes, "--version", "< 2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == dict(story.impact(homes, "< 2").counts)
    assert [model["version"] for model in told["models"]] == [1, 2]
    assert main(["--lake", story.uri, "impact", homes, "--stage", "Production"]) == 0
    assert "1 model version" in capsys.readouterr().out


def test_a_stage_chooses_and_names_a_version(story: ll.Lake, homes: str) -> None:
    assert [v.version for v in story.models.find(trained_on=homes, stage="Production")] == [2]
    assert story.models.resolve("models:/rents/production").version == 2
    with pytest.raises(ll.errors.ModelNotFound, match="Staging"):
        story.models.resolve("models:/rents/Staging")
