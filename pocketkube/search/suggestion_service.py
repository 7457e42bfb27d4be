"""Katib's Suggestion service for PocketKube's algorithms.

`python -m pocketkube.search.suggestion_service` runs it. It keeps nothing: what it needs is in each
request, so that a pod that is deleted loses nothing.
"""

import argparse
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pocketkube.errors import UserError
from pocketkube.search.suggestion.answer import STATE, Suggested, search_of, suggest, suggest_at_random
from pocketkube.search.suggestion.request import experiment_of, trials_of
from pocketkube.search.suggestion.stubs import stubs

PORT = 6789
# What Katib's probes ask for.
SERVICE = "manager.v1beta1.Suggestion"
# One answers, one says meanwhile that the service lives.
THREADS = 2
# A request holds the whole history: some megabytes for thousands of trials.
MOST_BYTES = 64 << 20
GRACE_SECONDS = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, and then ends what it is answering.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m pocketkube.search.suggestion_service")
    parser.add_argument(
        "--port", type=int, default=PORT, help="0: any that is free (default: %(default)s)"
    )
    parser.add_argument("--host", default="[::]", help="the address to serve on (default: all)")
    options = parser.parse_args(arguments)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        server, health, port = _server(options.host, options.port)
    except UserError as error:
        print(f"{UserError.PREFIX}{error}", file=sys.stderr)
        return UserError.EXIT_CODE
    _log(f"serving port={port}")
    over.wait()
    health.enter_graceful_shutdown()
    server.stop(GRACE_SECONDS).wait()
    _log("ended")
    return 0


def _server(host: str, port: int) -> tuple[Any, Any, int]:
    """A server that runs, its health, and its port."""
    messages, services = stubs()
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    server = grpc.server(
        ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", MOST_BYTES)]
    )
    services.add_SuggestionServicer_to_server(_Suggestion(messages), server)
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise UserError(f"Port {port} of {host} cannot be served on: it is taken, or not allowed.")
    server.start()
    for name in ("", SERVICE):
        state.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, state, bound


class _Suggestion:
    """The two methods of Katib's Suggestion service; names are the protocol's."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    def ValidateAlgorithmSettings(self, request: Any, context: Any) -> Any:
        """Says INVALID_ARGUMENT and why, where an experiment cannot be answered."""
        import grpc

        try:
            search_of(experiment_of(request.experiment, self._messages))
        except UserError as error:
            _log(f"experiment={request.experiment.name} refused: {error}")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        _log(f"experiment={request.experiment.name} accepted")
        return self._messages.ValidateAlgorithmSettingsReply()

    def GetSuggestions(self, request: Any, context: Any) -> Any:
        """Answers with as many assignments as are asked for, whatever happens."""
        import grpc

        started = time.monotonic()
        count = max(request.current_request_number, 0)
        try:
            experiment = experiment_of(request.experiment, self._messages)
        except UserError as error:
            # Nothing is known of what a trial takes: there is no answer.
            _log(f"experiment={request.experiment.name} refused: {error}")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        trials = trials_of(request.trials, self._messages)
        try:
            found = (
                suggest(experiment, search_of(experiment), trials, count) if count else Suggested(())
            )
        except Exception as error:
            text = " ".join(str(error).split())
            _log(
                f"experiment={experiment.name} algorithm={experiment.algorithm} failed, so that trials "
                f"are random: {type(error).__name__}: {text:.500}"
            )
            found = suggest_at_random(experiment, trials, count)
        _log(
            f"experiment={experiment.name} algorithm={experiment.algorithm} trials={len(trials)} "
            f"asked={count} seconds={time.monotonic() - started:.3f}"
        )
        return self._reply(found)

    def _reply(self, found: Suggested) -> Any:
        messages = self._messages
        reply = messages.GetSuggestionsReply()
        for assignment in found.assignments:
            reply.parameter_assignments.add().assignments.extend(
                messages.ParameterAssignment(name=name, value=value)
                for name, value in assignment.items()
            )
        if found.state:
            # Katib keeps it with the Suggestion, and adds it to the settings of the next request.
            reply.algorithm.algorithm_settings.add(name=STATE, value=found.state)
        return reply


def _log(line: str) -> None:
    print(f"suggestion {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
