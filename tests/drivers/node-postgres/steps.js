// node-postgres. What it reads and prints stands in ../README.md.
"use strict";

const fs = require("node:fs");
const { setTimeout: pause } = require("node:timers/promises");
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const { Client, Query } = require("pg");
const { from: copyFrom, to: copyTo } = require("pg-copy-streams");

const run = process.env.RUN;

// node-postgres itself reads PGHOST, PGSSLNEGOTIATION and the others, but no certificates.
function client() {
  if (!process.env.PGSSLNEGOTIATION) return new Client();
  const read = (variable) => fs.readFileSync(process.env[variable]);
  return new Client({
    ssl: {
      ca: read("PGSSLROOTCERT"),
      cert: read("PGSSLCERT"),
      key: read("PGSSLKEY"),
      checkServerIdentity: (_host, { subjectaltname }) =>
        subjectaltname === `URI:${process.env.SERVER_SPIFFE_ID}` ? undefined : new Error(`the server is ${subjectaltname}`),
    },
  });
}

// Runs something on a session of its own.
async function using(act) {
  const session = client();
  await session.connect();
  try {
    return await act(session);
  } finally {
    await session.end();
  }
}

async function one(session, query) {
  return (await session.query(query)).rows[0].detail;
}

const asleep = "select count(*)::int as detail from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";

const steps = {
  connect: () => using((session) => one(session, "select session_user::text as detail")),
  simple: () => using((session) => one(session, "select 40 + 2 as detail")),
  extended: () => using((session) => one(session, { text: "select $1::int + 2 as detail", values: [40] })),
  prepared: () =>
    using(async (session) => {
      const squares = [];
      for (const n of [1, 2, 3]) {
        squares.push(await one(session, { name: "square", text: "select $1::int * $1::int as detail", values: [n] }));
      }
      return squares.join(" ");
    }),
  "copy-in": () =>
    using(async (session) => {
      const rows = Array.from({ length: 1000 }, (_, n) => `${run}\t${n}\n`);
      await pipeline(Readable.from(rows), session.query(copyFrom("copy driver_rows (run, n) from stdin")));
      return one(session, { text: "select count(*)::int as detail from driver_rows where run = $1", values: [run] });
    }),
  "copy-out": () =>
    using(async (session) => {
      const lines = session.query(copyTo(`copy (select n from driver_rows where run = '${run}') to stdout`));
      return Buffer.concat(await lines.toArray()).toString().trimEnd().split("\n").length;
    }),
  notify: () =>
    using(async (listening) => {
      const heard = new Promise((resolve) => listening.on("notification", ({ payload }) => resolve(payload)));
      await listening.query(`listen "${run}"`);
      await using((telling) => telling.query("select pg_notify($1, 'hello')", [run]));
      return heard;
    }),
  cancel: () =>
    using((busy) =>
      using(async (watching) => {
        const query = new Query("select pg_sleep(20)");
        const outcome = new Promise((resolve) => {
          query.on("error", (error) => resolve(error.code));
          query.on("end", () => resolve("slept to the end"));
        });
        busy.query(query);
        while (!(await one(watching, { text: asleep, values: [busy.processID] }))) await pause(10);
        const canceling = client();
        canceling.connection.on("error", () => {});
        canceling.cancel(busy, query);
        return outcome;
      }),
    ),
  large: () =>
    using(async (session) => {
      const { rows } = await session.query("select repeat('x', 10000) as word from generate_series(1, 10000)");
      return rows.reduce((size, { word }) => size + word.length, 0);
    }),
  idle: () =>
    using(async (session) => {
      await session.query("select 1");
      await pause(1000 * Number(process.env.IDLE_SECONDS));
      return one(session, "select 40 + 2 as detail");
    }),
  denied: async () => {
    try {
      return await using(() => "let in");
    } catch (error) {
      if (error.code === undefined) throw error;
      return error.code;
    }
  },
};

(async () => {
  for (const step of process.argv.slice(2)) {
    const told = await steps[step]().then(
      (detail) => ({ step, ok: true, detail: String(detail) }),
      (error) => ({ step, ok: false, detail: String(error) }),
    );
    console.log(JSON.stringify(told));
  }
})();
