"""PPO policies with access to their neurons."""

from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, MultiInputActorCriticPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPPPOPolicy(NeuronAccess, ActorCriticPolicy):
    """The parent's ``ActorCriticPolicy`` plus ``networks()`` and ``record_activations()``."""


MlpPolicy = NBSPPPOPolicy


class CnnPolicy(NeuronAccess, ActorCriticCnnPolicy):
    """The parent's ``ActorCriticCnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, MultiInputActorCriticPolicy):
    """The parent's ``MultiInputActorCriticPolicy`` plus ``networks()`` and ``record_activations()``."""
