"""What the models said of the tracks, as the library keeps it: raw vectors and scores."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from catalog.database import Database
from catalog.errors import LibraryError
from catalog.tracks import Analysis, Float32, Int64, Model

#: Rows that are read at once: a few megabytes, whatever the library's size.
BLOCK_ROWS: Final = 4096


class Analyses(Database):
    """The part of a library that holds vectors and scores, each under its model and version."""

    def models(self) -> list[Model]:
        """Every model that has left something here."""
        rows = self._db.execute("SELECT name, version, dim, labels FROM models ORDER BY model_id")
        return [Model(n, v, int(dim), tuple(json.loads(labels))) for n, v, dim, labels in rows]

    def analysed(self, model: Model) -> set[int]:
        """The tracks for which this model's results are stored."""
        table = "vectors" if model.dim else "scores"
        rows = self._db.execute(
            f"SELECT track_id FROM {table} JOIN models USING (model_id)"
            " WHERE name = ? AND version = ?",
            (model.name, model.version),
        )
        return {int(track_id) for (track_id,) in rows}

    def vectors(self, model: Model) -> tuple[Int64, Float32]:
        """Raw vectors of a model: track numbers ascending (n,) int64, vectors (n, dim) float32."""
        return self._matrix("vectors", "vector", model, model.dim)

    def scores(self, model: Model) -> tuple[Int64, Float32]:
        """Scores of a model: track numbers ascending (n,) int64, scores (n, n_labels) float32."""
        return self._matrix("scores", "scores", model, len(model.labels))

    def vector_blocks(self, model: Model) -> Iterator[tuple[Int64, Float32]]:
        """`vectors` in blocks of at most `BLOCK_ROWS` rows, so that any library fits."""
        return self._blocks("vectors", "vector", model, model.dim)

    def score_blocks(self, model: Model) -> Iterator[tuple[Int64, Float32]]:
        """`scores` in blocks of at most `BLOCK_ROWS` rows."""
        return self._blocks("scores", "scores", model, len(model.labels))

    def _matrix(self, table: str, column: str, model: Model, width: int) -> tuple[Int64, Float32]:
        blocks = list(self._blocks(table, column, model, width))
        if not blocks:
            return np.empty(0, np.int64), np.empty((0, width), np.float32)
        return np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks])

    def _blocks(
        self, table: str, column: str, model: Model, width: int
    ) -> Iterator[tuple[Int64, Float32]]:
        rows = self._db.execute(
            f"SELECT track_id, {column} FROM {table} JOIN models USING (model_id)"
            " WHERE name = ? AND version = ? ORDER BY track_id",
            (model.name, model.version),
        )
        while block := rows.fetchmany(BLOCK_ROWS):
            ids = np.fromiter((row[0] for row in block), np.int64, len(block))
            values = np.frombuffer(b"".join([row[1] for row in block]), "<f4")
            yield ids, values.reshape(len(block), width).astype(np.float32)

    def count_analysed(self, model: Model) -> int:
        """How many tracks have this model's results."""
        table = "vectors" if model.dim else "scores"
        row = self._db.execute(
            f"SELECT count(*) FROM {table} JOIN models USING (model_id)"
            " WHERE name = ? AND version = ?",
            (model.name, model.version),
        ).fetchone()
        return int(row[0])

    def remove_results(self, model: Model) -> int:
        """Forget a model and all that it said, a batch a transaction. Returns how many results.

        Broken off, it is finished by doing it again.
        """
        removed = 0
        for table in ("vectors", "scores"):
            while True:
                with self._transaction() as db:
                    count = db.execute(
                        f"DELETE FROM {table} WHERE (model_id, track_id) IN"
                        f" (SELECT model_id, track_id FROM {table} JOIN models USING (model_id)"
                        " WHERE name = ? AND version = ? LIMIT ?)",
                        (model.name, model.version, BLOCK_ROWS),
                    ).rowcount
                if count <= 0:
                    break
                removed += count
        with self._transaction() as db:
            db.execute(
                "DELETE FROM models WHERE name = ? AND version = ?", (model.name, model.version)
            )
        return removed

    def add_analyses(self, track_id: int, analyses: Sequence[Analysis]) -> None:
        """Add what further models say of a known track, or replace what they said."""
        with self._transaction() as db:
            for analysis in analyses:
                self._store_analysis(db, track_id, analysis)
            count_change(db)

    def _store_analysis(self, db: sqlite3.Connection, track_id: int, analysis: Analysis) -> None:
        model_id = self._model_id(db, analysis.model)
        for table, column, values, length in (
            ("vectors", "vector", analysis.vector, analysis.model.dim),
            ("scores", "scores", analysis.scores, len(analysis.model.labels)),
        ):
            if values is None:
                continue
            if values.shape != (length,) or not np.isfinite(values).all():
                raise ValueError(
                    f"{analysis.model.name}: {column} must be {length} finite numbers,"
                    f" got shape {values.shape}"
                )
            db.execute(
                f"INSERT OR REPLACE INTO {table} (model_id, track_id, {column}) VALUES (?, ?, ?)",
                (model_id, track_id, np.ascontiguousarray(values, "<f4").tobytes()),
            )

    @staticmethod
    def _model_id(db: sqlite3.Connection, model: Model) -> int:
        row = db.execute(
            "SELECT model_id, dim, labels FROM models WHERE name = ? AND version = ?",
            (model.name, model.version),
        ).fetchone()
        if row is not None:
            if (row[1], tuple(json.loads(row[2]))) != (model.dim, model.labels):
                raise LibraryError(
                    f"{model.name} ({model.version}) is kept with {row[1]} numbers and other labels"
                    f" than the {model.dim} numbers of now: what changes needs another version"
                )
            return int(row[0])
        cursor = db.execute(
            "INSERT INTO models (name, version, dim, labels) VALUES (?, ?, ?, ?)",
            (model.name, model.version, model.dim, json.dumps(model.labels)),
        )
        return int(cursor.lastrowid or 0)


def count_change(db: sqlite3.Connection) -> None:
    """Within a transaction: what is published of the tracks is stale from now on."""
    db.execute(
        "INSERT INTO meta VALUES ('tracks_revision', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )
