"""asyncpg. What it reads and prints stands in ../README.md."""

import asyncio
import contextlib
import io
import json
import os
import ssl
import sys

import asyncpg

RUN = os.environ["RUN"]


class Server(ssl.SSLObject):
    """A TLS session that ends when another than the server answers."""

    def do_handshake(self):
        super().do_handshake()
        names = self.getpeercert()["subjectAltName"]
        if names != (("URI", os.environ["SERVER_SPIFFE_ID"]),):
            raise ssl.SSLCertVerificationError(f"the server is {names}")


@contextlib.asynccontextmanager
async def connection():
    """asyncpg itself reads PGHOST, PGUSER and the others; direct TLS takes a context."""
    options = {}
    if "PGSSLNEGOTIATION" in os.environ:
        tls = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
        tls.sslobject_class = Server
        tls.load_cert_chain(os.environ["PGSSLCERT"], os.environ["PGSSLKEY"])
        tls.check_hostname = False  # an SVID names no host
        tls.set_alpn_protocols(["postgresql"])
        options = {"ssl": tls, "direct_tls": True}
    session = await asyncpg.connect(**options)
    try:
        yield session
    finally:
        await session.close(timeout=10)


async def connect():
    async with connection() as session:
        return await session.fetchval("select session_user::text")


async def simple():
    """`execute` without arguments is the only thing that asyncpg sends as a simple query; it returns the tag."""
    async with connection() as session:
        tag = await session.execute("select from generate_series(1, 40 + 2)")
        return tag.removeprefix("SELECT ")


async def extended():
    async with connection() as session:
        return await session.fetchval("select $1::int + 2", 40)


async def prepared():
    async with connection() as session:
        square = await session.prepare("select $1::int * $1::int")
        return " ".join([str(await square.fetchval(n)) for n in (1, 2, 3)])


async def copy_in():
    async with connection() as session:
        rows = ((RUN, n) for n in range(1000))
        await session.copy_records_to_table("driver_rows", records=rows, columns=["run", "n"])
        return await session.fetchval("select count(*) from driver_rows where run = $1", RUN)


async def copy_out():
    async with connection() as session:
        lines = io.BytesIO()
        await session.copy_from_query("select n from driver_rows where run = $1", RUN, output=lines)
        return lines.getvalue().count(b"\n")


async def notify():
    async with connection() as listening, connection() as telling:
        heard = asyncio.get_running_loop().create_future()
        await listening.add_listener(RUN, lambda _session, _pid, _channel, payload: heard.set_result(payload))
        await telling.execute("select pg_notify($1, 'hello')", RUN)
        return await asyncio.wait_for(heard, 30)


async def cancel():
    """asyncpg tells its caller of the cancellation, not of Postgres' error; so Postgres is asked."""
    async with connection() as busy, connection() as watching:
        asleep = "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'"
        pid = busy.get_server_pid()
        sleeper = asyncio.create_task(busy.execute("select pg_sleep(20)"))
        while not await watching.fetchval(asleep, pid):
            await asyncio.sleep(0.01)
        sleeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sleeper
        # The session is free only when the cancel request has been answered.
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await busy.execute("select")
        return "sleeps on" if await watching.fetchval(asleep, pid) else "sleeps no more"


async def large():
    async with connection() as session:
        rows = await session.fetch("select repeat('x', 10000) from generate_series(1, 10000)")
        return sum(len(word) for (word,) in rows)


async def idle():
    async with connection() as session:
        await session.fetchval("select 1")
        await asyncio.sleep(float(os.environ["IDLE_SECONDS"]))
        return await session.fetchval("select 40 + 2")


async def denied():
    try:
        async with connection():
            return "let in"
    except asyncpg.PostgresError as error:
        return error.sqlstate


STEPS = {
    "connect": connect,
    "simple": simple,
    "extended": extended,
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
        ok, detail = True, asyncio.run(STEPS[step]())
    except Exception as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    print(json.dumps({"step": step, "ok": ok, "detail": str(detail)}), flush=True)
