"""A real server in its own environment, asked by Katib's own client in the ways that Katib asks."""

import random
import signal
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from pocketkube.kube.katib.experiment import APPLIED, OBJECTIVE
from pocketkube.search.milp import solve
from pocketkube.search.suggestion import answer
from tests.search.suggestion.conftest import Service
from tests.search.suggestion.requests import experiment, history, request, trial, with_settings
from tests.search.synthetic import Synthetic, synthetic

ALGORITHMS = ("pocketkube-ddpg", "pocketkube-tpe", "pocketkube-milp")


@pytest.fixture(scope="module")
def search() -> Synthetic:
    return synthetic(8, seed=1, part=0.4, blur=0.3)


def assignments(reply: Any) -> list[dict[str, str]]:
    return [{each.name: each.value for each in one.assignments} for one in reply.parameter_assignments]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("count", [1, 3])
def test_as_many_assignments_as_asked_for_each_with_the_parameters_asked_for(
    service: Service, katib: Any, search: Synthetic, algorithm: str, count: int
) -> None:
    messages = katib[0]
    asked = experiment(messages, search.problem, algorithm)
    trials = history(messages, search, 12)
    found = assignments(service.suggestion.GetSuggestions(request(messages, asked, trials, count)))
    assert len(found) == count
    for each in found:
        assert [*each] == [*search.problem.space.names]
        choice = search.problem.space.choice({name: float(value) for name, value in each.items()})
        # Exactly a level, without dust, and under the budget as it is.
        assert each == {name: f"{v:g}" for name, v in search.problem.space.values(choice).items()}
        assert search.problem.cost(choice) <= search.problem.limit.most
    told = [dict(zip(each, each.values(), strict=True)) for each in found]
    assert len({tuple(each.items()) for each in told}) == count


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_requests_have_equal_answers_in_any_order_of_trials(
    service: Service, katib: Any, search: Synthetic, algorithm: str
) -> None:
    messages = katib[0]
    asked = experiment(messages, search.problem, algorithm)
    trials = history(messages, search, 20)
    one = service.suggestion.GetSuggestions(request(messages, asked, trials, 2))
    random.Random(0).shuffle(trials)
    assert one == service.suggestion.GetSuggestions(request(messages, asked, trials, 2))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_trial_is_the_solution_of_the_foreseen_losses(
    service: Service, katib: Any, search: Synthetic, algorithm: str
) -> None:
    asked = experiment(katib[0], search.problem, algorithm)
    (found,) = assignments(service.suggestion.GetSuggestions(request(katib[0], asked, [], 1)))
    space = search.problem.space
    expected = space.values(np.array(solve(search.problem).choice))
    assert {name: float(value) for name, value in found.items()} == expected


def test_a_pod_that_is_deleted_loses_nothing(
    start: Callable[[], Service], katib: Any, search: Synthetic
) -> None:
    messages = katib[0]
    one, other = start(), start()
    asked = experiment(messages, search.problem)
    trials = history(messages, search, 12)
    reply = one.suggestion.GetSuggestions(request(messages, asked, trials[:8], 2))
    (setting,) = reply.algorithm.algorithm_settings
    assert (setting.name, len(setting.value) < 16_000) == ("state", True)
    following = with_settings(messages, asked, reply)
    expected = one.suggestion.GetSuggestions(request(messages, following, trials, 2))
    one.process.kill()
    assert other.suggestion.GetSuggestions(request(messages, following, trials, 2)) == expected
    # What was learnt matters: it is not only the trials that answer.
    assert other.suggestion.GetSuggestions(request(messages, asked, trials, 2)) != expected


def test_a_score_that_is_minimised_is_the_same_search(
    service: Service, katib: Any, search: Synthetic
) -> None:
    messages = katib[0]
    asked = experiment(messages, search.problem)
    most = service.suggestion.GetSuggestions(request(messages, asked, history(messages, search, 12), 2))
    asked.spec.objective.type = messages.MINIMIZE
    least = service.suggestion.GetSuggestions(
        request(messages, asked, history(messages, search, 12, sign=-1), 2)
    )
    assert most == least


