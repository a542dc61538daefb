"""MLflow's user interface in a real browser: the same walk over MLflow's own SQLite store and over a lake."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_RUNS = 3
#: Pages of MLflow's that stumble over what pages before them left in memory: they are loaded anew.
_FRESH = ("compare", "metric")
#: Milliseconds that a page may take on a busy machine.
_PATIENCE = 120_000
#: Tenths of a second without a call after which a page is done: what a call brought may call again.
_QUIET = 5


@dataclass
class Seeded:
    """What is there to be looked at."""

    uri: str
    experiment: str
    runs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


@dataclass
class Walk:
    """What a walk met, without ids: failed calls and errors in the console, with the stop where each was first met."""

    failed: dict[str, str] = field(default_factory=dict)
    console: dict[str, str] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)


def _seed(uri: str) -> Seeded:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, Metric, Param

    client = MlflowClient(uri)
    seeded = Seeded(uri, client.create_experiment("rents"))
    client.create_registered_model("prices", description="what homes cost")
    for number in range(_RUNS):
        run = client.create_run(seeded.experiment, run_name=f"ridge-{number}", tags={"team": "blue"}).info.run_id
        curve = [Metric("loss", 1 / (step + 1) + number, 1_000 + step, step) for step in range(50)]
        params = [Param("alpha", str(number / 10))]
        client.log_batch(run, [*curve, Metric("rmse", number + 0.5, 1, 0)], params)
        client.log_text(run, "what was seen", "note.txt")
        model = client.create_logged_model(seeded.experiment, f"model-{number}", run, params={"depth": "3"})
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        client.log_batch(run, [Metric("accuracy", 0.5 + number / 10, 1, 0, model_id=model.model_id)])
        client.finalize_logged_model(model.model_id, "READY")
        client.create_model_version("prices", f"models:/{model.model_id}", run, model_id=model.model_id)
        client.set_terminated(run)
        seeded.runs.append(run)
        seeded.models.append(model.model_id)
    client.set_registered_model_alias("prices", "champion", 1)
    return seeded


def _stops(at: Seeded) -> dict[str, tuple[str, str]]:
    """Name of a stop → its route, and a text that is on the page when it is there."""
    experiment = f"/#/experiments/{at.experiment}"
    run = f"{experiment}/runs/{at.runs[0]}"
    chosen = f"runs={quote(json.dumps(at.runs))}&experiments={quote(json.dumps([at.experiment]))}"
    metric = f"/#/metric?{chosen}&metric=%22loss%22&plot_metric_keys=%5B%22loss%22%5D"
    return {
        "experiments": ("/#/experiments", "rents"),
        "runs": (f"{experiment}/runs", "ridge-2"),
        "runs by filter": (f"{experiment}/runs?searchFilter={quote('metrics.rmse < 1')}", "ridge-0"),
        "charts": (f"{experiment}/runs?compareRunsMode=CHART", "loss"),
        "logged models": (f"{experiment}/models", "model-1"),
        "logged model": (f"{experiment}/models/{at.models[0]}", "accuracy"),
        "traces": (f"{experiment}/traces", "rents"),
        "run": (run, "alpha"),
        "metrics of the run": (f"{run}/model-metrics", "loss"),
        "artifacts of the run": (f"{run}/artifacts", "note.txt"),
        "compare": (f"/#/compare-runs?{chosen}", f"Comparing {_RUNS} Runs"),
        "metric": (metric, "loss"),
        "registered models": ("/#/models", "prices"),
        "registered model": ("/#/models/prices", "what homes cost"),
        "version": ("/#/models/prices/versions/1", "ridge-0"),
        "prompts": ("/#/prompts", "Prompts"),
    }


def _anonymous(text: str) -> str:
    """A text without what differs between two servers with the same content."""
    text = re.sub(r"127\.0\.0\.1:\d+", "<server>", text)
    return re.sub(r"(m-)?[0-9a-f]{32}", "<id>", text)


class Visitor:
    """A page that remembers what went wrong."""

    def __init__(self, page: Any, uri: str) -> None:
        self.page, self.uri, self.walk, self.stop = page, uri, Walk(), "start"
        self._pending: set[Any] = set()
        page.set_default_timeout(_PATIENCE)
        # The interface looks for things in the internet, where tests do not go.
        page.context.route(lambda url: not url.startswith(uri), lambda route: route.abort())
        page.on("request", self._begun)
        page.on("requestfinished", self._over)
        page.on("requestfailed", self._over)
        page.on("response", self._answered)
        page.on("console", lambda message: message.type == "error" and self._console(message.text, message.location))
        page.on("pageerror", lambda error: self._console(str(error), {}))

    def _begun(self, request: Any) -> None:
        if request.resource_type in ("fetch", "xhr") and request.url.startswith(self.uri):
            self._pending.add(request)
            self.walk.called.add(_anonymous(request.url.partition("?")[0]))

    def _over(self, request: Any) -> None:
        self._pending.discard(request)

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            what = f"{response.status} {response.request.method} {response.url.partition('?')[0]}"
            self.walk.failed.setdefault(_anonymous(what), self.stop)

    def _console(self, text: str, place: dict[str, Any]) -> None:
        """What a script says, and where: of a call that failed, its address."""
        self.walk.console.setdefault(_anonymous(f"{text} {place.get('url', '').partition('?')[0]}"), self.stop)

    def go(self, stop: str, route: str, text: str) -> None:
        """Go to a page, until its text is there and all its calls are answered."""
        self.stop = stop
        if stop in _FRESH:
            self.page.goto("about:blank")
        self.page.goto(self.uri + route, wait_until="commit")
        self.page.get_by_text(text).filter(visible=True).first.wait_for()
        quiet = 0
        for _ in range(_PATIENCE // 100):
            self.page.wait_for_timeout(100)
            quiet = 0 if self._pending else quiet + 1
            if quiet == _QUIET:
                return
        pytest.fail(f"{stop}: never answered: {[request.url for request in self._pending]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser on the PATH: none of {', '.join(_BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its own sandbox needs rights that root in a container lacks; it visits nothing but the servers of this test.
        launched = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def walks(
    browser: Any, start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Walk]]:
    """What walks over both sides met."""
    folders = {side: tmp_path_factory.mktemp(side) for side in ("mlflow", "lake")}
    lake = f"lakelineage://{folders['lake']}/lake"
    begun = {
        "mlflow": start_server(f"sqlite:///{folders['mlflow']}/mlflow.db", folders["mlflow"], "--workers", "1"),
        "lake": start_server(
            lake, folders["lake"], "--workers", "1", "--artifacts-destination", f"{lake}/artifacts", verb="ui"
        ),
    }
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        servers = dict(zip(begun, pool.map(stack.enter_context, begun.values()), strict=True))
        yield {side: _walk(browser, _seed(server.uri), side) for side, server in servers.items()}


def _walk(browser: Any, seeded: Seeded, side: str) -> Walk:
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    visitor = Visitor(page, seeded.uri)
    shots = os.environ.get("LAKELINEAGE_SCREENSHOTS")
    for stop, (route, text) in _stops(seeded).items():
        visitor.go(stop, route, text)
        if stop == "metric":
            page.locator(".js-plotly-plot svg.main-svg").first.wait_for()
        if shots:
            page.screenshot(path=Path(shots) / f"{side} {stop}.png")
    page.close()
    return visitor.walk


def test_no_call_of_a_page_fails_that_does_not_fail_on_mlflows_own_store(walks: dict[str, Walk]) -> None:
    known = walks["mlflow"].failed
    assert {call: stop for call, stop in walks["lake"].failed.items() if call not in known} == {}


def test_no_page_logs_an_error_that_it_does_not_log_on_mlflows_own_store(walks: dict[str, Walk]) -> None:
    known = walks["mlflow"].console
    assert {text: stop for text, stop in walks["lake"].console.items() if text not in known} == {}


def test_pages_ask_the_same_things_of_both_stores(walks: dict[str, Walk]) -> None:
    calls = {side: {url.partition("<server>")[2] for url in walk.called} for side, walk in walks.items()}
    assert calls["lake"] == calls["mlflow"]
    assert any(call.endswith("/runs/search") for call in calls["lake"])
