"""A stand-in for Weights & Biases on loopback: enough of its protocol for the real client, core and sweep agent.

What it is sent stays in memory, for tests to look at; what it is asked and does not know is an error and is kept in
`unknown`. Written against wandb 0.31; the queries it answers are named after the operations in there.
"""

import base64
import gzip
import itertools
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

ENTITY = "tester"
API_KEY = "0123456789" * 4


@dataclass
class Run:
    """What has arrived of a run."""

    id: str
    project: str
    about: dict[str, Any] = field(default_factory=dict)
    """Group, display name, sweep and so on, as they were sent last."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    """Of the streamed files, such as `wandb-history.jsonl` and `output.log`."""

    files: dict[str, bytes] = field(default_factory=dict)
    resumed: int = 0
    """How often it was gone on with."""

    exit_code: int | None = None
    """Of the last session; None while it runs."""

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.lines.get("wandb-summary.json")
        return json.loads(lines[-1] if lines else self.about.get("summaryMetrics") or "{}")

    @property
    def config(self) -> dict[str, Any]:
        config = json.loads(self.about.get("config") or "{}")
        return {key: entry["value"] for key, entry in config.items()}

    @property
    def axes(self) -> dict[str, str]:
        """Which axis (a name) the metrics of a pattern are drawn over."""
        defined = self.config["_wandb"]["m"]  # "1" is a name, "2" a pattern, "5" the place of the axis, from 1 on
        return {entry["2"]: defined[entry["5"] - 1]["1"] for entry in defined if "5" in entry}


@dataclass
class Sweep:
    """A grid, and the runs that were handed out for it."""

    id: str
    project: str
    config: dict[str, Any]
    left: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Values by the id of the run."""


