"""Base of the methods with a static and an event stream.

Two passes through one network, classification of both, alignment.
"""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from tmkt.networks import NetworkOutput, SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.methods.base import Method, without_running_statistics
from tmkt.train.objectives import StepWeights, alignment


class TwoStreams(Method):
    """Losses "static" and "events" (classification) and "alignment", as in Knowledge Transfer.

    The recipe chooses their form. `heads`: with 1 the network's head reads both streams; with 2 the
    static stream has a head of its own, which is not deployed. `step_weights`: with "learned" a
    coefficient of each step weighs alignment, and 1 minus it the classification of events.
    `statistics`: the deployed statistics of batch norm are those of both streams as they come
    ("shared") or of the event stream alone ("apart").
    """

    def __init__(self, recipe: MethodRecipe, net: SpikingNetwork, steps: int) -> None:
        super().__init__(recipe, net, steps)
        self.static_head = (
            nn.Linear(net.features, net.head.out_features) if recipe.heads == 2 else None
        )
        self.step_weights = StepWeights(steps) if recipe.step_weights == "learned" else None

    def outputs(
        self, net: SpikingNetwork, static: Tensor, events: Tensor
    ) -> tuple[NetworkOutput, NetworkOutput]:
        """Run the network on both streams [T, B, 2, H, W], the static one first.

        The static stream's logits come from its own head where it has one.
        """
        with self.around_images(net):
            source = net(static)
        if self.static_head is not None:
            source = source._replace(logits=self.static_head(source.features).float())
        return source, net(events)

    def around_images(self, net: SpikingNetwork) -> AbstractContextManager[None]:
        """Keep the static stream out of the deployed statistics where these are kept apart."""
        apart = self.recipe.statistics == "apart"
        return without_running_statistics(net) if apart else nullcontext()

    def shared_parts(
        self,
        source: NetworkOutput,
        target: NetworkOutput,
        labels: Tensor,
        source_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses by name, unweighted.

        `labels` [B] are those of the event stream, and of the static one unless `source_labels` are
        given.
        """
        coefficients = self.step_weights() if self.step_weights is not None else None
        rest = None if coefficients is None else 1.0 - coefficients
        parts = {
            "static": self.classify(
                source.logits, labels if source_labels is None else source_labels
            ),
            "events": self.classify(target.logits, labels, rest),
        }
        if self.recipe.alignment:
            parts["alignment"] = alignment(source.membrane, target.membrane, coefficients)
        return parts
