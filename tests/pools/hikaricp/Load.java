// HikariCP on pgjdbc. What it reads and prints stands in ../README.md.

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.SQLException;

public class Load {
    static final int PATIENCE_MS = 10_000;
    static final int PAUSE_MS = 20;

    public static void main(String[] arguments) {
        int size = Integer.parseInt(System.getenv("POOL_SIZE"));
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl("jdbc:postgresql://%s:%s/%s"
                .formatted(System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")));
        config.setUsername(System.getenv("PGUSER"));
        config.addDataSourceProperty("sslmode", "disable"); // the sidecar does the TLS
        config.addDataSourceProperty("socketTimeout", PATIENCE_MS / 1_000);
        config.setMaximumPoolSize(size);
        config.setConnectionTimeout(PATIENCE_MS);
        HikariDataSource pool = new HikariDataSource(config);
        for (int worker = 0; worker < 2 * size; worker++) {
            new Thread(() -> work(pool)).start();
        }
    }

    static void work(HikariDataSource pool) {
        while (true) {
            String line = ask(pool);
            synchronized (System.out) {
                System.out.println(line);
            }
            try {
                Thread.sleep(PAUSE_MS);
            } catch (InterruptedException ended) {
                return;
            }
        }
    }

    static String ask(HikariDataSource pool) {
        try (var connection = pool.getConnection();
                var statement = connection.createStatement();
                var rows = statement.executeQuery("select pg_backend_pid(), current_user::text")) {
            rows.next();
            return "{\"backend\": %d, \"user\": \"%s\"}".formatted(rows.getInt(1), rows.getString(2));
        } catch (SQLException refused) {
            String text = refused.getSQLState() + " " + refused.getMessage().lines().findFirst().orElse("");
            return "{\"error\": \"%s\"}".formatted(text.replaceAll("[\\\\\"\\p{Cntrl}]+", " "));
        }
    }
}
