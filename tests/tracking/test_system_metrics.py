"""Metrics of the machine: the real psutil, NVIDIA's real library without a GPU, and a made-up one with two."""

import logging
import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import lakelineage as ll
from lakelineage.errors import InvalidInput
from lakelineage.tracking import system_metrics

MACHINE = {
    "cpu_utilization_percentage",
    "disk_available_megabytes",
    "disk_usage_megabytes",
    "disk_usage_percentage",
    "network_receive_megabytes",
    "network_transmit_megabytes",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
}


@pytest.fixture(autouse=True)
def _fresh_sampler() -> Iterator[None]:
    """A thread that ends when the last run does; none is left over between tests."""
    yield
    deadline = time.monotonic() + 120
    while sampling_threads() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not sampling_threads()


def sampling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lakelineage-system"]


def wait_for_steps(run: ll.Run, lake: ll.Lake, count: int) -> None:
    deadline = time.monotonic() + 120
    while lake.run(run.id).history("system/disk_usage_megabytes").num_rows < count:
        assert time.monotonic() < deadline, "no samples came"
        time.sleep(0.05)


def test_a_run_is_sampled_under_mlflows_names_with_steps_from_zero_until_it_ends(lake: ll.Lake) -> None:
    with lake.start_run(system_metrics=0.1) as run:
        wait_for_steps(run, lake, 3)
    seen = lake.run(run.id)
    assert {key.removeprefix("system/") for key in seen.metrics} == MACHINE
    steps = seen.history("system/disk_usage_megabytes").column("step").to_pylist()
    assert steps == list(range(len(steps)))
    total = psutil.virtual_memory().total / 1e6
    assert 0 < seen.metrics["system/system_memory_usage_megabytes"] < total
    assert 0 <= seen.metrics["system/cpu_utilization_percentage"] <= 100
    assert 0 <= seen.metrics["system/disk_usage_percentage"] <= 100
    time.sleep(0.3)
    assert lake.run(run.id).history("system/disk_usage_megabytes").num_rows == len(steps)
    end = "SELECT ingested_at FROM runs_history WHERE status = 'FINISHED'"
    assert lake.sql(f"SELECT * FROM metrics WHERE ingested_at > ({end})").num_rows == 0


def test_the_names_are_those_that_mlflow_logs() -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    names: set[str] = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        names |= set(monitor.metrics)
    assert names == MACHINE


def test_one_thread_samples_for_all_runs_each_at_its_own_pace(lake: ll.Lake) -> None:
    with lake.start_run(system_metrics=0.1) as quick, lake.start_run(system_metrics=30) as slow:
        assert len(sampling_threads()) == 1
        wait_for_steps(slow, lake, 1)  # the first comes soon
        wait_for_steps(quick, lake, 5)
    assert lake.run(slow.id).history("system/disk_usage_megabytes").num_rows == 1


def test_nothing_is_sampled_unasked(lake: ll.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAKELINEAGE_SYSTEM_METRICS", raising=False)
    with lake.start_run(), lake.start_run(system_metrics=False):
        assert sampling_threads() == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("true", 10.0), ("ON", 10.0), ("2.5", 2.5), ("1", 1.0), ("false", None), ("0", None), ("", None)],
)
def test_the_environment_says_whether_and_how_often(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float | None
) -> None:
    monkeypatch.setenv("LAKELINEAGE_SYSTEM_METRICS", text)
    assert system_metrics.interval(None) == seconds
    assert (system_metrics.interval(True), system_metrics.interval(False), system_metrics.interval(3)) == (10, None, 3)


@pytest.mark.parametrize("value", ["often", "-1", "0.01", "nan", "inf"])
def test_an_interval_that_is_none_is_refused_and_nothing_started(
    lake: ll.Lake, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LAKELINEAGE_SYSTEM_METRICS", value)
    with pytest.raises(InvalidInput, match=f"LAKELINEAGE_SYSTEM_METRICS is '{value}'"):
        lake.start_run()
    with pytest.raises(InvalidInput, match="system_metrics"):
        lake.start_run(system_metrics="often")  # type: ignore[arg-type]
    assert lake.sql("SELECT * FROM runs").num_rows == 0


def test_a_failure_is_told_once_and_disturbs_nothing(
    lake: ll.Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(path: str) -> None:
        raise OSError("the disk does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(system_metrics, "_sampler", system_metrics._Sampler())
        patched.setattr(psutil, "disk_usage", broken)
        with caplog.at_level(logging.WARNING), lake.start_run(system_metrics=0.1) as run:
            time.sleep(0.6)
            run.log_metric("mine", 1)
    assert lake.run(run.id).metrics == {"mine": 1.0}
    assert [r.getMessage().count("does not answer") for r in caplog.records] == [1]


def test_a_lake_that_is_closed_with_an_active_run_is_written_no_more(lake_path: Path) -> None:
    lake = ll.open(lake_path)
    run = lake.start_run(system_metrics=0.1)
    wait_for_steps(run, lake, 1)
    lake.close()
    count = sum(file.stat().st_size for file in lake_path.glob("journal/*/*.seg"))
    time.sleep(0.4)
    assert sum(file.stat().st_size for file in lake_path.glob("journal/*/*.seg")) == count
    run.end()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_sample_for_its_parent_and_may_for_itself(lake: ll.Lake) -> None:
    lake.experiments.create("e")
    with lake.start_run("e", system_metrics=0.1) as run:
        wait_for_steps(run, lake, 1)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert not sampling_threads()
                own = lake.start_run("e", name="child", system_metrics=0.1)
                time.sleep(0.5)
                own.end()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for row in lake.search_runs().to_pylist():
        steps = lake.run(row["run_id"]).history("system/disk_usage_megabytes").column("step").to_pylist()
        assert steps == list(range(len(steps)))
        assert len(steps) > 0


def test_a_machine_without_a_gpu_is_silent_with_nvidias_own_library(caplog: pytest.LogCaptureFixture) -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert system_metrics._gpus() == []
        assert caplog.text == ""
    else:
        pytest.skip("this machine has a GPU")


class NoSuchReading(Exception):
    """What the made-up library raises."""


def made_up_nvml() -> types.ModuleType:
    module = types.ModuleType("pynvml")
    memory = types.SimpleNamespace(used=4e9, total=16e9)

    def power(handle: int) -> float:
        if handle == 1:
            raise NoSuchReading
        return 70_000

    module.__dict__.update(
        NVMLError=NoSuchReading,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=50 + handle),
        nvmlDeviceGetMemoryInfo=lambda handle: memory,
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetEnforcedPowerLimit=lambda handle: 140_000,
    )
    return module


def test_gpus_are_told_apart_and_one_that_hides_its_power_tells_the_rest(
    lake: ll.Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", made_up_nvml())
    with lake.start_run(system_metrics=0.1) as run:
        wait_for_steps(run, lake, 1)
    told = {k.removeprefix("system/"): v for k, v in lake.run(run.id).metrics.items() if k.startswith("system/gpu_")}
    assert told == {
        "gpu_0_utilization_percentage": 50.0,
        "gpu_0_memory_usage_megabytes": 4000.0,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_power_usage_watts": 70.0,
        "gpu_0_power_usage_percentage": 50.0,
        "gpu_1_utilization_percentage": 51.0,
        "gpu_1_memory_usage_megabytes": 4000.0,
        "gpu_1_memory_usage_percentage": 25.0,
    }
