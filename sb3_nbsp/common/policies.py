"""What our policies add to SB3's: access to their neurons."""

from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.networks import Network, find_networks


class NeuronAccess:
    """Mixin for SB3 policies."""

    def set_training_mode(self, mode: bool) -> None:
        """
        See SB3, which calls this at every step and update and walks all modules: a tenth of a small network's training time.
        Here they are walked only where the mode changes.
        """
        parts = [part for name, part in self.named_children() if not name.endswith("_target")]  # type: ignore[attr-defined]
        if any(part.training != mode for part in (self, *parts)):
            super().set_training_mode(mode)  # type: ignore[misc]

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
