"""Shells complete commands, options and what the lake has; nothing else ever comes out."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lakelineage

PROGRAM = Path(sys.executable).parent / "lakelineage"
#: What bash does when Tab is pressed after $LINE: words as Readline cuts them, and the function that is registered.
PRESS_TAB = """
eval "$(lakelineage --show-completion)"
complete -p lakelineage
eval "COMP_WORDS=($LINE)"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_lakelineage_completion lakelineage "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}", **more}


def tab(line: str, **more: str) -> list[str]:
    """What bash offers for a line; an empty last word is written as ''."""
    ran = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB], env=_environment(LINE=line, **more), capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    registered, *offered = ran.stdout.splitlines()
    assert "-F _lakelineage_completion" in registered
    return [word for word in offered if word]


def ask(**variables: str) -> "subprocess.CompletedProcess[str]":
    """What a shell's own script runs."""
    return subprocess.run([PROGRAM], env=_environment(**variables), capture_output=True, text=True)


def test_commands_and_options_are_completed() -> None:
    assert tab("lakelineage ru") == ["runs", "run"]
    assert tab("lakelineage models reg") == ["register"]
    assert tab("lakelineage runs --order") == ["--order-by"]
    assert tab("lakelineage end x --status F") == ["FINISHED", "FAILED"]


def test_what_the_lake_has_is_completed(place: Any) -> None:
    lake, first = f"lakelineage --lake {place.lake}", place.run_ids[0]
    assert tab(f"{lake} run ''") == list(reversed(place.run_ids))
    assert tab(f"{lake} run {first[:-1]}") == [first]
    assert tab(f"{lake} compare {first} {place.run_ids[2]}") == [place.run_ids[2]]
    assert tab(f"{lake} runs --experiment s") == ["second"]
    assert tab(f"{lake} artifacts {first} n") == ["notes/hello.txt"]
    assert tab(f"{lake} history {first} ''") == ["rmse"]
    assert tab(f"lakelineage run --lake {place.lake} {first[:-1]}") == [first]
    assert tab(f"lakelineage run {first[:-1]}", LAKELINEAGE_URI=str(place.lake)) == [first]
    assert tab(f"lakelineage --lake '$HERE/lake' run {first[:-1]}", HERE=str(place.folder)) == [first]


def test_a_name_with_spaces_becomes_one_word_of_the_line(lake_path: Path) -> None:
    with lakelineage.open(lake_path) as lake:
        lake.experiments.create("the first & only")
    assert tab(f"lakelineage --lake {lake_path} runs --experiment the") == ["the\\ first\\ \\&\\ only"]
    assert tab(f"lakelineage --lake {lake_path} runs --experiment 'the\\ fi'") == ["the\\ first\\ \\&\\ only"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_name_that_would_command_a_shell_is_not_offered(shell: str, lake_path: Path) -> None:
    with lakelineage.open(lake_path) as lake:
        for name in ("x$(touch gone)", "x`touch gone`", "x\\$(touch gone)", "x'; touch gone; '", "x fine"):
            lake.experiments.create(name)
    line = f"lakelineage --lake {lake_path} runs --experiment x"
    words = {"COMP_WORDS": line, "COMP_CWORD": "5", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    told = ask(_LAKELINEAGE_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_ARGS=line, **words)
    assert "fine" in told.stdout
    assert "gone" not in told.stdout


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("lakelineage run 01", {}),
        ("lakelineage --lake /no/such/lake run ''", {}),
        ("lakelineage --lake {broken} run ''", {}),
        ("lakelineage --lake s3://nobody/there run ''", {}),
        ("lakelineage nonsense x", {}),
        ("lakelineage runs --nonsense --limit x --", {}),
        ("lakelineage run ''", {"LAKELINEAGE_URI": "{broken}", "LAKELINEAGE_STORAGE_OPTIONS": "no JSON"}),
    ],
)
def test_what_cannot_be_completed_is_met_with_silence(line: str, more: Mapping[str, str], lake_path: Path) -> None:
    lakelineage.open(lake_path).close()
    (lake_path / "tables").write_text("no folder")
    told = {key: value.format(broken=lake_path) for key, value in more.items()}
    assert [word for word in tab(line.format(broken=lake_path), **told) if not word.startswith("-")] == []


def test_pressing_tab_upgrades_no_lake(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(Path(__file__).parents[1] / "lakes" / "format-1" / "lake.tar.xz") as old:
        old.extractall(tmp_path, filter="data")
    (file,) = tmp_path.rglob("lake.json")
    before = file.read_bytes()
    assert tab(f"lakelineage --lake {file.parent} run ''") == []
    assert file.read_bytes() == before


def test_zsh_and_fish_get_words_with_what_they_mean(place: Any) -> None:
    line = f"lakelineage --lake {place.lake} run {place.run_ids[1][:-1]}"
    zsh = ask(_LAKELINEAGE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line)
    assert (zsh.returncode, zsh.stderr) == (0, "")
    assert zsh.stdout.strip() == f"""_arguments '*: :(("{place.run_ids[1]}":"run 1 finished"))'"""
    fish = {"_LAKELINEAGE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    told = ask(**fish, _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert told.stdout.strip() == f"{place.run_ids[1]}\trun 1 finished"
    # By the exit code fish learns whether to offer files instead.
    assert ask(**fish, _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 0
    fish["_TYPER_COMPLETE_ARGS"] = f"lakelineage --lake {place.lake} run ffff"
    assert ask(**fish, _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_can_be_had_without_being_in_it(shell: str) -> None:
    told = ask(_LAKELINEAGE_COMPLETE=f"source_{shell}")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"_LAKELINEAGE_COMPLETE=complete_{shell}" in told.stdout


def test_showing_the_script_is_a_success(place: Any) -> None:
    ran = subprocess.run(
        ["bash", "--norc", "-c", "lakelineage --show-completion > /dev/null; echo $?"],
        env=_environment(),
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "0\n"
