"""A server that takes what Grafana takes: requests are checked by its published API schema.

It is stricter than Grafana: a field that the schema does not name is refused, not overlooked.
"""

import copy
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema

from tests.corpus import DATA

TOKEN = "glsa_0123456789abcdef0123456789abcdef_01234567"
SCHEMA = json.loads((DATA / "grafana" / "openapi3.json").read_text())


class GrafanaServer:
    """Folders, data sources, dashboards and rule groups in memory; `requests` is what was asked."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.requests: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.folders: dict[str, Any] = {}
        self.data_sources: dict[str, Any] = {}
        self.dashboards: dict[str, Any] = {}
        self.rule_groups: dict[tuple[str, str], Any] = {}
        self.answer_all: int | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{self.prefix}"

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] != "GET"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def answer(self, method: str, path: str, body: Any, token: str | None) -> tuple[int, Any]:
        self.requests.append((method, path))
        if self.answer_all is not None:
            return self.answer_all, {"message": "as the test wants it"}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        if not path.startswith(f"{self.prefix}/api/"):
            return 404, {"message": "Not found"}
        path = path.removeprefix(f"{self.prefix}/api")
        for template, operations in SCHEMA["paths"].items():
            pattern = re.sub(r"\{\w+\}", "([^/]+)", template)
            found = re.fullmatch(pattern, path)
            if found and method.lower() in operations:
                fault = self._fault(operations[method.lower()], body)
                if fault:
                    self.refused.append(fault)
                    return 400, {"message": fault}
                return self._do(method, template, found.groups(), body)
        return 404, {"message": f"no such operation: {method} {path}"}

    def _fault(self, operation: dict[str, Any], body: Any) -> str:
        if "requestBody" not in operation:
            return "" if body is None else "no body is expected"
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": SCHEMA["components"]}
        validator = jsonschema.Draft7Validator(whole)
        for error in validator.iter_errors(body):
            return f"{list(error.absolute_path)}: {error.message}"
        return _unknown_field(body, schema["$ref"].rpartition("/")[2])

    def _do(self, method: str, template: str, names: tuple[str, ...], body: Any) -> Any:
        match template.split("/")[1]:
            case "folders":
                return self._folder(method, names, body)
            case "datasources":
                return self._data_source(method, names, body)
            case "dashboards":
                return self._dashboard(method, names, body)
        return self._rule_group(method, names, body)

    def _folder(self, method: str, names: tuple[str, ...], body: Any) -> Any:
        if method == "POST":
            if body["uid"] in self.folders:
                return 412, {"message": "the folder has been changed by someone else"}
            self.folders[body["uid"]] = {**body, "id": len(self.folders) + 1, "version": 1}
            return 200, self.folders[body["uid"]]
        (uid,) = names
        if uid not in self.folders:
            return 404, {"message": "folder not found"}
        if method == "PUT":
            self.folders[uid] |= {"title": body["title"]}
        return 200, self.folders[uid]

    def _data_source(self, method: str, names: tuple[str, ...], body: Any) -> Any:
        if method == "POST":
            if body["uid"] in self.data_sources:
                return 409, {"message": "data source with the same name already exists"}
            known = {"id": 1, "orgId": 1, "version": 1, "readOnly": False, "isDefault": False}
            self.data_sources[body["uid"]] = {**known, **body}
            return 200, {"datasource": self.data_sources[body["uid"]], "id": 1}
        (uid,) = names
        if uid not in self.data_sources:
            return 404, {"message": "Data source not found"}
        if method == "PUT":
            self.data_sources[uid] = {"id": 1, "orgId": 1, "version": 2, **body}
        return 200, self.data_sources[uid]

    def _dashboard(self, method: str, names: tuple[str, ...], body: Any) -> Any:
        if method == "POST":
            wanted = body["dashboard"]
            if body["folderUid"] not in self.folders:
                return 400, {"message": "folder not found"}
            known = self.dashboards.get(wanted["uid"])
            if known and not body.get("overwrite"):
                return 412, {"message": "The dashboard has been changed by someone else"}
            version = known["dashboard"]["version"] + 1 if known else 1
            self.dashboards[wanted["uid"]] = {
                "dashboard": {**wanted, "id": 7, "version": version},
                "meta": {"folderUid": body["folderUid"], "provisioned": False},
            }
            return 200, {"uid": wanted["uid"], "status": "success", "version": version}
        (uid,) = names
        known = self.dashboards.get(uid)
        return (200, known) if known else (404, {"message": "Dashboard not found"})

    def _rule_group(self, method: str, names: tuple[str, ...], body: Any) -> Any:
        folder, _ = names
        if method == "PUT":
            if folder not in self.folders:
                return 400, {"message": "folder not found"}
            group = copy.deepcopy(body)
            for number, rule in enumerate(group["rules"]):
                for query in rule["data"]:  # as Grafana fills them in
                    query["queryType"] = ""
                    query["model"] |= {"intervalMs": 1000, "maxDataPoints": 43200}
                rule |= {"id": number, "updated": "2024-01-01T00:00:00Z", "provenance": "api"}
            self.rule_groups[names] = group
        known = self.rule_groups.get(names)
        return (200, known) if known else (404, {"message": "rule group does not exist"})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        grafana = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, document = grafana.answer(
                    self.command, self.path, body, self.headers.get("Authorization")
                )
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

            def log_message(self, *args: Any) -> None:
                return

        return Handler


def _unknown_field(value: Any, name: str) -> str:
    """The first field that the schema of this name does not know, with those below it."""
    schema = SCHEMA["components"]["schemas"][name]
    if schema.get("type") == "array" or "properties" not in schema:
        return ""
    for field, held in value.items():
        if field not in schema["properties"]:
            return f"{name} has no {field}"
        below = schema["properties"][field]
        for one in held if isinstance(held, list) else [held]:
            reference = below.get("$ref") or below.get("items", {}).get("$ref")
            if reference and (fault := _unknown_field(one, reference.rpartition("/")[2])):
                return fault
    return ""
