"""Chain, number and insertion code of the residues of a dataset, which the shards leave out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError

COLUMNS = ("chain", "number", "insertion", "name")


def residue_names(layout: DataLayout, dataset: ShardDataset) -> pd.DataFrame | None:
    """Labels of every residue of a dataset, from the tables of `clean`.

    Parameters
    ----------
    layout : DataLayout
        The dataset's folder.
    dataset : ShardDataset
        One side of it.

    Returns
    -------
    pandas.DataFrame or None
        ``id``, ``row``, ``chain``, ``number``, ``insertion`` and ``name``, complex by complex in the dataset's order.
        None where a table of `clean` is not there: shards may travel without it.

    Raises
    ------
    BindraeError
        When the tables hold other residues than the shards.
    """
    paths = [layout.batch("clean", number) for number in layout.batch_numbers()]
    if not all(path.is_file() for path in paths):
        return None
    table = pa.concat_tables([read_table(path, ["id", "n_residues", *COLUMNS]) for path in paths])
    place = pc.index_in(pa.array(dataset.ids), table["id"].combine_chunks())
    missing = [i for i, there in zip(dataset.ids, place.is_valid().to_pylist(), strict=True) if not there]
    wrong = [] if missing else _differ(dataset, table.take(place))
    if missing or wrong:
        raise BindraeError(
            f"{layout.root}: the tables of `clean` and the shards hold different residues, first for "
            f"{(missing or wrong)[0]}",
            "files of two runs are mixed; rerun the shards",
        )
    table = table.take(place)
    labels = {name: table[name].combine_chunks().flatten().to_pandas() for name in COLUMNS}
    return pd.DataFrame(
        {
            "id": np.repeat(np.array(dataset.ids, dtype=object), dataset.lengths),
            "row": np.concatenate([np.arange(n) for n in dataset.lengths]),
            **labels,
        }
    )


def _differ(dataset: ShardDataset, table: pa.Table) -> list[str]:
    return [dataset.ids[i] for i in np.flatnonzero(table["n_residues"].to_numpy() != dataset.lengths)]