def test_what_a_trial_says_that_it_applied_counts_and_not_what_it_was_told(
    service: Service, katib: Any, search: Synthetic
) -> None:
    messages, space = katib[0], search.problem.space
    asked = experiment(messages, search.problem, "pocketkube-milp")
    expected = solve(search.problem).choice
    applied = {f"applied.{name}": value for name, value in space.values(np.array(expected)).items()}
    told = {name: f"{value:g}" for name, value in space.values(space.sizes - 1).items()}
    done = trial(messages, 0, told, {"score": 0.5, **applied})
    (found,) = assignments(service.suggestion.GetSuggestions(request(messages, asked, [done], 1)))
    # The solution was applied, whatever the trial was told: so it does not come again.
    assert {name: float(value) for name, value in found.items()} != space.values(np.array(expected))


def test_trials_that_cannot_be_read_are_left_out(
    service: Service, katib: Any, search: Synthetic
) -> None:
    messages = katib[0]
    asked = experiment(messages, search.problem)
    odd = [
        trial(messages, 0, {}, {"score": 0.5}),
        trial(messages, 1, {"another": "x"}, {"score": 0.5}),
        trial(messages, 2, dict.fromkeys(search.problem.space.names, "nan"), {"score": 0.5}),
        trial(messages, 3, dict.fromkeys(search.problem.space.names, "1"), {"score": float("nan")}),
        trial(messages, 4, dict.fromkeys(search.problem.space.names, "1"), {}, "EARLYSTOPPED"),
        trial(messages, 5, dict.fromkeys(search.problem.space.names, "0.5"), {}, "KILLED"),
    ]
    reply = service.suggestion.GetSuggestions(request(messages, asked, odd, 2))
    assert len(reply.parameter_assignments) == 2


def test_nothing_asked_for_nothing_answered(service: Service, katib: Any, search: Synthetic) -> None:
    asked = experiment(katib[0], search.problem)
    reply = service.suggestion.GetSuggestions(request(katib[0], asked, [], 0))
    assert not reply.parameter_assignments


def test_what_goes_wrong_inside_is_one_line_and_a_random_answer(
    start: Callable[[], Service], katib: Any, search: Synthetic
) -> None:
    messages, service = katib[0], start()
    asked = experiment(messages, search.problem, problem="damaged")
    # Katib would ask again for ever, as nothing but a validation fails an experiment.
    reply = service.suggestion.GetSuggestions(request(messages, asked, [], 3))
    found = assignments(reply)
    assert len(found) == 3
    assert all([*each] == [*search.problem.space.names] for each in found)
    assert all(0.25 <= float(value) <= 1 for each in found for value in each.values())
    (line,) = [each for each in service.log.read_text().splitlines() if "random" in each]
    assert "setting problem" in line


def refusal(service: Service, messages: Any, asked: Any) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        service.suggestion.ValidateAlgorithmSettings(
            messages.ValidateAlgorithmSettingsRequest(experiment=asked)
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return refused.value.details()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_experiment_as_we_make_it_is_valid(
    service: Service, katib: Any, algorithm: str, search: Synthetic
) -> None:
    messages = katib[0]
    both = synthetic(4, decides=("kept", "sparsity", "bits"), cost="bytes")
    for problem in (search.problem, both.problem):
        asked = experiment(messages, problem, algorithm)
        answer_to_it = service.suggestion.ValidateAlgorithmSettings(
            messages.ValidateAlgorithmSettingsRequest(experiment=asked)
        )
        assert answer_to_it == messages.ValidateAlgorithmSettingsReply()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"problem": "damaged"}, "setting problem: "),
        ({"problem": "eJwDAAAAAAE="}, "setting problem: "),
        ({"seed": "-1"}, "setting seed: "),
        ({"seed": "x"}, "setting seed: "),
        ({"sede": "1"}, "setting sede: "),
    ],
)
def test_a_bad_setting_is_named(
    service: Service, katib: Any, search: Synthetic, settings: dict[str, str], said: str
) -> None:
    refused = refusal(service, katib[0], experiment(katib[0], search.problem, **settings))
    assert refused.startswith(said)


def without_problem(asked: Any) -> str:
    del asked.spec.algorithm.algorithm_settings[0]
    return "setting problem: it is missing"


