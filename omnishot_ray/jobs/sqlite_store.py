"""The embedded store: SQLite in WAL mode, opened by all processes of one node at once.

Every commit is synced (`synchronous=FULL`): a job that was accepted survives the loss of power,
too. Transactions are short, writers wait for each other, readers wait for nobody
(https://sqlite.org/wal.html).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omnishot_ray.errors import StorageUnavailable
from omnishot_ray.jobs.asking import Filter, Key, Stats, Worker, live_workers
from omnishot_ray.jobs.codec import read_batch, read_job
from omnishot_ray.jobs.model import Batch, Job, Status
from omnishot_ray.jobs.store import Rows, Store, T
from omnishot_ray.jobs.turns import Head

_BUSY_MS = 5000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, batch_id TEXT NOT NULL, status TEXT NOT NULL,
    priority INTEGER NOT NULL, rank REAL NOT NULL, queued_at REAL NOT NULL, due_at REAL NOT NULL,
    finished_at REAL, callback_at REAL, scope TEXT NOT NULL, work_key TEXT NOT NULL,
    doc BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_user ON jobs (user_id, id);
CREATE INDEX IF NOT EXISTS by_status ON jobs (status, id);
CREATE INDEX IF NOT EXISTS by_batch ON jobs (batch_id, status, id) WHERE batch_id != '';
CREATE INDEX IF NOT EXISTS in_line ON jobs (user_id, rank, id) WHERE status = 'queued';
CREATE INDEX IF NOT EXISTS queued ON jobs (queued_at) WHERE status = 'queued';
CREATE INDEX IF NOT EXISTS due ON jobs (status, due_at) WHERE status IN ('active', 'delayed');
CREATE INDEX IF NOT EXISTS finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS callbacks ON jobs (callback_at) WHERE callback_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_scope ON jobs (scope, id) WHERE scope != '';
CREATE INDEX IF NOT EXISTS by_work ON jobs (work_key, id)
    WHERE work_key != '' AND status = 'completed';
CREATE TABLE IF NOT EXISTS counts (
    status TEXT, priority INTEGER, n INTEGER NOT NULL, PRIMARY KEY (status, priority)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    name TEXT PRIMARY KEY, fingerprint TEXT, job_id TEXT, at REAL, until REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_until ON keys (until);
CREATE TABLE IF NOT EXISTS turns (user_id TEXT PRIMARY KEY, turn INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, is_open INTEGER NOT NULL, doc BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS open_batches ON batches (id) WHERE is_open;
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY, seen_at REAL, slots INTEGER, active INTEGER
);
PRAGMA user_version = 1;
"""


