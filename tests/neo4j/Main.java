import java.nio.file.Path;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.graphdb.QueryExecutionException;

/**
 * A Neo4j server on loopback: Main FOLDER PORT [PASSWORD]. Without a password its authentication is off. It prints
 * "ready" once it answers.
 */
public class Main {
  public static void main(String[] given) throws Exception {
    boolean authentication = given.length > 2;
    SocketAddress address = new SocketAddress("127.0.0.1", Integer.parseInt(given[1]));
    DatabaseManagementService service =
        new DatabaseManagementServiceBuilder(Path.of(given[0]))
            .setConfig(BoltConnector.enabled, true)
            .setConfig(BoltConnector.listen_address, address)
            .setConfig(BoltConnector.advertised_address, address)
            .setConfig(GraphDatabaseSettings.auth_enabled, authentication)
            // Each of two databases would take 256 MB.
            .setConfig(GraphDatabaseSettings.preallocate_logical_logs, false)
            .build();
    Runtime.getRuntime().addShutdownHook(new Thread(service::shutdown));
    if (authentication) setPassword(service, given[2]);
    System.out.println("ready");
    System.out.flush();
    Thread.currentThread().join();
  }

  private static void setPassword(DatabaseManagementService service, String password) {
    try {
      service
          .database("system")
          .executeTransactionally("ALTER USER neo4j SET PASSWORD '" + password + "' CHANGE NOT REQUIRED");
    } catch (QueryExecutionException error) {
      // A server that is started again has the password already.
      if (!error.getMessage().contains("cannot be the same")) throw error;
    }
  }
}
