"""What a node is started with: cassandra.yaml, its log configuration, and the JVM's flags."""

from __future__ import annotations

import json
import pathlib
import ssl
from typing import Any

TOKENS_PER_NODE = 4
# Who every node that asks for a password knows from its first start.
FIRST_LOGIN = ("cassandra", "cassandra")

ADD_EXPORTS = """
java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.base/java.lang.ref
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
java.sql/java.sql jdk.unsupported/sun.misc
""".split()

ADD_OPENS = """
java.base/java.lang java.base/java.lang.module java.base/java.io java.base/java.nio java.base/java.util
java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/jdk.internal.loader
java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.math
java.base/jdk.internal.module java.base/jdk.internal.util.jar java.base/sun.nio.ch
jdk.management/com.sun.management.internal
""".split()

LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level [%thread] %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT" /></root>
  <logger name="com.thinkaurelius.thrift" level="ERROR"/>
  <logger name="org.apache.cassandra.gms.FailureDetector" level="INFO"/>
</configuration>
"""

COMMIT_LOG: dict[str, dict[str, Any]] = {
    # Cassandra's default: acknowledged before fsync, which follows within ten seconds.
    "periodic": {"commitlog_sync": "periodic", "commitlog_sync_period": "10000ms"},
    "batch": {"commitlog_sync": "batch"},
    "group": {"commitlog_sync": "group", "commitlog_sync_group_window": "10ms"},
}

# What has to be in the folder of certificates, in PEM, with keys as PKCS #8.
CERTIFICATES = {
    "none": [],
    "optional": ["authority.pem", "node.pem", "node.key"],
    "required": ["authority.pem", "node.pem", "node.key"],
    "mutual": ["authority.pem", "node.pem", "node.key", "client.pem", "client.key"],
}

PASSWORD = {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}


def client_encryption(cluster: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """A node's TLS settings for clients; between nodes there is none."""
    certificates = pathlib.Path(cluster["certificates"])
    return {
        "enabled": True,
        "optional": cluster["tls"] == "optional",
        "require_client_auth": cluster["tls"] == "mutual",
        "ssl_context_factory": {"class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"},
        "keystore": str(folder / "keystore.pem"),
        "truststore": str(certificates / "authority.pem"),
    }


def client_tls(cluster: dict[str, Any]) -> ssl.SSLContext | None:
    """How this launcher itself encrypts; by the authority alone, since nodes have all kinds of addresses."""
    if cluster.get("tls", "none") == "none":
        return None
    certificates = pathlib.Path(cluster["certificates"])
    context = ssl.create_default_context(cafile=str(certificates / "authority.pem"))
    context.check_hostname = False
    if cluster["tls"] == "mutual":
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    return context


