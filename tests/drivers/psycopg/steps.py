"""psycopg 3: libpq of PostgreSQL 18. What it reads and prints stands in ../README.md."""

import json
import os
import sys
import threading
import time

import psycopg

RUN = os.environ["RUN"]


def connection():
    """libpq itself reads PGHOST, PGSSLNEGOTIATION and the others."""
    return psycopg.connect(autocommit=True)


def one(sql, parameters=None):
    with connection() as session:
        return session.execute(sql, parameters).fetchone()[0]


def prepared():
    with connection() as session:
        rows = (session.execute("select %s::int * %s::int", (n, n), prepare=True) for n in (1, 2, 3))
        squares = " ".join(str(row.fetchone()[0]) for row in rows)
        count = session.execute("select count(*) from pg_prepared_statements").fetchone()[0]
        return squares if count == 1 else f"{count} prepared statements"


def copy_in():
    with connection() as session:
        with session.cursor().copy("copy driver_rows (run, n) from stdin") as copy:
            for n in range(1000):
                copy.write_row((RUN, n))
        return session.execute("select count(*) from driver_rows where run = %s", (RUN,)).fetchone()[0]


def copy_out():
    with connection() as session:
        with session.cursor().copy("copy (select n from driver_rows where run = %s) to stdout", (RUN,)) as copy:
            return sum(1 for _ in copy.rows())


def notify():
    with connection() as listening, connection() as telling:
        listening.execute(f'listen "{RUN}"')
        telling.execute("select pg_notify(%s, 'hello')", (RUN,))
        return next(listening.notifies(timeout=30)).payload


def cancel():
    with connection() as busy, connection() as watching:
        outcome = []

        def sleep():
            try:
                outcome.append(busy.execute("select pg_sleep(20)").fetchone())
            except psycopg.Error as error:
                outcome.append(error.sqlstate)

        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        asleep = "select from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        while not watching.execute(asleep, (busy.info.backend_pid,)).rowcount:
            time.sleep(0.01)
        busy.cancel_safe()
        sleeper.join()
        return outcome[0]


def large():
    with connection() as session:
        rows = session.execute("select repeat('x', 10000) from generate_series(1, 10000)")
        return sum(len(word) for (word,) in rows)


def idle():
    with connection() as session:
        session.execute("select 1")
        time.sleep(float(os.environ["IDLE_SECONDS"]))
        return session.execute("select 40 + 2").fetchone()[0]


def denied():
    try:
        connection().close()
    except psycopg.OperationalError as error:
        # libpq keeps the SQLSTATE of a failed connection to itself.
        return error.sqlstate or str(error).partition("FATAL:  ")[2].splitlines()[0]
    return "let in"


STEPS = {
    "connect": lambda: one("select session_user::text"),
    "simple": lambda: one("select 40 + 2"),
    "extended": lambda: one("select %s::int + 2", (40,)),
    "prepared": prepared,
    "copy-in": copy_in,
    "copy-out": copy_out,
    "notify": notify,
    "cancel": cancel,
    "large": large,
    "idle": idle,
    "denied": denied,
}

for step in sys.argv[1:]:
    try:
        ok, detail = True, STEPS[step]()
    except Exception as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    print(json.dumps({"step": step, "ok": ok, "detail": str(detail)}), flush=True)
