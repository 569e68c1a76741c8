// pgjdbc. What it reads and prints stands in ../README.md.

import java.io.StringReader;
import java.io.StringWriter;
import java.security.cert.X509Certificate;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.net.ssl.HostnameVerifier;
import javax.net.ssl.SSLSession;
import org.postgresql.PGConnection;

public class Steps {
    static final Map<String, String> ENVIRONMENT = System.getenv();
    static final String RUN = ENVIRONMENT.get("RUN");

    interface Step {
        Object run() throws Exception;
    }

    /** pgjdbc reads no environment, and wants the key as DER. */
    static Connection connection(String... more) throws SQLException {
        String url = "jdbc:postgresql://%s:%s/%s"
                .formatted(ENVIRONMENT.get("PGHOST"), ENVIRONMENT.get("PGPORT"), ENVIRONMENT.get("PGDATABASE"));
        Properties properties = new Properties();
        properties.setProperty("user", ENVIRONMENT.get("PGUSER"));
        if (ENVIRONMENT.containsKey("PGSSLNEGOTIATION")) {
            properties.setProperty("sslNegotiation", ENVIRONMENT.get("PGSSLNEGOTIATION"));
            properties.setProperty("sslmode", "verify-full");
            properties.setProperty("sslhostnameverifier", Server.class.getName());
            properties.setProperty("sslrootcert", ENVIRONMENT.get("PGSSLROOTCERT"));
            properties.setProperty("sslcert", ENVIRONMENT.get("PGSSLCERT"));
            properties.setProperty("sslkey", ENVIRONMENT.get("PGSSLKEY").replace(".pem", ".pk8"));
        }
        for (int i = 0; i < more.length; i += 2) {
            properties.setProperty(more[i], more[i + 1]);
        }
        return DriverManager.getConnection(url, properties);
    }

    /** Asks for the SPIFFE ID where others ask for the host's name. */
    public static class Server implements HostnameVerifier {
        @Override
        public boolean verify(String host, SSLSession session) {
            try {
                var leaf = (X509Certificate) session.getPeerCertificates()[0];
                var uri = List.of(6, ENVIRONMENT.get("SERVER_SPIFFE_ID"));
                return List.copyOf(leaf.getSubjectAlternativeNames()).equals(List.of(uri));
            } catch (Exception error) {
                return false;
            }
        }
    }

    static Object one(Connection session, String sql, Object... values) throws SQLException {
        try (var statement = session.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            var rows = statement.executeQuery();
            rows.next();
            return rows.getObject(1);
        }
    }

    static Object connect() throws SQLException {
        try (var session = connection()) {
            return one(session, "select session_user::text");
        }
    }

    static Object simple() throws SQLException {
        try (var session = connection("preferQueryMode", "simple")) {
            return one(session, "select 40 + 2");
        }
    }

    static Object extended() throws SQLException {
        try (var session = connection()) {
            return one(session, "select ? + 2", 40);
        }
    }

    static Object prepared() throws SQLException {
        try (var session = connection("prepareThreshold", "1");
                var square = session.prepareStatement("select ?::int * ?::int")) {
            var squares = new StringBuilder();
            for (int n = 1; n <= 3; n++) {
                square.setInt(1, n);
                square.setInt(2, n);
                var rows = square.executeQuery();
                rows.next();
                squares.append(rows.getInt(1)).append(' ');
            }
            return squares.toString().strip();
        }
    }

    static Object copyIn() throws Exception {
        try (var session = connection()) {
            String rows = IntStream.range(0, 1000).mapToObj(n -> RUN + "\t" + n + "\n").collect(Collectors.joining());
            session.unwrap(PGConnection.class)
                    .getCopyAPI()
                    .copyIn("copy driver_rows (run, n) from stdin", new StringReader(rows));
            return one(session, "select count(*) from driver_rows where run = ?", RUN);
        }
    }

    static Object copyOut() throws Exception {
        try (var session = connection()) {
            var lines = new StringWriter();
            String sql = "copy (select n from driver_rows where run = '" + RUN + "') to stdout";
            session.unwrap(PGConnection.class).getCopyAPI().copyOut(sql, lines);
            return lines.toString().lines().count();
        }
    }

    static Object notification() throws SQLException {
        try (var listening = connection(); var telling = connection()) {
            listening.createStatement().execute("listen \"" + RUN + "\"");
            one(telling, "select pg_notify(?, 'hello')::text", RUN);
            return listening.unwrap(PGConnection.class).getNotifications(30_000)[0].getParameter();
        }
    }

    static Object cancel() throws Exception {
        try (var busy = connection(); var watching = connection(); var sleeping = busy.createStatement()) {
            int pid = busy.unwrap(PGConnection.class).getBackendPID();
            var outcome = CompletableFuture.supplyAsync(() -> {
                try {
                    sleeping.execute("select pg_sleep(20)");
                    return "slept to the end";
                } catch (SQLException error) {
                    return error.getSQLState();
                }
            });
            String asleep = "select count(*) from pg_stat_activity where pid = ? and wait_event = 'PgSleep'";
            while ((long) one(watching, asleep, pid) == 0) {
                Thread.sleep(10);
            }
            sleeping.cancel();
            return outcome.get();
        }
    }

    static Object large() throws SQLException {
        try (var session = connection()) {
            var rows = session.createStatement()
                    .executeQuery("select repeat('x', 10000) from generate_series(1, 10000)");
            int size = 0;
            while (rows.next()) {
                size += rows.getString(1).length();
            }
            return size;
        }
    }

    static Object idle() throws Exception {
        try (var session = connection()) {
            one(session, "select 1");
            Thread.sleep((long) (1000 * Double.parseDouble(ENVIRONMENT.get("IDLE_SECONDS"))));
            return one(session, "select 40 + 2");
        }
    }

    static Object denied() {
        try (var session = connection()) {
            return "let in";
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    public static void main(String[] names) {
        Map<String, Step> steps = Map.ofEntries(
                Map.entry("connect", Steps::connect),
                Map.entry("simple", Steps::simple),
                Map.entry("extended", Steps::extended),
                Map.entry("prepared", Steps::prepared),
                Map.entry("copy-in", Steps::copyIn),
                Map.entry("copy-out", Steps::copyOut),
                Map.entry("notify", Steps::notification),
                Map.entry("cancel", Steps::cancel),
                Map.entry("large", Steps::large),
                Map.entry("idle", Steps::idle),
                Map.entry("denied", Steps::denied));
        for (String name : names) {
            boolean ok = true;
            String detail;
            try {
                detail = String.valueOf(steps.get(name).run());
            } catch (Exception error) {
                ok = false;
                detail = error.toString();
            }
            detail = detail.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ");
            System.out.printf("{\"step\": \"%s\", \"ok\": %s, \"detail\": \"%s\"}%n", name, ok, detail);
        }
    }
}
