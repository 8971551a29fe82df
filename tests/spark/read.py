"""Read a journal in Spark, and print how many rows each operation has, as JSON.

    python tests/spark/read.py FOLDER_OF_JARS JOURNAL

Credentials and address of the object store are in the environment. This is what docs/scale.md
shows, in a process of its own: a Java machine that was started stays until its process ends.
"""

import json
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

DELTA = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


def main(jars: str, journal: str) -> None:
    """Print the counts of a journal."""
    builder = (
        SparkSession.builder.master("local[1]")
        .config("spark.jars", ",".join(map(str, sorted(Path(jars).glob("*.jar")))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config(
            "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
        )
        .config("spark.hadoop.fs.s3a.endpoint", os.environ["AWS_ENDPOINT_URL"])
        .config("spark.hadoop.fs.s3a.endpoint.region", os.environ["AWS_REGION"])
        .config("spark.hadoop.fs.s3a.path.style.access", "true")
        # As small as a test wants it.
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.memory", "768m")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
    )
    spark = builder.getOrCreate()
    rows = spark.read.format("delta").load(journal).groupBy("operation").count().collect()
    print(json.dumps({row["operation"]: row["count"] for row in rows}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