def another_algorithm(asked: Any) -> str:
    asked.spec.algorithm.algorithm_name = "tpe"
    return "algorithm tpe: "


def no_direction(asked: Any) -> str:
    asked.spec.objective.type = 0
    return "objective: its type"


def no_metric(asked: Any) -> str:
    asked.spec.objective.objective_metric_name = ""
    return "objective: it has no objectiveMetricName"


def a_parameter_less(asked: Any) -> str:
    name = asked.spec.parameter_specs.parameters[2].name
    del asked.spec.parameter_specs.parameters[2]
    return f"parameter {name}: "


def another_name(asked: Any) -> str:
    asked.spec.parameter_specs.parameters[1].name = "other"
    return "parameter other: "


def higher_bounds(asked: Any) -> str:
    asked.spec.parameter_specs.parameters[1].feasible_space.min = "0.3"
    return "parameter conv1.kept: the search may choose 0.25"


def other_steps(asked: Any) -> str:
    asked.spec.parameter_specs.parameters[1].feasible_space.step = "0.2"
    return "parameter conv1.kept: the search may choose 0.375"


def whole_numbers(asked: Any) -> str:
    asked.spec.parameter_specs.parameters[1].parameter_type = 2
    return "parameter conv1.kept: "


def no_number(asked: Any) -> str:
    asked.spec.parameter_specs.parameters[0].feasible_space.max = "much"
    return "parameter conv0.kept: max"


@pytest.mark.parametrize(
    "spoil",
    [
        without_problem,
        another_algorithm,
        no_direction,
        no_metric,
        a_parameter_less,
        another_name,
        higher_bounds,
        other_steps,
        whole_numbers,
        no_number,
    ],
)
def test_what_is_wrong_with_an_experiment_is_named(
    service: Service, katib: Any, search: Synthetic, spoil: Callable[[Any], str]
) -> None:
    asked = experiment(katib[0], search.problem)
    said = spoil(asked)
    assert refusal(service, katib[0], asked).startswith(said)


def test_a_budget_that_cannot_be_kept_is_refused(service: Service, katib: Any) -> None:
    asked = experiment(katib[0], synthetic(4, part=0.001).problem)
    assert "cannot be kept" in refusal(service, katib[0], asked)


def test_milp_without_losses_is_refused(service: Service, katib: Any) -> None:
    problem = synthetic(4, with_losses=False).problem
    assert "no losses" in refusal(service, katib[0], experiment(katib[0], problem, "pocketkube-milp"))


@pytest.mark.parametrize("name", ["", "manager.v1beta1.Suggestion"])
def test_it_is_healthy_under_the_names_that_probes_ask_for(service: Service, name: str) -> None:
    # As the protocol has it: field 1 of a request is the name, of an answer the state, 1 for serving.
    check = service.channel.unary_unary("/grpc.health.v1.Health/Check")
    asked = b"\n" + bytes([len(name)]) + name.encode() if name else b""
    assert check(asked) == b"\x08\x01"


def test_a_wrong_name_is_not_healthy(service: Service) -> None:
    check = service.channel.unary_unary("/grpc.health.v1.Health/Check")
    with pytest.raises(grpc.RpcError):
        check(b"\n\x05other")


def test_it_ends_when_it_is_told_to(start: Callable[[], Service]) -> None:
    service = start()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert service.log.read_text().splitlines()[-1] == "suggestion ended"


def test_it_knows_the_names_that_our_experiments_use() -> None:
    assert (answer.APPLIED, OBJECTIVE) == (APPLIED, "score")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_answers_take_little_memory(start: Callable[[], Service], katib: Any, algorithm: str) -> None:
    messages, service = katib[0], start()
    search = synthetic(24, seed=1, part=0.4, blur=0.3)
    asked = experiment(messages, search.problem, algorithm)
    service.suggestion.GetSuggestions(request(messages, asked, [], 1))
    for count in (10, 100, 500):
        question = request(messages, asked, history(messages, search, count), 2)
        assert len(service.suggestion.GetSuggestions(question).parameter_assignments) == 2
    assert service.most_memory_kib < 160 << 10
