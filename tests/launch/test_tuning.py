"""What of an environment a job's pods are given."""

from pocketkube.launch.tuning import tuning_of


def test_horovods_own_settings_go_with_a_job_and_nothing_else_does() -> None:
    chosen = {"HOROVOD_CYCLE_TIME": "5", "HOROVOD_TIMELINE": "/tmp/t.json", "HOROVOD_AUTOTUNE": "1"}
    others = {"HOROVOD_RANK": "1", "HOROVOD_SECRET_KEY": "k", "AWS_SECRET_ACCESS_KEY": "k", "PATH": "/"}
    assert tuning_of({**others, **chosen}) == chosen
