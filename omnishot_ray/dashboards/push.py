"""Bring folder, data source, dashboards and alert rules into a Grafana, by its HTTP API.

What is there already and as it should be is left alone, so a second push changes nothing, and what
people have added beside it stays. https://grafana.com/docs/grafana/latest/developers/http_api/
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import requests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException

from omnishot_ray.dashboards.boards import BOARDS
from omnishot_ray.dashboards.grafana import (
    DATA_SOURCE_UID,
    FOLDER_TITLE,
    FOLDER_UID,
    Document,
    alert_group,
    dashboard_document,
    data_source,
)
from omnishot_ray.dashboards.rules import GROUP
from omnishot_ray.errors import ConfigError, EngineUnavailable

_TIMEOUT_S = 10.0
_NOT_FOUND = 404
_FOREIGN = {"id", "version", "uid"}
"""What Grafana itself writes into a dashboard."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one thing."""

    kind: Literal["folder", "data source", "dashboard", "alert rules"]
    name: str
    what: Literal["created", "updated", "unchanged"]


def push(url: str, token: str, prometheus_url: str) -> list[Change]:
    """Bring everything into the Grafana at `url`; `prometheus_url` is as Grafana reaches it.

    Raises `ConfigError` for an address or a token that cannot be used, `ConnectionError` when
    nothing answers, and `EngineUnavailable` when Grafana answers that it cannot do it.
    """
    client = GrafanaApi.from_url(_base_url(url), credential=token, timeout=_TIMEOUT_S)
    try:
        return [
            _folder(client),
            _data_source(client, prometheus_url),
            *(_dashboard(client, dashboard_document(board)) for board in BOARDS),
            _alert_rules(client),
        ]
    except GrafanaException as error:
        if error.status_code in (401, 403):
            raise ConfigError(
                "Grafana refuses this token; it has to be that of a service account with the "
                "role Admin."
            ) from None
        raise EngineUnavailable(f"Grafana answered {error.status_code}: {error.message}.") from None
    except requests.RequestException as error:
        raise ConnectionError(
            f"Grafana at {_told(url)} does not answer ({type(error).__name__})."
        ) from None


def _folder(client: GrafanaApi) -> Change:
    known = _or_none(lambda: client.folder.get_folder(FOLDER_UID))
    if known is None:
        client.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID)
    elif known["title"] != FOLDER_TITLE:
        client.folder.update_folder(FOLDER_UID, title=FOLDER_TITLE, overwrite=True)
    else:
        return Change("folder", FOLDER_TITLE, "unchanged")
    return Change("folder", FOLDER_TITLE, "created" if known is None else "updated")


def _data_source(client: GrafanaApi, prometheus_url: str) -> Change:
    wanted = data_source(prometheus_url)
    known = _or_none(lambda: client.datasource.get_datasource_by_uid(DATA_SOURCE_UID))
    if known is None:
        client.datasource.create_datasource(wanted)
        return Change("data source", wanted["name"], "created")
    if _holds(known, wanted):
        return Change("data source", wanted["name"], "unchanged")
    # An update replaces: what somebody has set beside it is given back as it was.
    kept = {"basicAuth": known.get("basicAuth", False), "isDefault": known.get("isDefault", False)}
    beside = {**known.get("jsonData", {}), **wanted["jsonData"]}
    client.datasource.update_datasource_by_uid(
        DATA_SOURCE_UID, {**kept, **wanted, "jsonData": beside}
    )
    return Change("data source", wanted["name"], "updated")


def _dashboard(client: GrafanaApi, wanted: Document) -> Change:
    known = _or_none(lambda: client.dashboard.get_dashboard(wanted["uid"]))
    if known and known["meta"].get("folderUid") == FOLDER_UID:
        there = {name: value for name, value in known["dashboard"].items() if name not in _FOREIGN}
        if there == {name: value for name, value in wanted.items() if name not in _FOREIGN}:
            return Change("dashboard", wanted["title"], "unchanged")
    client.dashboard.update_dashboard(
        {
            "dashboard": wanted,
            "folderUid": FOLDER_UID,
            "overwrite": True,
            "message": "omnishot dashboards push",
        }
    )
    return Change("dashboard", wanted["title"], "updated" if known else "created")


def _alert_rules(client: GrafanaApi) -> Change:
    wanted = alert_group()
    rules = client.alertingprovisioning
    known = _or_none(lambda: rules.get_rule_group(FOLDER_UID, GROUP))
    if known and len(known["rules"]) == len(wanted["rules"]) and _holds(known, wanted):
        return Change("alert rules", GROUP, "unchanged")
    rules.update_rule_group(FOLDER_UID, GROUP, wanted)
    return Change("alert rules", GROUP, "updated" if known else "created")


def _holds(known: Any, wanted: Any) -> bool:
    """Whether everything wanted is there; Grafana adds fields of its own."""
    if isinstance(wanted, dict):
        return isinstance(known, dict) and all(
            name in known and _holds(known[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(known, list)
            and len(known) == len(wanted)
            and all(map(_holds, known, wanted))
        )
    return bool(known == wanted)


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except GrafanaClientError as error:
        if error.status_code == _NOT_FOUND:
            return None
        raise


def _base_url(url: str) -> str:
    """The address as the client wants it: without query, a path with its slash."""
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{_told(url)} is not an address; say it as http://grafana.example:3000")
    if parts.username or parts.password:
        raise ConfigError("Say the token in GRAFANA_TOKEN, not in the address.")
    path = parts.path.strip("/")
    return urlunsplit((parts.scheme, parts.netloc, f"/{path}/" if path else "", "", ""))


def _told(url: str) -> str:
    """The address without what may be secret in it."""
    return url.partition("?")[0].rpartition("@")[2]
