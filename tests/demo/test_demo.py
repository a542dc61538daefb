"""Laws of the demo: its numbers, what it proves, and that what it tells people to type works."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import lakelineage
from lakelineage.demo import folder, training
from lakelineage.errors import AlreadyExists, LakelineageError


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(lakelineage.__file__).parents[1])}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


@dataclass(frozen=True)
class Played:
    """A demo that was played in a process of its own."""

    cwd: Path
    text: str

    @property
    def place(self) -> Path:
        return self.cwd / folder.DEFAULT


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    cwd = tmp_path_factory.mktemp("demo")
    done = _run([sys.executable, "-m", "lakelineage", "demo"], cwd)
    assert done.returncode == 0, done.stderr
    return Played(cwd, done.stdout)


def test_the_published_table_is_printed_in_its_digits(played: Played) -> None:
    rows = [line.split() for line in played.text.splitlines()]
    for published in training.TABLE:
        expected = [str(published.alpha), str(published.l1_ratio), published.rmse, published.mae, published.r2]
        assert expected in rows


def test_the_table_is_that_of_the_paper_trail() -> None:
    assert [(p.rmse, p.mae, p.r2) for p in training.TABLE] == [
        ("63.2469", "51.0518", "0.3952"),
        ("65.2900", "53.7593", "0.3555"),
        ("71.4037", "60.0913", "0.2291"),
    ]


def test_time_travel_really_fails_and_the_reload_is_equal_to_the_last_bit(played: Played) -> None:
    assert "time travel failed: " in played.text
    with pytest.raises(Exception, match="No files in log segment"):
        DeltaTable(str(played.place / "data" / "diabetes"), version=0)
    assert "metrics equal to the last bit" in played.text
    pairs = re.findall(r"(\w+) +(-?0x[\d.a-fp+-]+) +(-?0x[\d.a-fp+-]+)", played.text)
    assert [name for name, _, _ in pairs] == ["rmse", "mae", "r2"]
    assert all(logged == again for _, logged, again in pairs)


def test_each_level_is_shown_to_survive_what_it_promises(played: Played) -> None:
    told = {line.strip()[:21].strip(): re.findall("✓|✗", line) for line in played.text.splitlines() if "✓  " in line}
    assert told["overwritten"] == told["log clean-up"] == ["✓", "✓", "✓"]
    assert told["VACUUM"] == ["✗", "✓", "✓"]
    assert told["VACUUM RETAIN 0 HOURS"] == told["the table is dropped"] == ["✗", "✗", "✓"]
    with lakelineage.open(played.place, create=False) as lake:
        pins = [row for row in lake.pins.list().to_pylist() if row["run_id"] is None and "/data/" in row["table_uri"]]
    levels = {row["table_uri"].rpartition("/")[2]: (row["protection"], row["readable"]) for row in pins}
    assert levels["archived"] == ("archived", True)
    assert levels["protected"] == ("protected", False)
    assert levels["reference"] == ("reference", False)


def test_the_lake_says_what_the_demo_told(played: Played) -> None:
    with lakelineage.open(played.place, create=False) as lake:
        best = lake.models.get("diabetes", "champion")
        assert f"{lake.run(best.run_id).metrics['rmse']:.4f}" == "63.2469"
        source = f"{played.place / 'data' / 'diabetes'}@0"
        assert lake.lineage(source).impact().counts == {"run": 3, "artifact": 3, "model": 3, "dataset": 1}
        (traced,) = lake.trace_prediction(str(played.place / "data" / "predictions"), "patient_id = 7").to_pylist()
        assert (traced["_run_id"], traced["_trained_version"], traced["_model"]) == (best.run_id, 0, best.uri)
    assert DeltaTable(str(played.place / "data" / "predictions")).to_pyarrow_table().num_rows == 100


def test_the_commands_at_the_end_work_as_they_are_printed(played: Played) -> None:
    commands = [line.strip()[2:] for line in played.text.splitlines() if line.startswith("  $ ")]
    assert len(commands) == 3
    runs, reload, lineage = (_typed(command, played.cwd) for command in commands)
    assert runs.split()[0] == "run"
    assert len(runs.splitlines()) == 4
    target = shlex.split(commands[1])[-1]
    assert target in reload
    assert pq.read_table(played.cwd / target).num_rows == 442
    assert "touched 3 runs, 3 artifacts, 3 models, 1 dataset" in lineage


def _typed(command: str, cwd: Path) -> str:
    """What a command prints when it is pasted into a shell that finds this environment's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(lakelineage.__file__).parents[1])}
    done = subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_that_is_not_the_demo_s_own_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    for fresh in (False, True):
        with pytest.raises(AlreadyExists, match="--lake DIR"):
            folder.prepare(tmp_path, fresh=fresh)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"]
    file = tmp_path / "thesis.tex"
    with pytest.raises(AlreadyExists):
        folder.prepare(file, fresh=True)
    assert file.read_text() == "years"


def test_a_refused_folder_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    done = _run([sys.executable, "-m", "lakelineage", "demo", "--lake", "mine"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "not the demo's own" in done.stderr


def test_an_earlier_demo_is_kept_unless_a_fresh_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = folder.prepare(None, fresh=False)
    (first / "lake.json").write_text("old")
    assert folder.prepare(None, fresh=False) == Path(f"{folder.DEFAULT}-2")
    with pytest.raises(AlreadyExists, match="--fresh"):
        folder.prepare(first, fresh=False)
    assert (first / "lake.json").read_text() == "old"
    assert folder.prepare(first, fresh=True) == first
    assert [f.name for f in first.iterdir()] == [folder.MARK]


def test_a_number_that_was_not_published_ends_the_demo() -> None:
    good = {"rmse": 63.24689, "mae": 51.05182, "r2": 0.395177}
    training.require_published(training.TABLE[0], good)
    with pytest.raises(LakelineageError, match=r"rmse .* is 63\.2471, but 63\.2469"):
        training.require_published(training.TABLE[0], good | {"rmse": 63.2471})


def test_the_sample_is_found_from_the_repository() -> None:
    assert folder.sample("diabetes.csv").read_text().count("\n") == 443
