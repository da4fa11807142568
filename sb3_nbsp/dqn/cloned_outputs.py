"""What is cloned of DQN: the Q-values, see :mod:`sb3_nbsp.common.cloning_term`."""

from sb3_nbsp.common.cloning_term import ClonedOutputs
from sb3_nbsp.rehearsal.cloning import softmax_kl

CLONED = ClonedOutputs(
    optimizer="policy.optimizer",
    outputs=lambda model, observations: model.q_net(observations),
    divergence=lambda model, observations, kept: softmax_kl(kept, model.q_net(observations), model.clone_temperature),
    n_outputs=lambda model: int(model.action_space.n),
)
