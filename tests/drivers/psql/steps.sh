#!/bin/bash
# psql, as a person or a script uses it. What it reads and prints stands in ../README.md.
set -u

# libpq 15 passes over PGSSLNEGOTIATION; as an option it says that it does not know it.
conninfo=${PGSSLNEGOTIATION:+sslnegotiation=$PGSSLNEGOTIATION}
ask=(psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=verbose --dbname "$conninfo")
complaints=$(mktemp)
trap 'rm -f "$complaints"' EXIT

in_a_line() { paste --serial --delimiters ' '; }

step_connect() { "${ask[@]}" --command 'select session_user'; }
step_simple() { "${ask[@]}" --command 'select 40 + 2'; }
step_extended() { "${ask[@]}" <<<'select $1::int + 2 \bind 40 \g'; }
step_prepared() {
    "${ask[@]}" <<<'prepare square(int) as select $1 * $1; execute square(1); execute square(2); execute square(3);' | in_a_line
}
step_copy_in() {
    seq --format "$RUN"$'\t%g' 1000 | "${ask[@]}" --command 'copy driver_rows (run, n) from stdin' \
        --command "select count(*) from driver_rows where run = '$RUN'"
}
step_copy_out() { "${ask[@]}" --command "copy (select n from driver_rows where run = '$RUN') to stdout" | wc --lines; }
# psql looks for notifications when a command has ended.
step_notify() {
    "${ask[@]}" <<EOS | sed --quiet 's/.* with payload "\(.*\)" received .*/\1/p'
listen "$RUN";
\! psql --no-psqlrc --quiet --output /dev/null --command "select pg_notify('$RUN', 'hello')"
select from pg_sleep(0.1);
select from pg_sleep(0.1);
EOS
}
step_cancel() {
    "${ask[@]}" --command "select pg_sleep(20) /* $RUN */" &
    local sleeper=$!
    local asleep="select count(*) from pg_stat_activity where query like '%/* $RUN */%' and wait_event = 'PgSleep'"
    until [ "$("${ask[@]}" --command "$asleep")" != 0 ]; do sleep 0.05; done
    kill -INT $sleeper
    wait $sleeper
}
step_large() {
    "${ask[@]}" --command "select repeat('x', 10000) from generate_series(1, 10000)" | tr --delete '\n' | wc --bytes
}
step_idle() {
    "${ask[@]}" <<EOS
select;
\! sleep $IDLE_SECONDS
select 40 + 2;
EOS
}
step_denied() { "${ask[@]}" --command 'select'; }

for step in "$@"; do
    detail=$("step_${step//-/_}" 2>"$complaints") && ok=true || ok=false
    # Two steps ask for an error: a canceled statement has an SQLSTATE, a refused connection a message only.
    case $step in
        cancel) detail=$(sed --quiet 's/^ERROR:  \([0-9A-Z]*\): .*/\1/p' "$complaints") ok=true ;;
        denied) detail=$(sed --quiet 's/.*FATAL:  //p' "$complaints") ok=true ;;
    esac
    [ -n "$detail" ] || { ok=false detail=$(in_a_line <"$complaints"); }
    detail=${detail//\\/\\\\}
    printf '{"step": "%s", "ok": %s, "detail": "%s"}\n' "$step" "$ok" "${detail//\"/\\\"}"
done
