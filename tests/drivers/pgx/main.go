// pgx. What it reads and prints stands in ../README.md.
package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	run = os.Getenv("RUN")
	ctx = context.Background()
)

// connection lets pgx read PGHOST, PGSSLNEGOTIATION and the others, and checks whom it talks to.
func connection() (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("")
	if err != nil {
		return nil, err
	}
	if os.Getenv("PGSSLNEGOTIATION") != "" {
		chain := config.TLSConfig.VerifyPeerCertificate
		config.TLSConfig.VerifyPeerCertificate = func(raw [][]byte, verified [][]*x509.Certificate) error {
			if err := chain(raw, verified); err != nil {
				return err
			}
			return namesTheServer(raw[0])
		}
	}
	return pgx.ConnectConfig(ctx, config)
}

func namesTheServer(leaf []byte) error {
	certificate, err := x509.ParseCertificate(leaf)
	if err != nil {
		return err
	}
	if len(certificate.URIs) != 1 || certificate.URIs[0].String() != os.Getenv("SERVER_SPIFFE_ID") {
		return fmt.Errorf("the server is %v", certificate.URIs)
	}
	return nil
}

// with runs something on a session of its own.
func with(act func(*pgx.Conn) (string, error)) (string, error) {
	session, err := connection()
	if err != nil {
		return "", err
	}
	defer session.Close(ctx)
	return act(session)
}

func one(sql string, arguments ...any) func() (string, error) {
	return func() (string, error) {
		return with(func(session *pgx.Conn) (detail string, err error) {
			err = session.QueryRow(ctx, sql, arguments...).Scan(&detail)
			return
		})
	}
}

func prepared() (string, error) {
	return with(func(session *pgx.Conn) (string, error) {
		if _, err := session.Prepare(ctx, "square", "select ($1::int * $1::int)::text"); err != nil {
			return "", err
		}
		var squares []string
		for n := 1; n <= 3; n++ {
			var square string
			if err := session.QueryRow(ctx, "square", n).Scan(&square); err != nil {
				return "", err
			}
			squares = append(squares, square)
		}
		return strings.Join(squares, " "), nil
	})
}

func copyIn() (string, error) {
	return with(func(session *pgx.Conn) (detail string, err error) {
		rows := pgx.CopyFromSlice(1000, func(n int) ([]any, error) { return []any{run, n}, nil })
		if _, err = session.CopyFrom(ctx, pgx.Identifier{"driver_rows"}, []string{"run", "n"}, rows); err != nil {
			return
		}
		err = session.QueryRow(ctx, "select count(*)::text from driver_rows where run = $1", run).Scan(&detail)
		return
	})
}

func copyOut() (string, error) {
	return with(func(session *pgx.Conn) (string, error) {
		var lines bytes.Buffer
		sql := fmt.Sprintf("copy (select n from driver_rows where run = '%s') to stdout", run)
		_, err := session.PgConn().CopyTo(ctx, &lines, sql)
		return strconv.Itoa(bytes.Count(lines.Bytes(), []byte("\n"))), err
	})
}

func notify() (string, error) {
	return with(func(listening *pgx.Conn) (string, error) {
		if _, err := listening.Exec(ctx, "listen "+pgx.Identifier{run}.Sanitize()); err != nil {
			return "", err
		}
		if _, err := one("select pg_notify($1, 'hello')::text", run)(); err != nil {
			return "", err
		}
		patience, stop := context.WithTimeout(ctx, 30*time.Second)
		defer stop()
		notification, err := listening.WaitForNotification(patience)
		if err != nil {
			return "", err
		}
		return notification.Payload, nil
	})
}

func cancel() (string, error) {
	return with(func(busy *pgx.Conn) (string, error) {
		outcome := make(chan error)
		go func() {
			_, err := busy.Exec(ctx, "select pg_sleep(20)")
			outcome <- err
		}()
		asleep := one("select count(*)::text from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'", busy.PgConn().PID())
		for seen := "0"; seen == "0"; {
			var err error
			if seen, err = asleep(); err != nil {
				return "", err
			}
		}
		if err := busy.PgConn().CancelRequest(ctx); err != nil {
			return "", err
		}
		return sqlstate(<-outcome)
	})
}

func large() (string, error) {
	return with(func(session *pgx.Conn) (string, error) {
		rows, err := session.Query(ctx, "select repeat('x', 10000) from generate_series(1, 10000)")
		if err != nil {
			return "", err
		}
		size := 0
		for rows.Next() {
			size += len(rows.RawValues()[0])
		}
		return strconv.Itoa(size), rows.Err()
	})
}

func idle() (string, error) {
	return with(func(session *pgx.Conn) (detail string, err error) {
		if err = session.Ping(ctx); err != nil {
			return
		}
		seconds, err := strconv.ParseFloat(os.Getenv("IDLE_SECONDS"), 64)
		if err != nil {
			return
		}
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		err = session.QueryRow(ctx, "select (40 + 2)::text").Scan(&detail)
		return
	})
}

func denied() (string, error) {
	session, err := connection()
	if err == nil {
		return "let in", session.Close(ctx)
	}
	return sqlstate(err)
}

// sqlstate returns what Postgres, or the proxy in its place, gave as the reason.
func sqlstate(err error) (string, error) {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code, nil
	}
	return "", err
}

func main() {
	steps := map[string]func() (string, error){
		"connect":  one("select session_user::text"),
		"simple":   one("select (40 + 2)::text", pgx.QueryExecModeSimpleProtocol),
		"extended": one("select ($1::int + 2)::text", pgx.QueryExecModeExec, 40),
		"prepared": prepared,
		"copy-in":  copyIn,
		"copy-out": copyOut,
		"notify":   notify,
		"cancel":   cancel,
		"large":    large,
		"idle":     idle,
		"denied":   denied,
	}
	out := json.NewEncoder(os.Stdout)
	for _, step := range os.Args[1:] {
		detail, err := steps[step]()
		if err != nil {
			detail = err.Error()
		}
		_ = out.Encode(map[string]any{"step": step, "ok": err == nil, "detail": detail})
	}
}
