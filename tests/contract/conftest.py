"""A real Elasticsearch that tests start: one for each process that runs tests which need it, so these stand in one file."""

import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from pveops.testing.ports import free_port

VERSION = "8.19.21"
ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
PLACE = Path(f"org/elasticsearch/distribution/integ-test-zip/elasticsearch/{VERSION}/elasticsearch-{VERSION}.zip")
NOBODY = 65534


def distribution():
    """The archive, from the local Maven repository, fetched if need be."""
    archive = Path(os.environ.get("MAVEN_REPO_LOCAL", Path.home() / ".m2" / "repository")) / PLACE
    if not archive.exists():
        if not shutil.which("mvn"):
            pytest.skip("Elasticsearch cannot be fetched: Maven is not installed (Debian: apt install maven)")
        command = ["mvn", "-B", "-ntp", "-q", "dependency:get", "-Dtransitive=false", f"-Dartifact={ARTIFACT}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode or not archive.exists():
            pytest.skip(f"Elasticsearch {VERSION} cannot be fetched with Maven: {done.stdout[-300:]}")
    return archive


def unpacked(folder):
    with zipfile.ZipFile(distribution()) as archive:
        archive.extractall(folder)
    (home,) = [path for path in folder.iterdir() if path.is_dir()]
    for program in [*(home / "bin").iterdir(), *home.glob("modules/*/platform/*/bin/*")]:
        program.chmod(0o755)
    return home


@pytest.fixture(scope="session")
def elasticsearch():
    if not shutil.which("java"):
        pytest.skip("Elasticsearch needs Java 17 (Debian: apt install openjdk-17-jre-headless)")
    # not below pytest's own folder: that is closed to others, and Elasticsearch refuses to run as root
    with tempfile.TemporaryDirectory(prefix="pveops-elasticsearch-", ignore_cleanup_errors=True) as folder:
        yield from running(Path(folder))


def running(folder):
    folder.chmod(0o755)
    home = unpacked(folder)
    port = free_port()
    config = folder / "config"
    shutil.copytree(home / "config", config)
    (config / "jvm.options.d").mkdir(exist_ok=True)
    (config / "jvm.options.d" / "heap.options").write_text("-Xms512m\n-Xmx512m\n")
    settings = {
        "cluster.name": "pveops-test",
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": free_port(),
        "path.data": folder / "data",
        "path.logs": folder / "logs",
        "xpack.security.enabled": "false",
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
    (config / "elasticsearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    (folder / "tmp").mkdir()
    java = Path(shutil.which("java")).resolve().parent.parent
    env = {
        "PATH": os.environ["PATH"],
        "ES_JAVA_HOME": str(java),
        "ES_PATH_CONF": str(config),
        "ES_TMPDIR": str(folder / "tmp"),
        "HOME": str(folder),
    }
    as_nobody = {}
    if os.getuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen([home / "bin" / "elasticsearch"], env=env, stdout=out, stderr=out, **as_nobody)
    try:
        yield wait_ready(f"http://127.0.0.1:{port}", process, folder / "out")
    finally:
        process.terminate()
        process.wait(60)


def wait_ready(url, process, out):
    for _ in range(360):
        assert process.poll() is None, out.read_text()[-3000:]
        try:
            if httpx.get(f"{url}/_cluster/health?wait_for_status=yellow&timeout=5s", trust_env=False, timeout=10).status_code == 200:
                return url
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(out.read_text()[-3000:])
