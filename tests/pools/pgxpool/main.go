// pgxpool. What it reads and prints stands in ../README.md.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	patience = 10 * time.Second
	pause    = 20 * time.Millisecond
)

type outcome struct {
	Backend int    `json:"backend,omitempty"`
	User    string `json:"user,omitempty"`
	Error   string `json:"error,omitempty"`
}

func ask(pool *pgxpool.Pool) (found outcome) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	row := pool.QueryRow(ctx, "select pg_backend_pid(), current_user::text")
	if err := row.Scan(&found.Backend, &found.User); err != nil {
		return outcome{Error: err.Error()}
	}
	return found
}

func main() {
	size, err := strconv.Atoi(os.Getenv("POOL_SIZE"))
	if err != nil {
		panic(err)
	}
	config, err := pgxpool.ParseConfig("") // the environment
	if err != nil {
		panic(err)
	}
	config.MaxConns = int32(size)
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		panic(err)
	}
	outcomes := make(chan outcome)
	for range 2 * size {
		go func() {
			for {
				outcomes <- ask(pool)
				time.Sleep(pause)
			}
		}()
	}
	lines := json.NewEncoder(os.Stdout)
	for found := range outcomes {
		if err := lines.Encode(found); err != nil {
			panic(err)
		}
	}
}
