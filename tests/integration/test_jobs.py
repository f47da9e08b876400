"""Jobs on the real service: their runner is there while there is work for one."""

from pathlib import Path

from benchmarks.jobs import Client, inspect, submit_jobs, time_job, wait_for_all
from tests.integration.service import start_service, wait_for


def test_a_runner_comes_with_the_first_job_and_goes_when_all_is_done(tmp_path: Path) -> None:
    environment = {
        "OMNISHOT_JOBS__DIR": str(tmp_path),
        "OMNISHOT_JOBS__IDLE_S": "1",
        "OMNISHOT_RESIZERS__MAX_REPLICAS": "1",
    }
    service = start_service(environment=environment)

    def runners() -> int:
        return len(service.replicas("JobRunner"))

    try:
        client = Client(service.port, 240)
        assert client.read("/ready")["status"] == "ready"
        assert runners() == 0, "nobody has asked for anything"
        ids = submit_jobs(client, 12)
        wait_for(lambda: runners() == 1, 30, "a runner")
        wait_for_all(client)
        report = inspect(client, ids)
        assert report.is_clean, report
        wait_for(lambda: runners() == 0, 60, "the end of the runner")
        time_job(client)  # until it is done
        assert runners() == 1
    finally:
        service.stop()
