"""`omnishot dashboards push` over HTTP, against a server that checks by Grafana's API schema."""

import copy
import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from omnishot_ray.cli import main
from omnishot_ray.dashboards.boards import BOARDS
from omnishot_ray.dashboards.grafana import DATA_SOURCE_UID, FOLDER_UID, alert_group
from omnishot_ray.dashboards.push import push
from omnishot_ray.dashboards.rules import GROUP, RULES
from omnishot_ray.errors import ConfigError, EngineUnavailable
from tests.grafana_server import TOKEN, GrafanaServer

PROMETHEUS = "http://prometheus.example:9090"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def grafana() -> Iterator[GrafanaServer]:
    server = GrafanaServer()
    yield server
    server.close()


def what(changes) -> set[str]:
    return {change.what for change in changes}


def test_everything_is_created_as_the_schema_wants_it(grafana: GrafanaServer) -> None:
    changes = push(grafana.url, TOKEN, PROMETHEUS)
    assert grafana.refused == []
    assert what(changes) == {"created"}
    assert len(changes) == 3 + len(BOARDS)
    assert set(grafana.folders) == {FOLDER_UID}
    assert grafana.data_sources[DATA_SOURCE_UID]["url"] == PROMETHEUS
    assert set(grafana.dashboards) == {f"omnishot-{board.name}" for board in BOARDS}
    assert all(one["meta"]["folderUid"] == FOLDER_UID for one in grafana.dashboards.values())
    assert len(grafana.rule_groups[FOLDER_UID, GROUP]["rules"]) == len(RULES)


def test_a_second_push_changes_nothing(grafana: GrafanaServer) -> None:
    push(grafana.url, TOKEN, PROMETHEUS)
    grafana.requests.clear()
    changes = push(grafana.url, TOKEN, PROMETHEUS)
    assert what(changes) == {"unchanged"}
    assert grafana.writes == []
    assert grafana.requests


def test_what_was_changed_is_mended_and_nothing_else(grafana: GrafanaServer) -> None:
    push(grafana.url, TOKEN, PROMETHEUS)
    grafana.dashboards["omnishot-pool"]["dashboard"]["panels"].pop()
    grafana.rule_groups[FOLDER_UID, GROUP]["rules"][0]["for"] = "9m"
    grafana.folders[FOLDER_UID]["title"] = "Something else"
    grafana.requests.clear()
    changes = push(grafana.url, TOKEN, PROMETHEUS)
    assert [(change.kind, change.name) for change in changes if change.what == "updated"] == [
        ("folder", "OmniShot Ray"),
        ("dashboard", "OmniShot Ray: pool and caches"),
        ("alert rules", GROUP),
    ]
    assert [path.removeprefix("/api") for _, path in grafana.writes] == [
        f"/folders/{FOLDER_UID}",
        "/dashboards/db",
        f"/v1/provisioning/folder/{FOLDER_UID}/rule-groups/{GROUP}",
    ]
    assert what(push(grafana.url, TOKEN, PROMETHEUS)) == {"unchanged"}


def test_another_prometheus_keeps_what_people_have_set(grafana: GrafanaServer) -> None:
    push(grafana.url, TOKEN, PROMETHEUS)
    known = grafana.data_sources[DATA_SOURCE_UID]
    known["isDefault"] = True
    known["jsonData"]["tlsSkipVerify"] = True
    push(grafana.url, TOKEN, "http://elsewhere.example:9090")
    known = grafana.data_sources[DATA_SOURCE_UID]
    assert known["url"] == "http://elsewhere.example:9090"
    assert known["isDefault"] is True
    assert known["jsonData"]["tlsSkipVerify"] is True
    assert grafana.refused == []


def test_a_rule_too_many_is_taken_out_and_a_dashboard_elsewhere_comes_back(grafana) -> None:
    push(grafana.url, TOKEN, PROMETHEUS)
    rules = grafana.rule_groups[FOLDER_UID, GROUP]["rules"]
    rules.append(copy.deepcopy(rules[0]) | {"uid": "another"})
    grafana.dashboards["omnishot-overview"]["meta"]["folderUid"] = "elsewhere"
    push(grafana.url, TOKEN, PROMETHEUS)
    assert len(grafana.rule_groups[FOLDER_UID, GROUP]["rules"]) == len(RULES)
    assert grafana.dashboards["omnishot-overview"]["meta"]["folderUid"] == FOLDER_UID


