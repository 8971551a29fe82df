import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.neo4j.cli.ExecutionContext;
import org.neo4j.importer.ImportCommand;
import picocli.CommandLine;

/** What `neo4j-admin database import full` does, into the databases of a server of Main: Import FOLDER OPTIONS... */
public class Import {
  public static void main(String[] given) throws Exception {
    Path home = Path.of(given[0]);
    Path configuration = Files.createDirectories(home.resolve("conf"));
    CommandLine command = new CommandLine(new ImportCommand.Full(new ExecutionContext(home, configuration)));
    System.exit(command.execute(Arrays.copyOfRange(given, 1, given.length)));
  }
}
