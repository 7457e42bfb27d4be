"""Actor and critic, how they learn from transitions, and their weights as text."""

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from pocketkube.bounded.streams import inflated
from pocketkube.search.ddpg.network import Adam, Network, fresh, size

HIDDEN = (32, 32)
BATCH = 64
# Of the way that the targets go towards the learnt networks at each update.
SOFT = 0.02
# What the rewards that really followed count beside those that the targets expect: it keeps the critic
# from believing itself.
REALISED = 0.5
ACTOR_RATE, CRITIC_RATE = 1e-3, 3e-3


@dataclass(frozen=True)
class Transitions:
    """Steps of walks.

    Attributes:
        states: Before the step, `[steps, facts]`.
        usual: The action that the actor starts from, as its log-odds, `[steps]`.
        actions: What was applied, 0 to 1, `[steps]`.
        rewards: `[steps]`.
        returns: The rewards of this step and all that followed it, `[steps]`.
        next: The number of the step after, itself at the end of a walk, `[steps]`.
        goes_on: 0 at the end of a walk, else 1, `[steps]`.
    """

    states: np.ndarray
    usual: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    returns: np.ndarray
    next: np.ndarray
    goes_on: np.ndarray


@dataclass(frozen=True)
class Agent:
    """What acts, and what judges.

    Attributes:
        actor: From a state to the log-odds that are added to the usual action's.
        critic: From a state and an action to the rewards that are still to come.
    """

    actor: Network
    critic: Network

    def act(self, states: np.ndarray, usual: np.ndarray) -> np.ndarray:
        """Actions without noise, 0 to 1, `[rows]`."""
        return _odds(usual + self.actor(states))

    def text(self) -> str:
        """The weights as text without spaces, rounded to half precision."""
        weights = np.concatenate([self.actor.weights, self.critic.weights])
        return base64.b64encode(zlib.compress(weights.astype("<f2").tobytes(), 9)).decode()


def new_agent(facts: int, rng: np.random.Generator) -> Agent:
    """An agent that knows nothing and acts as usual."""
    return Agent(fresh((facts, *HIDDEN), 1e-3, rng), fresh((facts + 1, *HIDDEN), 1e-3, rng))


def agent_from(text: str, facts: int) -> Agent | None:
    """What `Agent.text` wrote; None if the text is damaged or of another problem."""
    widths = (facts, *HIDDEN), (facts + 1, *HIDDEN)
    middle = size(widths[0])
    count = middle + size(widths[1])
    try:
        content = inflated(base64.b64decode(text, validate=True), 2 * count)
        weights = np.frombuffer(content, "<f2").astype(float)
    except ValueError:
        return None
    if len(weights) != count or not np.isfinite(weights).all():
        return None
    return Agent(
        Network(widths[0], weights[:middle].copy()), Network(widths[1], weights[middle:].copy())
    )


def log_odds(actions: np.ndarray) -> np.ndarray:
    """Actions, 0 to 1, as log-odds: not so near the ends that nothing could be learnt there."""
    inside = np.clip(actions, 0.05, 0.95)
    return np.log(inside / (1 - inside))


def learn(agent: Agent, steps: Transitions, batches: np.ndarray) -> None:
    """Improves an agent in place.

    Args:
        agent: The agent.
        steps: What it learns from.
        batches: The numbers of the steps of each update, `[updates, rows]`.
    """
    actor, critic = agent.actor, agent.critic
    slow = Agent(
        Network(actor.widths, actor.weights.copy()), Network(critic.widths, critic.weights.copy())
    )
    actor_adam, critic_adam = Adam(actor, ACTOR_RATE), Adam(critic, CRITIC_RATE)
    for rows in batches:
        states, usual = steps.states[rows], steps.usual[rows]
        after = steps.next[rows]
        states_after = steps.states[after]
        acts_after = slow.act(states_after, steps.usual[after])
        worth_after = slow.critic(_with(states_after, acts_after))
        hoped = steps.rewards[rows] + steps.goes_on[rows] * worth_after
        aim = (1 - REALISED) * hoped + REALISED * steps.returns[rows]
        values = critic.forward(_with(states, steps.actions[rows]))
        error = np.clip(values[-1][:, 0] - aim, -1.0, 1.0) / len(rows)
        critic_adam.step(critic.gradients(values, error)[0])

        values = actor.forward(states)
        acts = _odds(usual + values[-1][:, 0])
        judged = critic.forward(_with(states, acts))
        slope = critic.gradients(judged, np.full(len(rows), -1.0 / len(rows)))[1][:, -1]
        actor_adam.step(actor.gradients(values, slope * acts * (1 - acts))[0])

        slow.actor.weights[:] += SOFT * (actor.weights - slow.actor.weights)
        slow.critic.weights[:] += SOFT * (critic.weights - slow.critic.weights)


def _with(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    return np.concatenate([states, actions[:, None]], axis=1)


def _odds(logs: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logs, -20, 20)))
