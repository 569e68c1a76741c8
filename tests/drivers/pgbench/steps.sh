#!/bin/bash
# pgbench with scripts of our own. It shows no results, so what a query returned goes through \gset and \shell.
# What it reads and prints stands in ../README.md.
set -u

# libpq 15 passes over PGSSLNEGOTIATION; as an option it says that it does not know it.
conninfo=${PGSSLNEGOTIATION:+sslnegotiation=$PGSSLNEGOTIATION}
here=$(mktemp --directory)
trap 'rm -rf "$here"' EXIT

in_a_line() { paste --serial --delimiters ' '; }

# Runs standard input as a script, once, with these options.
bench() {
    cat >"$here/script"
    pgbench --no-vacuum --client 1 --transactions 1 --file "$here/script" "$@" "$conninfo" >"$here/report"
    local status=$?
    sed --quiet 's/^result //p' "$here/report"
    return $status
}

show='\shell echo result :detail'

step_connect() { printf '%s\n' 'select session_user as detail \gset' "$show" | bench; }
step_simple() { printf '%s\n' 'select 40 + 2 as detail \gset' "$show" | bench --protocol simple; }
step_extended() {
    printf '%s\n' '\set n 40' 'select :n::int + 2 as detail \gset' "$show" | bench --protocol extended
}
step_prepared() {
    for n in 1 2 3; do printf '%s\n' "\set n $n" 'select :n::int * :n::int as detail \gset' "$show"; done |
        bench --protocol prepared | in_a_line
}
step_copy_in() { echo 'copy driver_rows (run, n) from stdin' | bench; }
step_copy_out() { echo 'copy driver_rows (n) to stdout' | bench; }
step_notify() {
    printf '%s\n' "listen \"$RUN\";" "select pg_notify('$RUN', 'hello');" 'select 1;' '\shell echo result runs, not shown' |
        bench
}
# Interrupted, it ends and leaves its query to Postgres.
step_cancel() {
    echo "select pg_sleep(20) /* $RUN */" >"$here/sleep"
    pgbench --no-vacuum --client 1 --transactions 1 --file "$here/sleep" "$conninfo" >"$here/report" &
    local sleeper=$!
    until [ "$(sleeping)" != 0 ]; do sleep 0.05; done
    kill -TERM $sleeper
    wait $sleeper
    # SIGTERM and SIGINT end it alike; bash lets its background jobs ignore the latter.
    [ "$(sleeping)" = 1 ] && echo 'ends without a cancel request'
}
sleeping() {
    psql --no-psqlrc --quiet --tuples-only --no-align --dbname "$conninfo" --command \
        "select count(*) from pg_stat_activity where query like '%/* $RUN */%' and wait_event = 'PgSleep'"
}
step_large() {
    printf '%s\n' "select repeat('x', 10000) from generate_series(1, 10000);" '\shell echo result read' | bench
}
step_idle() {
    printf '%s\n' 'select 1;' "\sleep $IDLE_SECONDS s" 'select 40 + 2 as detail \gset' "$show" | bench
}
step_denied() { echo 'select 1' | bench; }

for step in "$@"; do
    detail=$("step_${step//-/_}" 2>"$here/complaints") && ok=true || ok=false
    [ "$step" != denied ] || detail=$(sed --quiet 's/.*FATAL:  //p' "$here/complaints") ok=true
    [ -n "$detail" ] || { ok=false detail=$(in_a_line <"$here/complaints"); }
    detail=${detail//\\/\\\\}
    printf '{"step": "%s", "ok": %s, "detail": "%s"}\n' "$step" "$ok" "${detail//\"/\\\"}"
done
