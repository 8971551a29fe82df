import java.nio.file.Path;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.graphdb.QueryExecutionException;

/** A Neo4j server on loopback, with authentication on: Main FOLDER PORT PASSWORD; it says "ready" once it answers. */
public class Main {
  public static void main(String[] given) throws Exception {
    SocketAddress address = new SocketAddress("127.0.0.1", Integer.parseInt(given[1]));
    DatabaseManagementService service =
        new DatabaseManagementServiceBuilder(Path.of(given[0]))
            .setConfig(BoltConnector.enabled, true)
            .setConfig(BoltConnector.listen_address, address)
            .setConfig(BoltConnector.advertised_address, address)
            .setConfig(GraphDatabaseSettings.auth_enabled, true)
            .build();
    Runtime.getRuntime().addShutdownHook(new Thread(service::shutdown));
    try {
      service
          .database("system")
          .executeTransactionally("ALTER USER neo4j SET PASSWORD '" + given[2] + "' CHANGE NOT REQUIRED");
    } catch (QueryExecutionException error) {
      // A server that is started again has it already.
      if (!error.getMessage().contains("cannot be the same")) throw error;
    }
    System.out.println("ready");
    System.out.flush();
    Thread.currentThread().join();
  }
}
