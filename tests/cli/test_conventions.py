"""Laws that all commands share: options, exit codes, errors, pipes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakelineage

Cli = Callable[..., Any]
COMMANDS = (
    "demo",
    "init",
    "runs",
    "run",
    "start",
    "log",
    "end",
    "tag",
    "note",
    "delete",
    "restore",
    "experiments",
    "compare",
    "history",
    "artifacts",
    "source",
    "sql",
    "snapshot",
    "reload",
    "diff",
    "lineage",
    "models",
    "audit",
    "score",
    "flush",
    "maintain",
    "import",
    "export",
    "vacuum",
    "doctor",
)


def test_help_names_every_command_and_each_has_help_with_an_example(call: Cli) -> None:
    help_ = call("--help")
    assert help_.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in help_.stdout
        own = call(command, "-h")
        assert own.returncode == 0
        assert (
            f"lakelineage {'--lake mylake ' if command in ('flush', 'maintain', 'doctor') else ''}{command}"
            in own.stdout
        )
        assert "--lake" in own.stdout
        assert "--json" in own.stdout


def test_version_is_that_of_the_package(call: Cli) -> None:
    assert call("--version").stdout == f"lakelineage {lakelineage.__version__}\n"


def test_nothing_typed_shows_help_and_is_no_success(call: Cli) -> None:
    done = call()
    assert done.returncode == 2
    assert "Runs:" in done.stdout


@pytest.mark.parametrize("order", [("--lake", "{lake}", "--json", "runs"), ("runs", "--json", "--lake", "{lake}")])
def test_lake_and_json_go_before_and_after_the_command(place: Any, order: tuple[str, ...], call: Cli) -> None:
    done = call(*(word.format(lake=place.lake) for word in order))
    assert len(json.loads(done.stdout)) == 3


def test_what_follows_the_command_holds_against_what_precedes_it(place: Any, answer: Cli) -> None:
    assert len(answer("--lake", "/nowhere/at/all", "runs", "--lake", place.lake)) == 3


def test_the_lake_may_come_from_the_environment(place: Any, answer: Cli) -> None:
    assert len(answer("runs", env={"LAKELINEAGE_URI": str(place.lake)})) == 3


def test_no_lake_is_a_usage_error_that_names_the_remedy(tmp_path: Path, call: Cli) -> None:
    done = call("runs", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(word in done.stderr for word in ("--lake", "LAKELINEAGE_URI", "lakelineage init"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "ffff"), "run_not_found"),
        (("snapshot", "/no/such/table"), "table_not_found"),
        (("reload", "ffff"), "run_not_found"),
        (("lineage", "model:none@1"), "model_not_found"),
        (("models", "show", "none"), "model_not_found"),
        (("score", "models:/none/1", "{source}", "{folder}/out"), "model_not_found"),
    ],
)
def test_our_errors_are_one_line_on_stderr_and_exit_1(
    place: Any, arguments: tuple[str, ...], code: str, call: Cli
) -> None:
    words = [word.format(source=place.source, folder=place.folder) for word in arguments]
    plain = call("--lake", place.lake, *words)
    assert (plain.returncode, plain.stdout) == (1, "")
    assert plain.stderr.startswith("error: ")
    assert plain.stderr.count("\n") == 1
    told = call("--lake", place.lake, *words, "--json")
    assert (told.returncode, told.stdout) == (1, "")
    error = json.loads(told.stderr)["error"]
    assert error["code"] == code
    assert f"error: {error['message']}\n" == plain.stderr


def test_a_mistake_in_sql_is_marked_below_its_line_and_json_has_it_on_one(place: Any, call: Cli) -> None:
    plain = call("--lake", place.lake, "sql", "selct 1")
    assert (plain.returncode, plain.stdout) == (1, "")
    first, line, mark = plain.stderr.splitlines()
    assert first.startswith("error: ")
    assert line[mark.index("^") : mark.rindex("^") + 1] == "selct"
    error = json.loads(call("--lake", place.lake, "sql", "selct 1", "--json").stderr)["error"]
    assert error == {"code": "invalid_query", "message": " ".join(plain.stderr.removeprefix("error: ").split())}


def test_an_error_that_repeats_what_was_typed_commands_no_terminal(place: Any, call: Cli) -> None:
    done = call("--lake", place.lake, "sql", "\x1b[31mselct 1")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr


def test_a_model_that_is_not_there_names_the_command_that_lists_models(place: Any, call: Cli) -> None:
    assert "`lakelineage models`" in call("--lake", place.lake, "models", "show", "nope").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "--limit", "0"),
        ("runs", "--nonsense"),
        ("nonsense",),
        ("sql",),
        ("sql", " "),
        ("sql", "select 1", "--csv", "--json"),
        ("demo", "--json"),
        ("snapshot", "--version", "1"),
        ("models", "alias", "m", "champion"),
        ("models", "delete", "m@champion"),
        ("models", "tag", "m", "no value"),
        ("lineage", "x", "--path-to", "y", "--upstream"),
    ],
)
def test_what_is_typed_wrongly_exits_2_with_one_line(place: Any, arguments: tuple[str, ...], call: Cli) -> None:
    done = call("--lake", place.lake, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_command_that_reads_makes_no_lake(tmp_path: Path, call: Cli) -> None:
    assert call("--lake", tmp_path / "lake", "runs").returncode == 1
    assert not (tmp_path / "lake").exists()


def test_a_reader_that_goes_away_is_no_noise(place: Any) -> None:
    command = [sys.executable, "-m", "lakelineage", "--lake", str(place.lake), "sql", "select * from range(300000)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(120) == 141
        assert process.stderr.read() == ""


def test_no_colour_where_nobody_looks_or_nobody_wants_it(place: Any) -> None:
    import pty

    def on_a_terminal(**env: str) -> bytes:
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "lakelineage", "--lake", str(place.lake), "runs"]
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **env}
        process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment)
        os.close(slave)
        seen = b""
        while chunk := _read(master):
            seen += chunk
        assert process.wait(120) == 0
        os.close(master)
        return seen

    assert place.run_ids[0][:16].encode() in on_a_terminal()
    assert b"\x1b[3" not in on_a_terminal(NO_COLOR="1")


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # Linux tells the end of a terminal so
        return b""


def test_text_that_commands_a_terminal_is_printed_harmless(lake_path: Path, call: Cli) -> None:
    with lakelineage.open(lake_path) as lake, lake.start_run(name="bad") as run:
        run.log_params({"note": "\x1b[31mred\nnext"})
    done = call("--lake", lake_path, "runs")
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_storage_options_of_the_environment_reach_the_store(
    s3: tuple[str, dict[str, str]], tmp_path: Path, answer: Cli
) -> None:
    uri, options = s3
    env = {"LAKELINEAGE_STORAGE_OPTIONS": json.dumps(options), "LAKELINEAGE_SPOOL": str(tmp_path)}
    made = answer("init", f"{uri}/lake", env=env)
    assert made["created"] is True
    with lakelineage.open(f"{uri}/lake", storage_options=options) as lake, lake.start_run(name="far") as run:
        run.log_metric("m", 1.0)
    assert [row["name"] for row in answer("--lake", f"{uri}/lake", "runs", env=env)] == ["far"]
    assert answer("--lake", f"{uri}/lake", "flush", env=env)["flushed"] is True


@pytest.mark.parametrize("text", ["nonsense", "[1]", '{"a": 1}'])
def test_bad_storage_options_are_named(place: Any, text: str, call: Cli) -> None:
    done = call("--lake", place.lake, "runs", env={"LAKELINEAGE_STORAGE_OPTIONS": text})
    assert done.returncode == 2
    assert "LAKELINEAGE_STORAGE_OPTIONS" in done.stderr


def test_help_loads_no_engine() -> None:
    code = (
        "import sys\nfrom lakelineage.cli import main\nmain(['--help'])\n"
        "heavy = {'pyarrow', 'deltalake', 'duckdb', 'polars', 'mlflow', 'pandas', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(lakelineage.__file__).parents[1])
