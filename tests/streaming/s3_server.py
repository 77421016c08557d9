"""A real S3-compatible server on the loopback: Ceph's gateway over one monitor and one store in memory.

It needs the Debian packages ceph-mon, ceph-osd and radosgw, no root, and nothing of the network. What was put into it
stays when the gateway is stopped and started again.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow.fs import FileSystem

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph")

MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
"""Programs that are not installed; tests that need them are skipped then."""

ACCESS, SECRET = "loopback", "loopback-secret"

PATIENCE = 90.0
"""Seconds that anything may take to start."""

BUCKET = "recordings"


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class S3Server:
    """A gateway that can be stopped and started; `uri` is a place in its bucket.

    Args:
        folder: for everything that it keeps; short, as names of sockets have a limit.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = folder / "ceph.conf"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def uri(self, place: str) -> str:
        """Where the shards of a name are."""
        return f"s3://{BUCKET}/{place}?scheme=http&endpoint_override=127.0.0.1:{self.port}&region=default"

    @property
    def environment(self) -> dict[str, str]:
        """What a client has to know."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    def launch(self) -> None:
        """Make the stores, the user and the bucket, and start everything."""
        monitor, identity = free_port(), str(uuid.uuid4())
        self.settings.write_text(
            f"""[global]
fsid = {identity}
mon host = v2:127.0.0.1:{monitor}
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
mon allow pool size one = true
mon data = {self.folder}/mon
osd data = {self.folder}/osd
osd class load list = *
osd class default list = *
run dir = {self.folder}
pid file =
admin socket = {self.folder}/$name.asok
log file = {self.folder}/$name.log
log to stderr = false
keyring = {self.folder}/keyring
rgw frontends = beast endpoint=127.0.0.1:{self.port}
rgw bucket default quota max objects = -1
rgw enable usage log = false
rgw run sync thread = false
"""
        )
        # The monitor asks for a keyring though nobody needs one.
        (self.folder / "keyring").write_text("[mon.]\n\tkey = AQBTm5FnAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==\n")
        for name in ("mon", "osd"):
            (self.folder / name).mkdir()
        monmap = self.folder / "monmap"
        self.run("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{monitor}]", "--fsid", identity, str(monmap))
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap), "--keyring", str(self.folder / "keyring"))
        self.start("mon", "ceph-mon", "-f", "-i", "a")
        store = str(uuid.uuid4())
        self.run("ceph", "osd", "new", store)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        self.start("osd", "ceph-osd", "-f", "-i", "0")
        self.run(
            "radosgw-admin",
            "user",
            "create",
            "--uid=tests",
            "--display-name=tests",
            f"--access-key={ACCESS}",
            f"--secret-key={SECRET}",
        )
        self.start_gateway()
        files, _ = FileSystem.from_uri(f"{self.uri('')}&allow_bucket_creation=true")
        files.create_dir(BUCKET)

    def run(self, *words: str) -> None:
        """Run a program of Ceph to its end."""
        done = subprocess.run([*words, "--conf", str(self.settings)], capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")

    def start(self, name: str, *words: str) -> None:
        """Start a program of Ceph."""
        self.processes[name] = subprocess.Popen(
            [*words, "--conf", str(self.settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def start_gateway(self) -> None:
        """Start the gateway, and wait until it answers."""
        self.start("gateway", "radosgw", "-f", "-n", "client.admin")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.processes["gateway"].poll() is not None:
                    raise RuntimeError("radosgw ended; its log is in the folder") from None
                time.sleep(0.2)
        raise RuntimeError("radosgw does not answer")

    def stop_gateway(self) -> None:
        """End the gateway at once, in the middle of whatever it does."""
        process = self.processes.pop("gateway")
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """End everything."""
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server with an empty bucket; the environment has what clients need."""
    server = S3Server(folder)
    before = {name: os.environ.get(name) for name in server.environment}
    os.environ.update(server.environment)
    try:
        server.launch()
        yield server
    finally:
        server.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
