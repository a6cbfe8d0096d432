import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;

import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;

/** A session of the PostgreSQL JDBC driver. See package drivers. */
public final class Session {
    private static String env(String name) {
        return System.getenv(name);
    }

    private static Connection connect(String... options) throws SQLException {
        String url = "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE")
                + "?" + String.join("&", options);
        return DriverManager.getConnection(url, env("PGUSER"), env("PGPASSWORD"));
    }

    private static void report(String name, Callable<Object> step) {
        String value;
        try {
            value = String.valueOf(step.call());
        } catch (PSQLException e) {
            value = e.getSQLState() == null ? "failed: " + e.getMessage() : e.getSQLState();
            if (e.getServerErrorMessage() != null && e.getServerErrorMessage().getDetail() != null
                    && !"42501".equals(e.getSQLState())) {
                value += "|" + e.getServerErrorMessage().getDetail();
            }
        } catch (Exception e) {
            value = "failed: " + e;
        }
        System.out.println(name + ": " + value.replace('\n', ' '));
    }

    private static String values(ResultSet rs) throws SQLException {
        List<String> out = new ArrayList<>();
        while (rs.next()) {
            for (int i = 1; i <= rs.getMetaData().getColumnCount(); i++) {
                out.add(rs.getString(i));
            }
        }
        return String.join("|", out.stream().map(String::valueOf).toList());
    }

    private static String one(Connection c, String sql, Object... args) throws SQLException {
        try (PreparedStatement st = c.prepareStatement(sql)) {
            for (int i = 0; i < args.length; i++) {
                st.setObject(i + 1, args[i]);
            }
            return st.execute() ? values(st.getResultSet()) : "";
        }
    }

    private static String count(Connection c) throws SQLException {
        return one(c, "SELECT count(*) FROM app.orders");
    }

    public static void main(String[] args) throws Exception {
        for (String mode : new String[] {"disable", "prefer", "require"}) {
            report("connect-" + mode, () -> {
                connect("sslmode=" + mode).close();
                return "ok";
            });
        }
        String[][] verify = {{"verify-full", "127.0.0.1", "TRUSTED_CA"}, {"verify-full-name", "localhost", "TRUSTED_CA"}, {"verify-untrusted", "127.0.0.1", "UNTRUSTED_CA"}};
        for (String[] v : verify) {
            report(v[0], () -> {
                String url = "jdbc:postgresql://" + v[1] + ":" + env("PGPORT") + "/" + env("PGDATABASE") + "?sslmode=verify-full&sslrootcert=" + env(v[2]);
                try {
                    DriverManager.getConnection(url, env("PGUSER"), env("PGPASSWORD")).close();
                } catch (PSQLException e) {
                    return e.getSQLState() + " " + e.getMessage();
                }
                return "ok";
            });
        }
        Connection c = connect("sslmode=disable");
        report("select", () -> one(c, "SELECT 1+1"));
        report("simple-mode", () -> {
            try (Connection s = connect("sslmode=disable", "preferQueryMode=simple")) {
                return one(s, "SELECT id, name FROM app.customers WHERE id = ?", 1);
            }
        });
        report("prepared", () -> one(c, "SELECT id, name FROM app.customers WHERE id = ?", 1));
        // The driver makes a named statement of what is used often enough, and asks
        // for binary results from then on.
        report("server-prepared", () -> {
            try (PreparedStatement st = c.prepareStatement("SELECT id, name FROM app.customers WHERE id = ?")) {
                st.unwrap(org.postgresql.PGStatement.class).setPrepareThreshold(2);
                String last = "";
                for (int i = 0; i < 10; i++) {
                    st.setInt(1, 1);
                    last = values(st.executeQuery());
                }
                return last;
            }
        });
        report("masked", () -> one(c, "SELECT ssn, card, email FROM app.customers WHERE id = ?", 1));
        report("transaction", () -> {
            String before = count(c);
            c.setAutoCommit(false);
            String inside;
            try {
                one(c, "INSERT INTO app.orders VALUES (?, 1, 1)", 999);
                inside = count(c);
            } finally {
                c.rollback();
                c.setAutoCommit(true);
            }
            return before + "," + inside + "," + count(c);
        });
        report("batch", () -> {
            try (PreparedStatement st = c.prepareStatement("INSERT INTO app.orders VALUES (?, 1, 1)")) {
                for (int id = 2001; id <= 2003; id++) {
                    st.setInt(1, id);
                    st.addBatch();
                }
                int n = st.executeBatch().length;
                try (Statement d = c.createStatement()) {
                    return n + "|" + d.executeUpdate("DELETE FROM app.orders WHERE id > 2000");
                }
            }
        });
        PGConnection pg = c.unwrap(PGConnection.class);
        report("copy-out", () -> {
            StringWriter out = new StringWriter();
            return pg.getCopyAPI().copyOut("COPY app.orders TO STDOUT (FORMAT csv)", out) + "|" + out.toString().lines().count();
        });
        report("copy-in", () -> {
            long n = pg.getCopyAPI().copyIn("COPY app.orders FROM STDIN (FORMAT csv)", new StringReader("1001,1,5\n1002,1,6\n"));
            try (Statement d = c.createStatement()) {
                return n + "|" + d.executeUpdate("DELETE FROM app.orders WHERE id > 1000");
            }
        });
        report("listen", () -> {
            one(c, "LISTEN ch");
            one(c, "NOTIFY ch, 'hello'");
            PGNotification[] got = pg.getNotifications(5000);
            return got == null || got.length == 0 ? "none" : got[0].getParameter();
        });
        report("error-column", () -> one(c, "SELECT nope FROM app.orders"));
        report("error-unique", () -> one(c, "INSERT INTO app.orders VALUES (1, 1, 1)"));
        report("error-syntax", () -> one(c, "SELEC 1"));
        report("denied", () -> one(c, "SELECT v FROM app.secrets"));
        report("cancel", () -> {
            try (Connection o = connect("sslmode=disable"); Statement st = o.createStatement()) {
                Thread canceller = new Thread(() -> {
                    try {
                        Thread.sleep(300);
                        st.cancel();
                    } catch (Exception e) {
                        System.err.println(e);
                    }
                });
                canceller.start();
                st.executeQuery("SELECT count(*) FROM generate_series(1, 100000000000) g");
                return "not cancelled";
            }
        });
        report("large", () -> {
            try (Statement st = c.createStatement();
                    ResultSet rs = st.executeQuery("SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")) {
                long n = 0, sum = 0;
                while (rs.next()) {
                    n++;
                    sum += rs.getInt(1);
                }
                return n + "|" + sum;
            }
        });
        report("cursor", () -> {
            c.setAutoCommit(false);
            try (Statement st = c.createStatement()) {
                st.setFetchSize(100);
                ResultSet rs = st.executeQuery("SELECT g FROM generate_series(1, 5000) g");
                int n = 0;
                while (rs.next()) {
                    n++;
                }
                return n;
            } finally {
                c.rollback();
                c.setAutoCommit(true);
            }
        });
        report("types", () -> one(c, "SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\\x0001ff'::bytea, "
                + "'2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC', '{\"a\": 1}'::jsonb, ARRAY[1,2,3], NULL"));
        // What object mappers and tools ask before their first query.
        report("metadata", () -> {
            try (ResultSet rs = c.getMetaData().getColumns(null, "app", "orders", "%")) {
                int n = 0;
                while (rs.next()) {
                    n++;
                }
                return n;
            }
        });
        report("select-after", () -> one(c, "SELECT 3"));
        c.close();
    }
}