class SqliteStore(Store):
    """One connection for each thread; nothing is opened before the first call."""

    def __init__(
        self,
        path: str | Path,
        ageing_s: float = 10.0,
        max_waiting: int = 100_000,
        key_life_s: float = 86_400.0,
    ) -> None:
        super().__init__(ageing_s, max_waiting, key_life_s)
        self._path = Path(path).expanduser()
        self._local = threading.local()
        self._all: list[tuple[sqlite3.Connection, threading.Lock]] = []

    def _transact(self, work: Callable[[Rows], T]) -> T:
        with self._connection() as connection, _begun(connection):
            return work(_SqliteRows(connection))

    def get(self, job_id: str) -> Job | None:
        """A job."""
        with self._connection() as connection:
            return _SqliteRows(connection).job(job_id)

    def find(self, wanted: Filter) -> Sequence[Job]:
        """Jobs, the newest first."""
        conditions: list[str] = []
        values: list[str | int] = []
        if wanted.statuses:
            conditions.append(f"status IN ({','.join('?' * len(wanted.statuses))})")
            values += wanted.statuses
        for name in ("user_id", "batch_id"):
            value = getattr(wanted, name)
            if value is not None:
                conditions.append(f"{name} = ?")
                values.append(value)
        if wanted.before:
            conditions.append("id < ?")
            values.append(wanted.before)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._query(
            f"SELECT doc FROM jobs {where} ORDER BY id DESC LIMIT ?", *values, wanted.limit
        )
        return [read_job(doc) for (doc,) in rows]

    def get_batch(self, batch_id: str) -> Batch | None:
        """A batch."""
        with self._connection() as connection:
            return _SqliteRows(connection).batch(batch_id)

    def batch_counts(self, batch_id: str) -> dict[Status, int]:
        """The jobs of a batch by status."""
        rows = self._query(
            "SELECT status, count(*) FROM jobs WHERE batch_id = ? AND batch_id != '' "
            "GROUP BY status",
            batch_id,
        )
        return {Status(status): count for status, count in rows}

    def open_batches(self, limit: int) -> Sequence[str]:
        """Batches whose jobs are not all in line yet."""
        rows = self._query("SELECT id FROM batches WHERE is_open ORDER BY id LIMIT ?", limit)
        return [batch_id for (batch_id,) in rows]

    def stats(self, now: float) -> Stats:
        """How the queue stands."""
        with self._connection() as connection:
            counts = _SqliteRows(connection).counts()
        ((stalled,),) = self._query(
            "SELECT count(*) FROM jobs INDEXED BY due WHERE status = 'active' "
            "AND status IN ('active', 'delayed') AND due_at <= ?",
            now,
        )
        ((lately,),) = self._query("SELECT count(*) FROM jobs WHERE finished_at > ?", now - 60.0)
        ((oldest,),) = self._query(
            "SELECT min(queued_at) FROM jobs INDEXED BY queued WHERE status = 'queued'"
        )
        workers = self._query("SELECT name, seen_at, slots, active FROM workers")
        return Stats(
            counts, stalled, lately, oldest, live_workers((Worker(*row) for row in workers), now)
        )

    def note_worker(self, worker: Worker) -> None:
        """A runner's sign of life; those of yesterday are forgotten."""
        with self._connection() as connection, _begun(connection):
            connection.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)",
                (worker.name, worker.seen_at, worker.slots, worker.active),
            )
            connection.execute("DELETE FROM workers WHERE seen_at < ?", (worker.seen_at - 86_400,))

    def old_jobs(self, finished_before: float, limit: int) -> Sequence[str]:
        """Finished jobs to be forgotten."""
        rows = self._query(
            "SELECT id FROM jobs WHERE finished_at < ? ORDER BY finished_at LIMIT ?",
            finished_before,
            limit,
        )
        return [job_id for (job_id,) in rows]

    def digests(self) -> Iterator[str]:
        """All bytes that jobs and batches need; read in pages, so that nobody waits for it."""
        last = ""
        while page := self._query(
            "SELECT id, doc FROM jobs WHERE id > ? ORDER BY id LIMIT 500", last
        ):
            for _, doc in page:
                yield from read_job(doc).digests
            last = page[-1][0]
        for batch_id in self.open_batches(1_000_000):
            batch = self.get_batch(batch_id)
            for job in batch.jobs if batch else ():
                yield from job.digests

    def check(self) -> None:
        """Read from it."""
        self._query("SELECT 1 FROM counts LIMIT 1")

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection, lock in self._all:
            with lock:
                connection.close()
        self._all.clear()
        self._local = threading.local()

    def _query(self, text: str, *values: str | float) -> list[tuple]:  # type: ignore[type-arg]
        with self._connection() as connection:
            return connection.execute(text, values).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, held so that `close` waits; SQLite's errors become ours."""
        try:
            held: tuple[sqlite3.Connection, threading.Lock] | None
            held = getattr(self._local, "held", None)
            if held is None:
                held = self._local.held = (_open(self._path), threading.Lock())
                self._all.append(held)
            connection, lock = held
            with lock:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(
                "The store of jobs is full or cannot be written; nothing was accepted. "
                "Send it again later.",
                5.0,
            ) from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(
        path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with _begun(connection):  # of several processes that start together one makes it
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _begun(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class _SqliteRows:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def job(self, job_id: str) -> Job | None:
        row = self._execute("SELECT doc FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return read_job(row[0]) if row else None

    def put(self, job: Job, old: Job | None, rank: float) -> None:
        values = (
            *(job.id, job.user_id, job.batch_id, job.status, job.priority, rank, job.queued_at),
            *(job.due_at, job.finished_at, job.callback_at, job.scope, job.work_key, job.as_json()),
        )
        self._execute(f"INSERT OR REPLACE INTO jobs VALUES ({','.join('?' * 13)})", values)
        if old is None or old.status is not job.status:
            if old is not None:
                self._count(old, -1)
            self._count(job, 1)

    def drop(self, job: Job) -> None:
        self._execute("DELETE FROM jobs WHERE id = ?", (job.id,))
        self._count(job, -1)

    def _count(self, job: Job, more: int) -> None:
        self._execute(
            "INSERT INTO counts VALUES (?, ?, ?) "
            "ON CONFLICT (status, priority) DO UPDATE SET n = n + excluded.n",
            (job.status, job.priority, more),
        )

    def newest(self, kind: str, value: str) -> str | None:
        only = "scope != ''" if kind == "scope" else "work_key != '' AND status = 'completed'"
        row = self._execute(
            f"SELECT max(id) FROM jobs WHERE {kind} = ? AND {only}", (value,)
        ).fetchone()
        return row[0] if row else None

    def key(self, name: str) -> Key | None:
        row = self._execute(
            "SELECT name, fingerprint, job_id, at FROM keys WHERE name = ?", (name,)
        ).fetchone()
        return Key(*row) if row else None

    def put_key(self, key: Key, life_s: float) -> None:
        self._execute("DELETE FROM keys WHERE until < ?", (key.at,))
        self._execute(
            "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)",
            (key.name, key.fingerprint, key.job_id, key.at, key.at + life_s),
        )

    def batch(self, batch_id: str) -> Batch | None:
        row = self._execute("SELECT doc FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return read_batch(row[0]) if row else None

    def put_batch(self, batch: Batch) -> None:
        self._execute(
            "INSERT OR REPLACE INTO batches VALUES (?, ?, ?)",
            (batch.id, bool(batch.jobs), batch.as_json()),
        )

    def heads(self) -> list[Head]:
        # A jump along the index from user to user, not a walk over all that is queued
        # (https://sqlite.org/optoverview.html has no skip-scan without statistics). Left to itself
        # the planner takes `by_status`: 370 ms with 9 000 in line, where this takes 0.3.
        rows = self._execute(
            """
            WITH RECURSIVE users (user_id) AS (
                SELECT min(user_id) FROM jobs INDEXED BY in_line WHERE status = 'queued'
                UNION ALL
                SELECT (SELECT min(user_id) FROM jobs INDEXED BY in_line
                        WHERE status = 'queued' AND user_id > users.user_id)
                FROM users WHERE users.user_id IS NOT NULL
            )
            SELECT users.user_id, jobs.id, jobs.rank, coalesce(turns.turn, 0)
            FROM users
            JOIN jobs ON jobs.id = (
                SELECT id FROM jobs INDEXED BY in_line
                WHERE status = 'queued' AND user_id = users.user_id
                ORDER BY rank, id LIMIT 1
            )
            LEFT JOIN turns ON turns.user_id = users.user_id
            """
        )
        return [Head(*row) for row in rows]

    def put_turn(self, user_id: str, turn: int) -> None:
        self._execute("INSERT OR REPLACE INTO turns VALUES (?, ?)", (user_id, turn))

    def due(self, status: Status, before: float, limit: int) -> list[str]:
        assert status in (Status.ACTIVE, Status.DELAYED)
        rows = self._execute(
            f"SELECT id FROM jobs INDEXED BY due WHERE status = '{status.value}' "
            "AND status IN ('active', 'delayed') AND due_at <= ? "
            "ORDER BY due_at LIMIT ?",
            (before, limit),
        )
        return [job_id for (job_id,) in rows]

    def callbacks(self, before: float, limit: int) -> list[str]:
        rows = self._execute(
            "SELECT id FROM jobs WHERE callback_at <= ? ORDER BY callback_at LIMIT ?",
            (before, limit),
        )
        return [job_id for (job_id,) in rows]

    def counts(self) -> dict[tuple[Status, int], int]:
        rows = self._execute("SELECT status, priority, n FROM counts WHERE n > 0")
        return {(Status(status), priority): n for status, priority, n in rows}
