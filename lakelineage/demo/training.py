"""The experiment of the demo: a published table of ElasticNet models on scikit-learn's diabetes data.

The table is that of MLflow's well-known diabetes example: a quarter of the rows held out with NumPy's generator seeded
with 40, ``ElasticNet(alpha, l1_ratio, random_state=42)``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import LakelineageError, MissingExtra

if TYPE_CHECKING:
    import pandas as pd

TARGET = "progression"


@dataclass(frozen=True, slots=True)
class Published:
    """A row of the published table, with its printed digits."""

    alpha: float
    l1_ratio: float
    rmse: str
    mae: str
    r2: str


TABLE = (
    Published(0.01, 1.0, "63.2469", "51.0518", "0.3952"),
    Published(0.01, 0.75, "65.2900", "53.7593", "0.3555"),
    Published(0.01, 0.01, "71.4037", "60.0913", "0.2291"),
)


def require_sklearn() -> None:
    """Fail early, and tell the remedy.

    Raises:
        MissingExtra: scikit-learn or mlflow is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("sklearn", "pandas", "mlflow") if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"the demo needs {', '.join(missing)}: pip install 'lakelineage[demo]'")


def train(rows: "pd.DataFrame", alpha: float, l1_ratio: float) -> tuple[Any, dict[str, float], "pd.DataFrame"]:
    """Fit one model and measure it on the rows held out.

    Returns:
        The model, its metrics (rmse, mae, r2), and the features of the rows held out.
    """
    from sklearn.linear_model import ElasticNet
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
    from sklearn.model_selection import train_test_split

    fitted, held_out = train_test_split(rows, random_state=40)
    model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, random_state=42)
    model.fit(fitted.drop(columns=TARGET), fitted[TARGET])
    features, truth = held_out.drop(columns=TARGET), held_out[TARGET]
    guess = model.predict(features)
    metrics = {
        "rmse": float(mean_squared_error(truth, guess) ** 0.5),
        "mae": float(mean_absolute_error(truth, guess)),
        "r2": float(r2_score(truth, guess)),
    }
    return model, metrics, features


def require_published(published: Published, metrics: dict[str, float]) -> None:
    """Compare with the published digits.

    Raises:
        LakelineageError: they differ.
    """
    for name, value in metrics.items():
        printed = getattr(published, name)
        if f"{value:.4f}" != printed:
            from sklearn import __version__

            raise LakelineageError(
                f"{name} for alpha={published.alpha}, l1_ratio={published.l1_ratio} is {value:.4f}, but {printed} was "
                f"published (scikit-learn {__version__} here); try the versions of constraints.txt"
            )
