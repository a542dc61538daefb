"""Values of single metrics, params and tags of published runs, as plain columns.

Taking one key out of a map costs many times what comparing its value costs. Who filters or orders by a key twice will
do so again: the second time its values are taken out of each large part, in the order of the part's rows, and from then
on they are read beside the part (DuckDB's positional join). docs/decisions/018 has what that saves.
"""

import itertools
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from lakelineage.query.duckdb.published import Part
from lakelineage.query.duckdb.session import INTERNAL, Session

#: A value in a map of a run, as filters and orders write it.
_VALUE = re.compile(r"\br\.(metrics|params|tags)\['((?:[^']|'')*)'\]")
#: Values of parts of fewer rows stay in their maps.
_LARGE = 2_000
#: Values that are held at most: some hundred MB if they are short texts.
_MOST = 10_000_000

#: Map of ``runs``, and key in it as SQL writes it.
Key = tuple[str, str]


class FlatColumns:
    """Takes values out of maps, and holds them.

    Args:
        session: where the parts are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: set[Key] = set()
        self._columns: OrderedDict[Key, dict[str, str]] = OrderedDict()
        self._numbers = itertools.count()

    def chosen(self, texts: Iterable[str], parts: Sequence[Part]) -> list[Key]:
        """The keys that a question names and whose values are held for all parts: they are now, if they are to be."""
        keys = list(dict.fromkeys((found[1], found[2]) for text in texts for found in _VALUE.finditer(text)))
        again = [key for key in keys if key in self._asked]
        self._asked.update(keys)
        rows = sum(part.file.num_rows for part in parts)
        if rows * len(again) > _MOST:
            return []
        self._let_go({part.relation for part in parts}, keep=_MOST // max(rows, 1), of=again)
        for key in again:
            self._hold(key, parts)
        return again

    def _hold(self, key: Key, parts: Sequence[Part]) -> None:
        columns = self._columns.setdefault(key, {})
        self._columns.move_to_end(key)
        for part in parts:
            if part.relation not in columns and part.file.num_rows >= _LARGE:
                name = f"{INTERNAL}.flat_{next(self._numbers)}"
                taken = f"SELECT {key[0]}['{key[1]}'] AS value FROM {part.relation}"
                self._session.execute(f"CREATE TABLE {name} AS {taken}")
                columns[part.relation] = name

    def _let_go(self, relations: set[str], keep: int, of: Sequence[Key]) -> None:
        """Drop what parts that are gone had, and the keys that were asked for longest ago if they are too many."""
        for columns in self._columns.values():
            for relation in columns.keys() - relations:
                self._session.execute(f"DROP TABLE {columns.pop(relation)}")
        for key in list(self._columns):
            if len(self._columns.keys() | set(of)) <= keep:
                break
            if key not in of:
                for name in self._columns.pop(key).values():
                    self._session.execute(f"DROP TABLE {name}")

    def beside(self, part: Part, keys: Sequence[Key]) -> tuple[str, str]:
        """The columns of the keys, and what to join to a part (named ``p``) for them."""
        if part.file.num_rows < _LARGE:
            return self.from_maps(keys), ""
        columns = "".join(f", f{i}.value AS {_name(i)}" for i in range(len(keys)))
        joins = "".join(f" POSITIONAL JOIN {self._columns[key][part.relation]} f{i}" for i, key in enumerate(keys))
        return columns, joins

    @staticmethod
    def from_maps(keys: Sequence[Key]) -> str:
        """The same columns, of rows that are in no part."""
        return "".join(f", p.{column}['{key}'] AS {_name(i)}" for i, (column, key) in enumerate(keys))

    @staticmethod
    def rewritten(text: str, keys: Sequence[Key]) -> str:
        """A condition or an order, with the columns in place of the values in maps."""
        names: Mapping[Key, str] = {key: f"r.{_name(i)}" for i, key in enumerate(keys)}
        return _VALUE.sub(lambda found: names.get((found[1], found[2]), found[0]), text)

    def forget(self) -> None:
        """Hold nothing: the session is closed, or what it read is in doubt."""
        self._columns.clear()


def _name(number: int) -> str:
    return f"__flat_{number}"