def tokens(node: int, nodes: int) -> str:
    """Evenly spread and interleaved, so that data is spread the same way whatever the run."""
    total = nodes * TOKENS_PER_NODE
    return ",".join(str(-(2**63) + (2**64 * (turn * nodes + node - 1)) // total) for turn in range(TOKENS_PER_NODE))


def settings(cluster: dict[str, Any], node: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """One node's cassandra.yaml. What is not here is Cassandra's own default, timeouts among them."""
    nodes = len(cluster["nodes"])
    # Every node is a seed: a seed that finds no other yet goes on, so that all nodes can start at the same time.
    seeds = ",".join(f"{one['address']}:{cluster['storage_port']}" for one in cluster["nodes"])
    result: dict[str, Any] = {
        "cluster_name": cluster["name"],
        "num_tokens": TOKENS_PER_NODE,
        "initial_token": tokens(node["number"], nodes),
        "auto_bootstrap": False,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "seed_provider": [
            {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
        ],
        "listen_address": node["address"],
        "storage_port": cluster["storage_port"],
        "rpc_address": node["address"],
        "native_transport_port": cluster["port"],
        "data_file_directories": [str(folder / "data")],
        "commitlog_directory": str(folder / "commitlog"),
        "hints_directory": str(folder / "hints"),
        "saved_caches_directory": str(folder / "saved_caches"),
        "cdc_raw_directory": str(folder / "cdc_raw"),
        "paxos_variant": cluster["paxos"],
        # Small: several nodes share a machine with what they are tested with.
        "commitlog_segment_size": "32MiB",
        "commitlog_total_space": "256MiB",
        "memtable_heap_space": "64MiB",
        "memtable_offheap_space": "32MiB",
        "memtable_flush_writers": 1,
        "file_cache_size": "32MiB",
        "networking_cache_size": "16MiB",
        "key_cache_size": "8MiB",
        "row_cache_size": "0MiB",
        "counter_cache_size": "0MiB",
        "concurrent_reads": 16,
        "concurrent_writes": 16,
        "concurrent_counter_writes": 2,
        "concurrent_materialized_view_writes": 2,
        "concurrent_compactors": 1,
        "native_transport_max_threads": 32,
        # Dropping a test's keyspace must not keep a copy, and saving caches makes no sense for a cluster that is thrown away.
        "auto_snapshot": False,
        "key_cache_save_period": "0s",
        "dynamic_snitch": False,
    }
    result.update(COMMIT_LOG[cluster["commitlog"]])
    if node.get("broadcast_rpc_address"):
        result["broadcast_rpc_address"] = node["broadcast_rpc_address"]
    if cluster.get("password"):
        result.update(PASSWORD)
    if cluster.get("tls", "none") != "none":
        result["client_encryption_options"] = client_encryption(cluster, folder)
    result.update(cluster["settings"])
    return result


def write(cluster: dict[str, Any], node: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes the node's configuration files."""
    folder.mkdir(parents=True, exist_ok=True)
    if cluster.get("tls", "none") != "none":
        certificates = pathlib.Path(cluster["certificates"])
        parts = [(certificates / name).read_text() for name in ("node.key", "node.pem")]
        (folder / "keystore.pem").write_text("".join(parts))
    # JSON is YAML, and needs no library to write.
    (folder / "cassandra.yaml").write_text(json.dumps(settings(cluster, node, folder), indent=1) + "\n")
    (folder / "logback.xml").write_text(LOGBACK)
    (folder / "rackdc.properties").write_text(f"dc={cluster['datacenter']}\nrack=rack{node['number']}\n")


def jvm_flags(cluster: dict[str, Any], folder: pathlib.Path, ring_delay_ms: int) -> list[str]:
    """Flags for a node that starts quickly and stays small. `--jit full` is for benchmarks: it compiles for speed."""
    flags = [
        f"-Xms{cluster['heap']}" if cluster["jit"] == "full" else "-Xms128M",
        f"-Xmx{cluster['heap']}",
        "-Xss384k",
        "-XX:MaxDirectMemorySize=256M",
        # Without it the JVM stops for full collections while it loads classes.
        "-XX:MetaspaceSize=128M",
        "-XX:+UseSerialGC" if cluster["jit"] == "quick" else "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        "-Djava.net.preferIPv4Stack=true",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={folder}",
        f"-Dcassandra.config=file://{folder / 'cassandra.yaml'}",
        f"-Dcassandra-rackdc.properties=file://{folder / 'rackdc.properties'}",
        f"-Dlogback.configurationFile={folder / 'logback.xml'}",
        f"-Dcassandra.storagedir={folder}",
        f"-Dcassandra.ring_delay_ms={ring_delay_ms}",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dio.netty.eventLoopThreads=2",
    ]
    if cluster["jit"] == "quick":
        flags += ["-XX:TieredStopAtLevel=1", "-XX:CICompilerCount=1"]
    for name in ADD_EXPORTS:
        flags += ["--add-exports", f"{name}=ALL-UNNAMED"]
    for name in ADD_OPENS:
        flags += ["--add-opens", f"{name}=ALL-UNNAMED"]
    return flags + cluster["jvm_flags"]