def test_a_grafana_below_a_path() -> None:
    server = GrafanaServer("/grafana")
    try:
        for url in (server.url, server.url + "/", server.url + "/?orgId=1"):
            push(url, TOKEN, PROMETHEUS)
        assert server.refused == []
        assert set(server.folders) == {FOLDER_UID}
    finally:
        server.close()


def test_a_wrong_token_is_said_without_saying_it(grafana: GrafanaServer) -> None:
    wrong = "glsa_ffffffffffffffffffffffffffffffff_01234567"
    with pytest.raises(ConfigError, match="token") as failure:
        push(grafana.url, wrong, PROMETHEUS)
    assert wrong not in str(failure.value)
    assert grafana.folders == {}


@pytest.mark.parametrize("status", [500, 503, 412, 400])
def test_what_grafana_cannot_do_is_said(grafana: GrafanaServer, status: int) -> None:
    grafana.answer_all = status
    with pytest.raises(EngineUnavailable, match=f"{status}.*as the test wants it"):
        push(grafana.url, TOKEN, PROMETHEUS)


def test_a_grafana_that_is_not_there_is_said(grafana: GrafanaServer) -> None:
    grafana.close()
    with pytest.raises(ConnectionError, match="does not answer"):
        push(grafana.url, TOKEN, PROMETHEUS)


@pytest.mark.parametrize(
    "url", ["", "grafana.example", "ftp://a", "http://", "http://a:b", "http://u:geheim@a:3000"]
)
def test_an_address_that_cannot_be_used_is_said(url: str) -> None:
    with pytest.raises(ConfigError) as failure:
        push(url, TOKEN, PROMETHEUS)
    assert "geheim" not in str(failure.value)


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["dashboards", "push", *arguments], env=environment)


def test_the_command(grafana: GrafanaServer) -> None:
    first = run("--grafana", grafana.url, GRAFANA_TOKEN=TOKEN)
    assert first.exit_code == 0, first.output
    assert "created   folder: OmniShot Ray" in first.output
    second = run("--json", GRAFANA_TOKEN=TOKEN, GRAFANA_URL=grafana.url)
    assert {entry["what"] for entry in json.loads(second.output)} == {"unchanged"}


def test_the_command_says_what_is_wrong(grafana: GrafanaServer) -> None:
    assert run("--grafana", grafana.url, GRAFANA_TOKEN="").exit_code == 2
    assert run(GRAFANA_TOKEN=TOKEN, GRAFANA_URL="").exit_code == 2
    refused = run("--grafana", grafana.url, GRAFANA_TOKEN="wrong-token")
    assert refused.exit_code == 2
    grafana.answer_all = 500
    assert run("--grafana", grafana.url, GRAFANA_TOKEN=TOKEN).exit_code == 1
    grafana.close()
    gone = run("--grafana", grafana.url, GRAFANA_TOKEN=TOKEN)
    assert gone.exit_code == 3
    assert "does not answer" in gone.output


def test_the_server_refuses_what_the_schema_does(grafana: GrafanaServer) -> None:
    """The test of the test: a mistake in a body would be seen."""
    token = f"Bearer {TOKEN}"
    assert grafana.answer("POST", "/api/folders", {"title": 5}, token)[0] == 400
    assert grafana.answer("POST", "/api/folders", {"name": "x"}, token)[0] == 400
    path = f"/api/v1/provisioning/folder/{FOLDER_UID}/rule-groups/{GROUP}"
    for name, wrong in (
        ("for", 60),
        ("uid", "no blanks"),
        ("noDataState", "Fine"),
        ("labels", {"a": 1}),
        ("data", [{"refId": "A", "expr": "up"}]),
    ):
        group = alert_group()
        group["rules"][0][name] = wrong
        assert grafana.answer("PUT", path, group, token)[0] == 400, name
    group = alert_group()
    del group["rules"][0]["condition"]
    assert grafana.answer("PUT", path, group, token)[0] == 400
