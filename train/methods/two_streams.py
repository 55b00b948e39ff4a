"""What the methods with a static and an event stream share: two passes through one network,
classification, alignment.
"""

from contextlib import nullcontext

from torch import Tensor, nn

from tmkt.networks import NetworkOutput, SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.methods.base import Method, without_running_statistics
from tmkt.train.objectives import StepWeights, alignment, classification


class TwoStreams(Method):
    """The parts "static" and "events" (classification) and "alignment" of Knowledge Transfer, each
    as the recipe says.

    `heads`: 1, both streams are read by the network's head; 2, the static stream has one of its
    own, which is not deployed. `step_weights`: "learned", a coefficient of each step weighs
    alignment and, by what is left to 1, the classification of events. `statistics`: whose batch
    norm statistics are deployed; "shared", of both streams as they come; "apart", of the event
    stream alone.
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
        """What the network makes of both streams [T, B, 2, H, W], one after the other. The first's
        logits are its own head's.
        """
        with (
            without_running_statistics(net) if self.recipe.statistics == "apart" else nullcontext()
        ):
            source = net(static)
        if self.static_head is not None:
            source = source._replace(logits=self.static_head(source.features))
        return source, net(events)

    def shared_parts(
        self,
        source: NetworkOutput,
        target: NetworkOutput,
        labels: Tensor,
        source_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The losses by name, unweighted; `labels` [B] of the event stream and, where they differ,
        of the static one.
        """
        coefficients = self.step_weights() if self.step_weights is not None else None
        rest = None if coefficients is None else 1.0 - coefficients
        parts = {
            "static": classification(
                source.logits, labels if source_labels is None else source_labels, self.recipe.loss
            ),
            "events": classification(target.logits, labels, self.recipe.loss, rest),
        }
        if self.recipe.alignment:
            parts["alignment"] = alignment(source.membrane, target.membrane, coefficients)
        return parts
