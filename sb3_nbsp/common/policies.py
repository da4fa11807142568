"""What our policies add to SB3's: access to their neurons."""

from sb3_nbsp.common.activations import ActivationRecorder
from sb3_nbsp.common.neurons import Network, find_networks


class NeuronAccess:
    """Mixin for SB3 policies."""

    def networks(self) -> list[Network]:
        """The policy's networks with their hidden layers."""
        return find_networks(self)  # type: ignore[arg-type]

    def record_activations(self) -> ActivationRecorder:
        """
        Record all hidden layers inside a block.

        ::

            with model.policy.record_activations() as recorder:
                model.predict(observation)
            recorder.activations()["actor.latent_pi.0"]  # [1, n_neurons]
        """
        return ActivationRecorder(layer for network in self.networks() for layer in network.layers)