class WandbServer(ThreadingHTTPServer):
    """The server; its methods named after GraphQL operations take the variables and return the data."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Sweep] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.storage: dict[str, bytes] = {}
        self.unknown: list[str] = []
        self.refused: dict[str, str] = {}
        """Why, by operation."""
        self.numbers = itertools.count(1)
        self.stopping: set[str] = set()
        """Ids of runs that agents are to stop."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def settings(self, folder: Path) -> dict[str, str]:
        """Environment in which the client talks to this server and leaves its files in a folder."""
        places = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
        return places | {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY, "WANDB_SILENT": "true"}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Of a GraphQL request."""
        operation = body.get("operationName") or re.search(r"(?:query|mutation)\s+(\w+)", body["query"])[1]  # type: ignore[index]
        method = getattr(self, operation, None)
        with self.lock:
            if operation in self.refused:
                return {"errors": [{"message": self.refused[operation]}]}
            if method is None:
                self.unknown.append(operation)
                return {"errors": [{"message": f"no operation {operation}"}]}
            return {"data": method(body.get("variables") or {})}

    def upload(self, name: str) -> str:
        """Where to put a file."""
        return f"{self.url}/storage/{next(self.numbers)}/{name}"

    def table(self, run: Run, key: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """A table of a run's summary, and the files that its cells name, from the artifact that both travel in."""
        client = urlsplit(run.summary[key]["artifact_path"]).netloc
        (artifact,) = (one for one in self.artifacts.values() if one["clientID"] == client)
        assert artifact["state"] == "COMMITTED"
        files = {name: self.storage[path] for name, path in artifact["files"].items()}
        return json.loads(files[f"{key}.table.json"]), files

    # Who asks

    def Viewer(self, _: dict[str, Any]) -> Any:
        viewer = {"id": "1", "name": ENTITY, "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}"}
        return {"viewer": viewer | {"admin": False, "teams": {"edges": []}, "apiKeys": {"edges": []}}}

    GetViewer = GetDefaultEntity = Viewer

    def ServerFeaturesQuery(self, _: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def OrgFeatureFlags(self, _: dict[str, Any]) -> Any:
        return {"organization": None}

    def OrganizationCoreWeaveOrganizationID(self, _: dict[str, Any]) -> Any:
        return {"entity": {"organization": {"coreWeaveOrganizationId": ""}}}

    # Runs

    def project(self, name: str) -> dict[str, Any]:
        return {"id": f"p-{name}", "name": name, "entity": {"id": "e", "name": ENTITY}, "entityName": ENTITY}

    def RunResumeStatus(self, asked: dict[str, Any]) -> Any:
        run, bucket = self.runs.get(asked["name"]), None
        if run is not None:
            run.resumed += 1
            bucket = {
                "id": run.id,
                "name": run.id,
                "displayName": run.about.get("displayName"),
                "summaryMetrics": json.dumps(run.summary),
                "config": run.about.get("config") or "{}",
                "logLineCount": len(run.lines.get("output.log", [])),
                "historyLineCount": len(run.history),
                "eventsLineCount": len(run.lines.get("wandb-events.jsonl", [])),
                "historyTail": json.dumps(run.lines.get("wandb-history.jsonl", [])[-1:]),
                "eventsTail": json.dumps(run.lines.get("wandb-events.jsonl", [])[-1:]),
                "tags": [],
                "notes": None,
                "wandbConfig": json.dumps({"t": run.config.get("_wandb", {}).get("t", {})}),
            }
        return {"model": self.project(asked["project"]) | {"bucket": bucket}}

    def UpsertBucket(self, asked: dict[str, Any]) -> Any:
        name = asked.get("name") or asked["id"]
        inserted = name not in self.runs
        run = self.runs.setdefault(name, Run(name, asked.get("project") or "uncategorized"))
        run.about |= {key: value for key, value in asked.items() if value is not None}
        bucket = {
            "id": run.id,
            "name": run.id,
            "displayName": run.about.get("displayName") or run.id,
            "description": None,
            "config": run.about.get("config") or "{}",
            "sweepName": run.about.get("sweep"),
            "project": self.project(run.project),
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def stream(self, run: Run, body: dict[str, Any]) -> dict[str, Any]:
        """Lines of a run's files, each with the place of the first."""
        for name, chunk in body.get("files", {}).items():
            lines = run.lines.setdefault(name, [])
            lines.extend([""] * (chunk["offset"] - len(lines)))
            lines[chunk["offset"] : chunk["offset"] + len(chunk["content"])] = chunk["content"]
        run.exit_code = body.get("exitcode", 0) if body.get("complete") else None
        return {"exitcode": None, "limits": {}}

    def CreateRunFiles(self, asked: dict[str, Any]) -> Any:
        files = [{"name": name, "uploadUrl": f"{self.url}/run/{asked['run']}/{name}"} for name in asked["files"]]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}

    def MarkRunFilesUploaded(self, asked: dict[str, Any]) -> Any:
        return {"markRunFilesUploaded": {"success": True}}

    # Artifacts, in which tables and their media travel

    def XXHashDigestsEnabled(self, _: dict[str, Any]) -> Any:
        return {"entity": {"xxhashDigestsEnabled": False}}

    def FetchArtifactDigestAlgorithm(self, _: dict[str, Any]) -> Any:
        return {"project": None}

    def ArtifactType(self, _: dict[str, Any]) -> Any:
        return {"project": {"artifact": None}}

    def CreateArtifact(self, asked: dict[str, Any]) -> Any:
        artifact = {"id": f"a{next(self.numbers)}", "state": "PENDING", "files": {}, **asked["input"]}
        self.artifacts[artifact["id"]] = artifact
        answer = {"id": artifact["id"], "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": answer}}

    def CreateArtifactManifest(self, asked: dict[str, Any]) -> Any:
        file = {"id": "f", "uploadUrl": self.upload(asked["name"]), "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": f"m-{asked['artifactID']}", "file": file}}}

    def UpdateArtifactManifest(self, asked: dict[str, Any]) -> Any:
        file = {"id": "f", "uploadUrl": self.upload("manifest"), "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": asked["artifactManifestID"], "file": file}}}

    def CreateArtifactFiles(self, asked: dict[str, Any]) -> Any:
        edges = []
        for spec in asked["input"]["artifactFiles"]:
            url = self.upload(spec["name"])
            self.artifacts[spec["artifactID"]]["files"][spec["name"]] = urlsplit(url).path
            node = {"storagePath": f"{url}", "uploadUrl": url, "uploadHeaders": [], "uploadMultipartUrls": None}
            edges.append({"node": node | {"artifact": {"id": spec["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def CommitArtifact(self, asked: dict[str, Any]) -> Any:
        artifact = self.artifacts[asked["artifactID"]]
        artifact["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact["id"], "digest": artifact["digest"]}}}

    def UseArtifact(self, asked: dict[str, Any]) -> Any:
        return {"useArtifact": {"artifact": {"id": asked["input"]["artifactID"]}}}

    # Sweeps

    def UpsertSweep(self, asked: dict[str, Any]) -> Any:
        config = yaml.safe_load(asked["config"])
        names, options = [], []
        for name, parameter in config["parameters"].items():
            names.append(name)
            options.append(parameter["values"] if "values" in parameter else [parameter["value"]])
        grid = [dict(zip(names, values, strict=True)) for values in itertools.product(*options)]
        name = f"sweep{next(self.numbers)}"
        self.sweeps[name] = Sweep(name, asked["projectName"], config, grid)
        sweep = {"name": name, "project": self.project(asked["projectName"])}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def SweepWithRuns(self, asked: dict[str, Any]) -> Any:
        sweep = self.sweeps.get(asked["sweep"])
        if sweep is None:
            return {"project": {"sweep": None}}
        data = {"id": sweep.id, "name": sweep.id, "state": "RUNNING", "config": yaml.safe_dump(sweep.config)}
        return {"project": {"sweep": data | {"runs": {"edges": []}}}}

    def CreateAgent(self, asked: dict[str, Any]) -> Any:
        name = f"agent{next(self.numbers)}"
        self.agents[name] = self.sweeps[asked["sweep"]]
        return {"createAgent": {"agent": {"id": name}}}

    def Heartbeat(self, asked: dict[str, Any]) -> Any:
        sweep = self.agents[asked["id"]]
        running = [run for run, is_running in json.loads(asked["runState"]).items() if is_running]
        commands: list[dict[str, Any]] = [{"type": "stop", "run_id": run} for run in running if run in self.stopping]
        if not running and sweep.left:
            name, values = f"run{next(self.numbers)}", sweep.left.pop(0)
            sweep.runs[name] = values
            args = {key: {"value": value} for key, value in values.items()}
            commands = [{"type": "run", "run_id": name, "program": sweep.config.get("program"), "args": args}]
        elif not running:
            commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": asked["id"]}, "commands": json.dumps(commands)}}

    # Workspaces

    def UpsertView2(self, asked: dict[str, Any]) -> Any:
        name = asked["name"]
        inserted = name not in self.views
        self.views[name] = asked | {"spec": json.loads(asked["spec"])}
        return {"upsertView": {"view": {"id": f"v-{name}", "name": name}, "inserted": inserted}}

    def View(self, asked: dict[str, Any]) -> Any:
        views = [view for name, view in self.views.items() if asked.get("viewName") in (None, name)]
        nodes = [
            {
                "id": f"v-{view['name']}",
                "name": view["name"],
                "displayName": view["displayName"],
                "spec": json.dumps(view["spec"]),
            }
            for view in views
        ]
        return {"project": {"allViews": {"edges": [{"node": node} for node in nodes]}}}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed says nothing of note; anything else is a mistake of this file."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Requests by their path: `/graphql`, `/files/...` (streams), `/run/ID/NAME` and `/storage/...` (files)."""

    server: WandbServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Be silent."""

    def body(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def reply(self, answer: Any, status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        content, place = self.body(), [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        if place[0] == "sdk":  # measurements of the client itself, which nobody reads
            self.reply({})
        elif API_KEY not in self.credentials():
            self.reply({"errors": [{"message": "no such key"}]}, 401)
        elif place == ["graphql"]:
            self.reply(self.server.answer(json.loads(content)))
        else:
            with self.server.lock:
                self.reply(self.server.stream(self.server.runs[place[3]], json.loads(content)))

    def credentials(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else value

    def do_PUT(self) -> None:
        content, path = self.body(), unquote(urlsplit(self.path).path)
        with self.server.lock:
            if path.startswith("/run/"):
                _, _, run, name = path.split("/", 3)
                self.server.runs[run].files[name] = content
            else:
                self.server.storage[path] = content
        self.reply({})

    def do_GET(self) -> None:
        self.reply({}, 404)


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server that answers while the block lasts."""
    with WandbServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
